"""Lists of cells as operators and crowds write them: tables of any columns, read, checked and made into sites."""
