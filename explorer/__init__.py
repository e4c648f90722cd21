"""Look at results: reports with figures, and the explorer in the browser.

`report(folder)` writes the report of a run; `serve(config)` starts the explorer; `explore(tile, radio=…)` shows a tile
in 3-D in a cell of a notebook. The names are imported on first use.

Example:
    >>> import explorer
    >>> explorer.ExploreConfig(port=9000).server_address
    '127.0.0.1'
"""

from typing import TYPE_CHECKING

from uel._lazy import lazy_names

if TYPE_CHECKING:
    from explorer.app.config import ExploreConfig as ExploreConfig
    from explorer.app.serve import serve as serve
    from explorer.notebook_map import explore as explore
    from explorer.reports.run import write_run_report as report

__all__ = ["report", "serve", "explore", "ExploreConfig"]

_HOME = {
    "report": "explorer.reports.run:write_run_report",
    "serve": "explorer.app.serve",
    "explore": "explorer.notebook_map",
    "ExploreConfig": "explorer.app.config",
}
__getattr__, __dir__ = lazy_names("explorer", _HOME)
