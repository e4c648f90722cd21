"""All units of a job: phases, what is done already, failures, some units alone, and the script of an array."""

import pickle
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

from sim_bridge.engines.config import ENGINE_FIELDS, EngineConfig, EngineName
from sim_bridge.engines.run import make_all, make_units
from sim_bridge.engines.units import FieldState, UnitError, WorkerHandle, Workplace
from tests.helpers.scripted_work import Script, ScriptWithResults
from uel.errors import UelError


def order(folder: Path) -> list[int]:
    """The units that were made, in that order."""
    return [int(line.split()[0]) for line in (folder / "asked").read_text().splitlines()]


@pytest.mark.parametrize("engine", ["local", "processes"])
def test_phases_follow_one_another_and_what_is_done_is_kept(tmp_path: Path, engine: EngineName) -> None:
    job = ScriptWithResults(tmp_path, "works")
    (tmp_path / "result-1").touch()
    done: list[int] = []
    make_all(job, "map", EngineConfig(engine=engine, workers=2), "units", done.append)
    assert sorted(done[:2]) == [0, 2]
    assert sorted(done[2:]) == [3, 4]
    assert sorted(order(tmp_path)) == [0, 2, 3, 4]
    make_all(job, "map", EngineConfig(), "units")
    assert len(order(tmp_path)) == 4


def test_a_failure_ends_with_its_phase_and_the_rest_is_kept(tmp_path: Path) -> None:
    with pytest.raises(UnitError, match=r"unit 1 failed: Traceback[\s\S]*no such luck") as caught:
        make_all(ScriptWithResults(tmp_path, "fails at 1"), "map", EngineConfig(), "units")
    assert [failure.number for failure in caught.value.failures] == [1]
    assert sorted(path.name for path in tmp_path.glob("result-*")) == ["result-0", "result-2"]
    make_all(ScriptWithResults(tmp_path, "works"), "map", EngineConfig(), "units")
    assert order(tmp_path) == [0, 2, 1, 3, 4]


def test_units_alone_are_made_in_this_process(tmp_path: Path) -> None:
    job = ScriptWithResults(tmp_path, "works")
    make_all(job, "map", EngineConfig(engine="slurm", unit=(4, 0)), "units")
    assert order(tmp_path) == [4, 0]
    for unknown in (5, -1):
        with pytest.raises(UelError, match=r"no such --unit|unit is out of range"):
            make_all(job, "map", EngineConfig(unit=(unknown,)), "units")


def test_an_array_makes_the_first_phase_that_is_not_finished(tmp_path: Path) -> None:
    job, config = ScriptWithResults(tmp_path, "works"), EngineConfig(engine="slurm", workers=2)
    make_all(job, "map", config, "units")
    script = (tmp_path / "map.sbatch").read_text()
    assert "--array=0-2%2" in script
    assert "uel.cli map --config" in script
    assert "engine: slurm" in (tmp_path / "config.yaml").read_text()
    for number in range(3):
        job.make(number)
    make_all(job, "map", config, "units")
    assert "ARRAY_TASK_ID + 3)) 2 4)" in (tmp_path / "map.sbatch").read_text()
    for number in range(3, 5):
        job.make(number)
    with pytest.raises(UelError, match="made already"):
        make_all(job, "map", config, "units")


def test_slurm_makes_no_units_itself(tmp_path: Path) -> None:
    with pytest.raises(UelError, match="slurm"):
        make_units(Script(tmp_path, "works"), [0], EngineConfig(engine="slurm"), "units")


def test_a_process_that_began_elsewhere_goes_to_the_folders_of_its_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    monkeypatch.delenv("UEL_DATA", raising=False)
    workplace = Workplace.here()
    assert workplace == Workplace(tmp_path / "there", tmp_path / "there" / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UEL_DATA", "to be restored")
    WorkerHandle(ScriptWithResults(tmp_path, "works"), None, workplace).make(0)
    assert (tmp_path / "result-0").read_text() == str(tmp_path / "there")
    assert Workplace.here().data == tmp_path / "there" / "data"


@dataclass(frozen=True)
class Doubled(FieldState):
    value: int

    @cached_property
    def double(self) -> int:
        return 2 * self.value


def test_what_is_computed_is_not_sent() -> None:
    job = Doubled(4)
    assert job.double == 8
    sent = pickle.loads(pickle.dumps(job))
    assert sent == job
    assert vars(sent) == {"value": 4}


def test_options_of_engines_are_those_of_the_configuration() -> None:
    assert ENGINE_FIELDS == ("engine", "workers", "gpus", "address", "unit")
    for wrong in ({"workers": -1}, {"gpus": -0.5}):
        with pytest.raises(UelError, match="must not be negative"):
            EngineConfig(**wrong)
