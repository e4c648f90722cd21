"""`uel map` and `uel survey`."""
