"""Tiles and radio maps in the formats of geographic information systems."""
