"""`uel demo`, `uel train` and its sweeps."""
