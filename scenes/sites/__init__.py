"""Where sites stand: placement, site files, visibility."""
