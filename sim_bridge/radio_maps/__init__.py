"""Radio maps by shooting rays onto a measurement surface."""
