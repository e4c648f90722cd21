"""Propagation paths between sites and phones: search, evaluation, reuse."""
