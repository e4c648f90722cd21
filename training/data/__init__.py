"""Deployments and the batches drawn from them."""
