"""A whole survey: two workers beside one, reading in random order, and Sionna's own loop over such phones."""

import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

import scenes
from sim_bridge.channel.config import FeatureConfig
from sim_bridge.channel.features import measure_features, serving_features
from sim_bridge.engines.processes import ProcessEngine
from sim_bridge.engines.units import UnitDone, run_units
from sim_bridge.simulator import Sionna, TracingConfig
from sim_bridge.simulator import open_tile as open_simulator
from sim_bridge.survey.config import SurveyMakingConfig
from sim_bridge.survey.worker import SurveyJob, TileWithSites
from tests.bench.common import ROUNDS, STOCK_SAMPLES, compare
from uel.mobility.config import TrackConfig
from uel.mobility.trajectories import Tracks, draw_tracks
from uel.radio.sites import require_sites
from uel.survey.dataset import Survey
from uel.survey.stream import TrackStream

import mitsuba as mi  # isort: skip
import sionna.rt as rt  # isort: skip

CELLS, LENGTH, UNIT, UNITS, FREQUENCIES = 8, 20, 64, 14, 64
TRACING = TracingConfig(max_depth=3, diffraction=False)


def run() -> dict[str, float]:
    """Munich with eight masts."""
    with TemporaryDirectory() as folder:
        place = _place(Path(folder))
        plan = SurveyMakingConfig(tracks=TrackConfig(tracks=UNIT * UNITS, reports=LENGTH), tracing=TRACING, unit=UNIT)
        work = SurveyJob(Path(folder) / "survey", (place,), plan)
        work.prepare()
        figures = _workers(work)
        return figures | _reading(work.folder) | _stock(place, work)


def _place(folder: Path) -> TileWithSites:
    tile = scenes.build("munich", folder / "tile", center=(-300.0, -150.0), progress=False)
    return TileWithSites(tile, scenes.place(tile, CELLS, seed=1, mast=8.0))


def _workers(work: SurveyJob) -> dict[str, float]:
    """Rates of one and of two processes of one thread each."""
    two, one = _rate(work, 2, range(UNITS)), _rate(work, 1, range(UNITS // 2))
    return {"one_worker_reports_per_s": one, "two_workers_reports_per_s": two, "two_workers_ratio": two / one}


def _rate(work: SurveyJob, workers: int, numbers: range) -> float:
    """Reports a second once every worker has made two units, so that its kernels are compiled."""
    done: list[tuple[float, int]] = []
    for outcome in run_units(ProcessEngine(work, workers, 1, 0.0), list(numbers)):
        assert isinstance(outcome, UnitDone), outcome
        done.append((time.perf_counter(), outcome.counts["reports"]))
    warm = 2 * workers
    return sum(reports for _, reports in done[warm:]) / (done[-1][0] - done[warm - 1][0])


def _reading(folder: Path) -> dict[str, float]:
    """The truth of all tracks, in random order."""
    stream = TrackStream(Survey.open(folder), Survey.open(folder).tiles, batch=64)
    rates = []
    for epoch in range(ROUNDS + 1):
        stream.seek(epoch)
        start = time.perf_counter()
        reports = sum(batch.values["valid"].numel() for batch in DataLoader(stream, batch_size=None))
        rates.append(reports / (time.perf_counter() - start))
    return {"read_reports_per_s": statistics.median(rates[1:])}


def _stock(place: TileWithSites, work: SurveyJob) -> dict[str, float]:
    """Reports of all three layers a second, in this process and by Sionna alone."""
    sim = open_simulator(place.tile, place.sites, TRACING)
    sim.build_atlas(work.config.usable_atlas(sim.cell_count))
    loop = StockLoop(open_simulator(place.tile, place.sites, TRACING))
    drawn = [draw_tracks(place.tile, place.sites, work.config.tracks, 7, 40 * turn, 40) for turn in range(ROUNDS + 1)]
    full = [Tracks(*(values[part.valid.all(1)] for values in part)) for part in drawn]
    ours, theirs, _ = compare(
        lambda turn: _survey(sim, drawn[turn]), lambda turn: loop(full[turn].position[0]), "stock"
    )
    reports = statistics.median(float(part.valid.sum()) for part in drawn)
    return {
        "reports_per_s": reports / ours,
        "stock_reports_per_s": LENGTH / theirs,
        "stock_ratio": reports / ours * theirs / LENGTH,
    }


def _survey(sim: Sionna, tracks: Tracks) -> None:
    plan, valid = FeatureConfig(), tracks.valid
    flat = measure_features(sim, tracks.position[valid], tracks.velocity[valid], plan)
    found = {name: value.new_zeros(*valid.shape, *value.shape[1:]) for name, value in flat.items()}
    for name, value in flat.items():
        found[name][valid] = value
    serving_features(found, tracks.time, valid, plan, require_sites(sim.sites))


class StockLoop:
    """A track at a time by Sionna's own parts: path solver, frequency response, LMMSE, EESM, link adaptation."""

    def __init__(self, sim: Sionna) -> None:
        from sionna.phy.mimo import StreamManagement
        from sionna.phy.ofdm import LMMSEPostEqualizationSINR, ResourceGrid
        from sionna.sys import EESM, InnerLoopLinkAdaptation, PHYAbstraction

        self.sim, self.scene, self.solver = sim, sim.scene, rt.PathSolver()
        for index in range(LENGTH):
            self.scene.add(rt.Receiver(f"rx-{index}", position=mi.Point3f(0, 0, 0)))
        self.carrier = require_sites(sim.sites)
        spacing = self.carrier.subcarrier_spacing
        grid = ResourceGrid(1, FREQUENCIES, spacing, num_tx=CELLS, num_streams_per_tx=1, device="cpu")
        self.sinr = LMMSEPostEqualizationSINR(grid, StreamManagement(np.eye(CELLS), 1), device="cpu")
        self.abstraction, self.mapping = PHYAbstraction(device="cpu"), EESM(device="cpu")
        self.adaptation = InnerLoopLinkAdaptation(self.abstraction, device="cpu")

    def __call__(self, position: Tensor) -> None:
        for receiver, place in zip(self.scene.receivers.values(), self.sim.at_height(position), strict=True):
            receiver.position = mi.Point3f(*place.tolist())
        paths = self.solver(self.scene, max_depth=TRACING.max_depth, samples_per_src=STOCK_SAMPLES)
        frequency = (torch.arange(FREQUENCIES) - FREQUENCIES / 2) * self.carrier.bandwidth / FREQUENCIES
        response = paths.cfr(frequencies=mi.Float(frequency.numpy()), out_type="torch")
        # Receiver antenna cell port time frequency, over the noise.
        heard = torch.as_tensor(response)[:, :, :, :1] * 1e6
        serving = heard.abs().square().mean((1, 3, 4, 5)).argmax(-1)
        ratio = self.sinr(heard[:, None].expand(-1, CELLS, -1, -1, -1, -1, -1), torch.ones(1))
        self._deliver(ratio[torch.arange(len(ratio)), ..., serving, :])

    def _deliver(self, sinr: Tensor) -> None:
        """Effective SINR, scheme, errors of every report."""
        wide = sinr[..., None, None]
        mcs = torch.full((len(sinr), 1, 1), 10, dtype=torch.int32)
        effective = self.mapping(wide, mcs_index=mcs, mcs_table_index=1, mcs_category=1)[..., 0].flatten()
        channel = {
            "sinr_eff": effective,
            "num_allocated_re": torch.full((len(sinr),), 3276 * 12, dtype=torch.int32),
            "mcs_table_index": 1,
            "mcs_category": 1,
        }
        self.abstraction(self.adaptation(**channel), **channel)
