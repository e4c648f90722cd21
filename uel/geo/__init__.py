"""A tile of city and the maps of it."""
