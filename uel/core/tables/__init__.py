"""Files that others wrote, as text and as tables: compression, encoding, separator, header line."""
