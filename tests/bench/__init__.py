"""What the bridge costs and what it finds, beside stock Sionna, as ratios measured in one run: `make bench`."""
