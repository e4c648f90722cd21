"""Pictures of objects on the square of a tile; matplotlib is imported when one is drawn."""
