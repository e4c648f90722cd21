"""Traced paths as a scenario of DeepMIMO 4."""
