"""Map files of every format, read into one kind of table of features."""
