"""`uel explore`: start the pages on this machine."""

import os
from dataclasses import dataclass
from pathlib import Path

import tyro

from explorer.analysis import artefact_index
from uel.errors import UelError

PATH_VARIABLE = "UEL_EXPLORE"  # environment variable that tells the pages what to open with
APP_FILE = Path(__file__).with_name("main.py")


@dataclass(frozen=True, kw_only=True)
class ExploreConfig:
    """Look at runs, tiles, maps and surveys in a browser: `uel explore runs/demo`."""

    path: tyro.conf.Positional[Path | None] = None
    """folder of a run, tile, map or survey to open with; the newest run unless given"""
    port: int = 8501
    """of the server"""
    server_address: str = "127.0.0.1"
    """where it listens; 0.0.0.0 lets others in: put a proxy that knows them in front"""
    base_url_path: str = ""
    """path under which a proxy shows the pages, `radio` for https://example.org/radio"""

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise UelError("no such port", got=self.port, do="give --port 8501, say")
        if self.path is not None:
            artefact_index.require_artefact(self.path)


def streamlit_arguments(config: ExploreConfig) -> list[str]:
    """What Streamlit is asked to do; what never changes stands in `.streamlit/config.toml` beside the pages."""
    options = {
        "server.port": str(config.port),
        "server.address": config.server_address,
        "server.baseUrlPath": config.base_url_path.strip("/"),
    }
    return ["run", str(APP_FILE), *(f"--{name}={value}" for name, value in options.items())]


def serve(config: ExploreConfig) -> None:
    """Serve until interrupted."""
    if config.path is not None:
        os.environ[PATH_VARIABLE] = str(config.path.resolve())
    os.environ["STREAMLIT_BROWSER_GATHER_USAGE_STATS"] = "false"
    from streamlit import net_util
    from streamlit.web import cli

    # Open to others, and for pages of strangers, Streamlit asks a service on the Internet for this machine's address.
    net_util.get_external_ip = lambda: None
    cli.main(streamlit_arguments(config), prog_name="uel explore", standalone_mode=False)
