"""`uel explore`: serve the web app on this machine."""

import os
from pathlib import Path

from explorer.app.config import ExploreConfig
from explorer.app.content_policy import install_content_policy
from explorer.app.preloads import install_preloads
from uel.extras import explained_imports

PATH_VARIABLE = "UEL_EXPLORE"  # environment variable: the folder to open with
APP_FILE = Path(__file__).with_name("main.py")


def streamlit_arguments(config: ExploreConfig) -> list[str]:
    """Arguments of Streamlit; constant settings are in `.streamlit/config.toml` beside the pages."""
    options = {
        "server.port": str(config.port),
        "server.address": config.server_address,
        "server.baseUrlPath": config.base_url_path.strip("/"),
    }
    return ["run", str(APP_FILE), *(f"--{name}={value}" for name, value in options.items())]


def serve(config: ExploreConfig) -> None:
    """Serve the web app until interrupted. Raises `MissingExtraError` without Streamlit.

    Example:
        >>> import explorer
        >>> explorer.serve(explorer.ExploreConfig(port=8502))  # doctest: +SKIP
        >>> explorer.ExploreConfig(port=8502).server_address
        '127.0.0.1'
    """
    if config.path is not None:
        os.environ[PATH_VARIABLE] = str(config.path.resolve())
    with explained_imports():
        from streamlit import net_util
        from streamlit.web import cli

    # Where other machines may connect, Streamlit would ask a service on the Internet for this machine's address.
    net_util.get_external_ip = lambda: None
    install_content_policy()
    install_preloads()
    cli.main(streamlit_arguments(config), prog_name="uel explore", standalone_mode=False)
