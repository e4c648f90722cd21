"""Antennas of cells: arrays, element patterns in closed form and measured, their files, their gain in a direction."""
