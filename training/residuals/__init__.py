"""Differences between measured levels and radio maps: how strong, how far alike, how alike between cells."""
