"""Geometry of rasters, units, and files that are whole or absent."""
