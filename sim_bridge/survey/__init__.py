"""Surveys made by workers: local processes, Ray, Slurm."""
