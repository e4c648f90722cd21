"""From map features and terrain to meshes and rasters."""
