"""Surveys of toy cities in empty space: cheap units that are slow, fail or kill their process where a test asks."""

import hashlib
import os
import signal
import sys
import time
from pathlib import Path

from sim_bridge.channel.config import FeatureConfig
from sim_bridge.engines.units import LocalEngine, UnitDone, run_units
from sim_bridge.survey.config import SurveyMakingConfig
from sim_bridge.survey.worker import MeasureFunction, SurveyJob, TileWithSites, UnitValues, track_features
from uel.geo.tile import Tile
from uel.mobility.config import TrackConfig
from uel.mobility.trajectories import Tracks
from uel.radio.simulator import FreeSpace
from uel.survey.dataset import Survey
from uel.survey.manifest import WorkUnit
from uel.survey.store import empty_values

TRACKS = TrackConfig(tracks=40, reports=4, least_reports=1)
PLAN = SurveyMakingConfig(tracks=TRACKS, measure=FeatureConfig(layers=("rt",), paths=2), unit=8)


def free_space(work: SurveyJob, place: TileWithSites) -> MeasureFunction:
    """Gains, delays and angles in closed form; the other features stay 0."""
    sim, manifest = FreeSpace(place.sites, size=place.tile.size), work.manifest()

    def measured(unit: WorkUnit, tracks: Tracks) -> UnitValues:
        values = empty_values(manifest, unit.tile, unit.count) | track_features(tracks)
        for name, value in vars(sim.paths(tracks.position[tracks.valid])).items():
            values[name][tracks.valid] = value
        return values

    return measured


def slow(work: SurveyJob, place: TileWithSites) -> MeasureFunction:
    """Units that take a while."""
    quick = free_space(work, place)

    def measured(unit: WorkUnit, tracks: Tracks) -> UnitValues:
        time.sleep(0.3)
        return quick(unit, tracks)

    return measured


def dying(work: SurveyJob, place: TileWithSites) -> MeasureFunction:
    """Unit 1 kills its process the first time, unit 2 always fails."""
    quick, mark = free_space(work, place), work.folder / ".died"

    def measured(unit: WorkUnit, tracks: Tracks) -> UnitValues:
        if unit.number == 1 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if unit.number == 2:
            raise RuntimeError("no light at the end")
        return quick(unit, tracks)

    return measured


def toy_work(folder: Path, plan: SurveyMakingConfig = PLAN, tiles: int = 1, opened=free_space) -> SurveyJob:
    """A survey of toy tiles next to each other, which are built where they are not there."""
    from tests.helpers.toy_city import SITES, toy_tile  # not in worker processes: trimesh takes seconds to import

    names = ["toy", *(f"toy{chr(ord('a') + n)}_1" for n in range(tiles - 1))]
    places = []
    for name in names:
        at = folder.parent / "tiles" / name
        tile = Tile.open(at) if (at / "tile.json").is_file() else toy_tile(at, name)
        places.append(TileWithSites(tile, SITES))
    return SurveyJob(folder, tuple(places), plan, opened)


def made(folder: Path, plan: SurveyMakingConfig = PLAN, tiles: int = 1) -> Survey:
    """A finished survey."""
    work = toy_work(folder, plan, tiles)
    manifest = work.prepare()
    outcomes = list(run_units(LocalEngine(work), range(len(manifest.units))))
    assert all(isinstance(outcome, UnitDone) for outcome in outcomes), outcomes
    return Survey.open(folder)


def content(folder: Path) -> dict[str, str]:
    """Hashes of a survey's arrays and its manifest; records hold times."""
    files = [folder / "survey.json", *(p for p in folder.glob("*.zarr/**/*") if p.is_file())]
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(files)}


def main(engine: str, folder: str) -> None:
    """A process that makes a slow survey, for tests that kill it."""
    from sim_bridge.engines.processes import ProcessEngine

    work = toy_work(Path(folder), opened=slow)
    work.prepare()
    numbers = [unit.number for unit in Survey.open(folder).unfinished_units()]
    if engine == "ray":
        from sim_bridge.engines.ray_cluster import RayEngine

        crew = RayEngine(work, 2, 1)
    else:
        crew = ProcessEngine(work, 2, 1) if engine == "processes" else LocalEngine(work)
    for outcome in run_units(crew, numbers):
        print(outcome, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
