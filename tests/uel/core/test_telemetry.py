"""Libraries that tell their makers nothing."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from uel.core.telemetry import TELEMETRY_SWITCHES, disable_telemetry

ROOT = Path(__file__).parents[3]
SWITCHED_OFF = {
    "wandb": "from wandb.env import error_reporting_enabled as on; assert not on()",
    "huggingface": "from huggingface_hub.constants import HF_HUB_DISABLE_TELEMETRY as off; assert off",
    "streamlit": """
        from click.testing import CliRunner
        from streamlit.web.cli import main  # reads the environment; a plain get_option does not
        assert "gatherUsageStats = false" in CliRunner().invoke(main, ["config", "show"]).output
        """,
    "ray": "from ray._common.usage.usage_lib import usage_stats_enabled as on; assert not on()",
}


@pytest.mark.slow  # 3 s each: the library is imported in a process of its own
@pytest.mark.parametrize("code", SWITCHED_OFF.values(), ids=SWITCHED_OFF)
def test_libraries_tell_nobody(code: str, tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if name not in TELEMETRY_SWITCHES}
    environment = clean | {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    command = [sys.executable, "-c", f"import uel\n{textwrap.dedent(code)}"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DO_NOT_TRACK", "0")
    disable_telemetry()
    assert os.environ["DO_NOT_TRACK"] == "0"
