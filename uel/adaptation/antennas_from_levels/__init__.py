"""Azimuths and tilts of a network's antennas, from levels at known places and from reports without places."""
