"""Config files are command lines written down: what they say, and what they may not say."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from uel.config import config_names, load, save
from uel.errors import UelError


@dataclass(frozen=True, kw_only=True)
class Step:
    rate: float = 1e-3
    """learning rate"""
    warm: bool = True


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A plan for tests."""

    steps: int = 3
    """how many steps"""
    centre: tuple[float, float] = (0.0, 0.0)
    names: tuple[str, ...] = ("a",)
    tier: Literal["rsrp", "rsrp_ta"] = "rsrp"
    folder: Path | None = None
    weights: dict[str, float] = field(default_factory=dict)
    limit: float = 1.0
    quiet: bool = False
    label: str = "x"
    step: Step = field(default_factory=Step)

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise UelError("steps cannot be negative", got=self.steps, do="count from 0")


def read(tmp_path: Path, text: str, *args: str) -> Plan:
    file = tmp_path / "plan.yaml"
    file.write_text(text)
    return load(Plan, "test", ["--config", str(file), *args])


def refused(tmp_path: Path, text: str, *args: str) -> str:
    with pytest.raises(UelError) as error:
        read(tmp_path, text, *args)
    return str(error.value)


def test_without_a_file_the_defaults_and_the_command_line():
    assert load(Plan, "test", []) == Plan()
    assert load(Plan, "test", ["--steps", "5", "--step.no-warm"]) == Plan(steps=5, step=Step(warm=False))


def test_a_file_and_the_command_line_over_it(tmp_path):
    text = "steps: 7\ntier: rsrp_ta\nstep: {rate: 1e-4, warm: false}\n"
    assert read(tmp_path, text) == Plan(steps=7, tier="rsrp_ta", step=Step(rate=1e-4, warm=False))
    assert read(tmp_path, text, "--steps", "8", "--step.warm") == Plan(steps=8, tier="rsrp_ta", step=Step(rate=1e-4))


def test_values_keep_what_was_written(tmp_path):
    text = "label: no\ncentre: [-300, -1e-3]\nnames: [12:30, b]\nfolder: null\nweights: {a: 1, b: 2.5}\nquiet: true\n"
    plan = read(tmp_path, text)
    assert plan == Plan(
        label="no", centre=(-300.0, -0.001), names=("12:30", "b"), weights={"a": 1.0, "b": 2.5}, quiet=True
    )
    assert read(tmp_path, "label: -5 dB\nnames: []\n") == Plan(label="-5 dB", names=())
    assert read(tmp_path, "") == Plan()


@pytest.mark.parametrize(
    "plan",
    [
        Plan(),
        Plan(steps=9, centre=(-1.5, 1 / 3), names=(), tier="rsrp_ta", folder=Path("a b/c"), quiet=True),
        Plan(weights={"x": -1e-30}, limit=float("inf"), label="", step=Step(rate=1e20, warm=False)),
    ],
)
def test_save_and_load_round_trip(tmp_path, plan):
    file = tmp_path / "new" / "config.yaml"
    save(plan, file)
    assert load(Plan, "test", [f"--config={file}"]) == plan


def test_unknown_names_in_a_file(tmp_path):
    message = refused(tmp_path, "stepps: 3\n")
    assert "stepps" in message
    assert "Perhaps you meant 'steps'" in message
    assert "plan.yaml" in message
    assert "Perhaps you meant 'rate'" in refused(tmp_path, "step: {rte: 3}\n")
    assert "step.zzz" in refused(tmp_path, "step: {zzz: 3}\n")


def test_unknown_names_on_the_command_line():
    with pytest.raises(UelError, match=r"(?s)--stepps.*Perhaps you meant.*--steps"):
        load(Plan, "test", ["--stepps", "3"])


def test_wrong_types(tmp_path):
    message = refused(tmp_path, "steps: many\n")
    assert "--steps" in message
    assert "many" in message
    assert "plan.yaml" in message
    assert "plan.yaml" not in refused(tmp_path, "label: y\n", "--steps", "many")
    assert "T9" in refused(tmp_path, "tier: T9\n")
    assert "quiet" in refused(tmp_path, "quiet: maybe\n")
    assert "step" in refused(tmp_path, "step: 3\n")


def test_the_dataclass_has_the_last_word(tmp_path):
    assert "steps cannot be negative" in refused(tmp_path, "steps: -1\n")


def test_files_that_are_no_config(tmp_path):
    assert "YAML" in refused(tmp_path, "steps: [1\n")
    assert "names and values" in refused(tmp_path, "- 1\n")


def test_configs_that_are_not_there():
    for args in (["--config", "quick"], ["--config", "nowhere/x.yaml"], ["--config"], ["--config="]):
        with pytest.raises(UelError, match="config"):
            load(Plan, "test", args)
    assert config_names("test") == []


def test_help_shows_the_docstrings(capsys):
    with pytest.raises(SystemExit) as stop:
        load(Plan, "test", ["--help"])
    assert stop.value.code == 0
    assert "how many steps" in capsys.readouterr().out
