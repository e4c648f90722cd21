"""Long work as units that are made in this process, in several, on a Ray cluster or by Slurm."""
