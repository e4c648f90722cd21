"""Configuration of `uel explore`. No framework is imported here."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError


@dataclass(frozen=True, kw_only=True)
class ExploreConfig:
    """Look at runs, tiles, maps and surveys in a browser: `uel explore runs/demo`.

    Raises:
        UelError: for a port outside 1 to 65535, and a folder without anything to show.

    Example:
        >>> import explorer
        >>> explorer.ExploreConfig(port=9000).port
        9000
    """

    path: tyro.conf.Positional[Path | None] = None
    """folder of a run, tile, map or survey to open with; the newest run unless given"""
    port: int = 8501
    """TCP port of the server"""
    server_address: str = "127.0.0.1"
    """address to listen on; 0.0.0.0 lets other machines in: put a proxy with a login in front"""
    base_url_path: str = ""
    """path under which a proxy shows the pages, `radio` for https://example.org/radio"""

    def __post_init__(self) -> None:
        require_numbers(self)
        if not 1 <= self.port <= 65535:
            raise UelError("--port is no TCP port (1 to 65535)", got=self.port, do="give --port 8501, for example")
        if self.path is not None:
            from explorer.analysis import artefact_index  # here, because `--help` builds no configuration

            artefact_index.require_artefact(self.path)
