"""Tiles that differ from the truth on purpose, and calibrated ones."""
