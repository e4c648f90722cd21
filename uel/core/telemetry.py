"""No library that this one uses tells anybody that it is used, unless the user asks for it."""

import os

TELEMETRY_SWITCHES = {
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray: usage reports
    "WANDB_ERROR_REPORTING": "false",  # wandb: crash reports to Sentry; runs are sent with --watch.wandb online alone
    "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false",  # Streamlit: page views and sessions
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, which timm imports
    "DO_NOT_TRACK": "1",  # whatever heeds consoledonottrack.com
}
"""environment variables that libraries read when they are imported, and their values"""


def disable_telemetry() -> None:
    """Switch it off in this process and its children, before libraries are imported; what the user has set stays.

    Example:
        >>> import os
        >>> disable_telemetry()
        >>> os.environ["DO_NOT_TRACK"]
        '1'
    """
    for name, value in TELEMETRY_SWITCHES.items():
        os.environ.setdefault(name, value)
