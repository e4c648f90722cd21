"""Paths around edges: pairs of edges, and what a path around an edge continues."""
