"""Its pages, one module each."""
