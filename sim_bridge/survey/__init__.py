"""Surveys: their configuration, and the worker that measures units of them."""
