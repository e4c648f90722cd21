"""Records and tables of evaluations and ablations."""
