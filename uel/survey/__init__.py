"""Surveys on disk: Zarr store, manifest, streams, checks, export."""
