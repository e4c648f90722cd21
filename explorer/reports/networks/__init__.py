"""Reports of what was fitted to measured networks."""
