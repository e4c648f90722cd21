"""Faults, kind by kind: what is wrong, and the outcome that is right. Nothing lost, nothing silently wrong."""
