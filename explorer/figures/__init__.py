"""Figures for reports (Matplotlib)."""
