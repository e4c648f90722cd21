"""The HTML reports of runs, evaluations, surveys, maps and tiles."""
