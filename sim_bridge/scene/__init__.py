"""The scene that is traced: geometry, end points, materials, tracing configuration."""
