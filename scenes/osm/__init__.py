"""From OpenStreetMap and other map files to features: buildings, heights, land cover."""
