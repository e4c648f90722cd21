"""Rasters of heights (nDSM, or DSM with DTM) as buildings of a tile."""
