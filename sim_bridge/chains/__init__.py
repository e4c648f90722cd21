"""Chains of facets that paths may bounce on, and the atlas that stores them."""
