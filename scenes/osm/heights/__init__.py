"""Building heights: from tags, storeys, the building of a part, neighbours, or the type, with their uncertainty."""
