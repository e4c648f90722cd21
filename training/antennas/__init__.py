"""Antennas of measured networks from levels: how well they are found again from wrong beliefs."""
