"""Where phones can be and how they move."""
