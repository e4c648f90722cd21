"""How objects show themselves on a console and in a notebook, and progress bars."""
