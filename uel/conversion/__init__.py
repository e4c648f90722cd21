"""Objects as data of other libraries: xarray, pandas, geopandas."""
