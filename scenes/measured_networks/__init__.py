"""Folders of measured networks: list of cells, table of reports and rasters of a district."""
