"""Reports and pictures of results, and the web app that shows them."""

from explorer.reports.run import write_run_report as write

__all__ = ["write"]
