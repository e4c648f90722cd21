"""Importing `uel` lets threads wait asleep: before torch, for children too, and never against the user's choice."""

import os
import subprocess
import sys

import pytest

from uel.core.threads import WAIT_VARIABLES

HEAVY = {"torch", "numpy", "sionna", "mitsuba", "drjit", "lightning", "zarr", "tyro", "rich", "yaml", "matplotlib"}

SAY = "import os, sys; print(os.environ.get('OMP_WAIT_POLICY'), *sys.modules)"


def fresh(code: str, **chosen: str) -> list[str]:
    """What a new process prints in whose environment nothing is chosen but this, by words."""
    environment = {name: value for name, value in os.environ.items() if name not in WAIT_VARIABLES} | chosen
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize("package", ["uel", "sim_bridge", "scenes", "training", "explorer"])
def test_every_package_sets_the_default_and_imports_nothing_heavy(package: str) -> None:
    policy, *modules = fresh(f"import {package}; {SAY}")
    assert policy == "PASSIVE"
    assert not HEAVY & set(modules)


@pytest.mark.parametrize("name", WAIT_VARIABLES)
def test_a_users_choice_wins(name: str) -> None:
    policy, *_ = fresh(f"import uel; {SAY}", **{name: "7" if name != "OMP_WAIT_POLICY" else "ACTIVE"})
    assert policy == ("ACTIVE" if name == "OMP_WAIT_POLICY" else "None")


def test_children_inherit_it() -> None:
    code = "import subprocess, sys, uel; subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)"
    assert fresh(f"import sys; sys.argv.append({SAY!r}); {code}")[0] == "PASSIVE"


def test_after_torch_it_says_how() -> None:
    code = "import logging, sys; logging.basicConfig(level='INFO', stream=sys.stdout); sys.modules['torch'] = logging"
    assert "import uel before torch" in " ".join(fresh(f"{code}; import uel"))
