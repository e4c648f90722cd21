"""Radio materials: ITU-R P.2040, from map tags, and drawn at random."""
