"""Levels of a measured network predicted from labelled squares, and phones located by them."""
