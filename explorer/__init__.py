"""Look: pure functions from results to pictures, and the report of a run."""

from explorer.reports.run import write

__all__ = ["write"]
