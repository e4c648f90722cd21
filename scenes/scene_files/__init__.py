"""Existing Mitsuba and Sionna scenes: read, checked, and cut into tiles."""
