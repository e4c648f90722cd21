"""Calibration on a square of four houses: derivatives, recovery, what cannot be known, and what must not be lost."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from scenes.materials.itu_p2040 import RadioMaterial, reflection_coefficients
from scenes.tiles.writer import write_sites
from scenes.variants.calibrated_tile import write_calibrated_tile
from sim_bridge.chains.config import AtlasConfig
from sim_bridge.paths.chain_pool import ChainPool, gather_chains
from sim_bridge.scene import scene_parameters
from sim_bridge.simulator import Sionna
from sim_bridge.simulator import open_tile as open_simulator
from tests.helpers.four_houses import houses
from tests.helpers.ray_traced_scenes import slab_reflection
from training.calibration import run, starts, synthetic_truth
from training.calibration.config import CalibrateConfig, FitConfig, PriorConfig, SyntheticTruthConfig
from training.calibration.objective import CalibrationObjective, Residuals
from training.calibration.optimizers import fit, posterior
from training.calibration.parameters import CalibrationParameters
from training.calibration.result import CalibrationResult, held_out_errors
from training.calibration.setup import merge_reports
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.measurement.drive_test import Drive
from uel.measurement.reports import reports_from_levels
from uel.radio.sites import Array, Cell, Site, reference_power_dbm
from uel.radio.tracing_config import TracingConfig

BEAM = Array(rows=4, pattern="tr38901")
SITES = (
    Site(position=(4.0, 4.0, 16.0), cells=(Cell(azimuth_deg=100.0, tilt_deg=15.0, array=BEAM),)),
    Site(
        position=(-16.0, 16.0, 20.0),
        cells=tuple(Cell(azimuth_deg=a, tilt_deg=20.0, array=BEAM) for a in (150.0, 270.0)),
    ),
)
TRACING = TracingConfig(max_depth=2, samples=5000, chunk=64, diffraction=False)
CHAINS = AtlasConfig(rays=100_000, depth=2, pixel=4.0, settle=0, audit=0)
BELIEFS = PriorConfig(azimuth_deg=10.0, tilt_deg=3.0, height=1.0)


class World:
    """A simulator, what is unknown of it, a pool of chains, and places."""

    def __init__(self, tile: Tile) -> None:
        self.tile = tile
        self.sim: Sionna = open_simulator(tile, SITES, TRACING)
        self.known = scene_parameters.material_values(self.sim.scene)
        self.parameters = CalibrationParameters.of(tile, SITES, self.known, BELIEFS)
        random = torch.Generator().manual_seed(3)
        places = (torch.rand(400, 2, generator=random) - 0.5) * 60
        self.position = places[tile.is_outdoor(places)][:160]
        height = torch.tensor([site.position[2] for site in SITES for _ in site.cells])
        self.pool = gather_chains(self.sim.finder, self.position, 2.5, CHAINS).keep_paths(
            [height + r for r in (-2.0, -1.0, 0.0, 1.0, 2.0)]
        )

    def objective(self, theta: Tensor, noise_db: float, seed: int = 0) -> CalibrationObjective:
        """Levels measured in the world that `theta` says."""
        given = self.parameters.trace_arguments(theta)
        with torch.no_grad():
            predicted = CalibrationObjective.links_of(
                self.sim.trace(self.position, **given), self.parameters.power_db(theta)
            )
        level = (predicted.level_db + reference_power_dbm(SITES)).float()
        level += noise_db * torch.randn(level.shape, generator=torch.Generator().manual_seed(seed))
        level = torch.where(predicted.paths > 0, level, torch.nan)
        toa = torch.where(predicted.paths > 0, predicted.arrival.float() / 299792458.0, torch.nan)
        return CalibrationObjective.of(
            self.pool, self.parameters, Drive(self.position, reports_from_levels(level, toa)), 1.0
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(houses(tmp_path_factory.mktemp("world") / "tile"))


# ---- what is unknown ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("far", [-8.0, -1.0, 0.0, 1.0, 8.0])
def test_whatever_a_step_does_the_world_stays_physical(world: World, far: float) -> None:
    u = world.parameters
    theta = torch.full((len(u),), far, dtype=torch.float64)
    value = dict(zip(u.names, u.value(theta).tolist(), strict=True))
    assert value["relative_permittivity of marble"] > 1
    assert value["conductivity of concrete"] > 0
    assert value["height of mast 0"] > 12.0  # the house beneath it
    assert bool((u.derivative(theta) > 0).all())
    assert all(0 <= cell.azimuth_deg < 360 for site in u.sites_at(theta) for cell in site.cells)


def test_what_is_believed_is_where_numbers_are_zero(world: World) -> None:
    u = world.parameters
    zero = torch.zeros(len(u), dtype=torch.float64)
    assert "relative_permittivity of metal" not in u.names
    for site, believed in zip(u.sites_at(zero), SITES, strict=True):
        assert site.position == pytest.approx(believed.position, abs=1e-5)
        assert site.cells == believed.cells
    assert u.materials_at(zero)["marble"]["conductivity"] == pytest.approx(world.known["marble"]["conductivity"])
    given = u.trace_arguments(zero)
    assert given["cell_height"].tolist() == pytest.approx([16.0, 20.0, 20.0])


def test_beliefs_that_are_none_are_refused() -> None:
    with pytest.raises(UelError, match="no parameter to fit"):
        PriorConfig(**dict.fromkeys(PriorConfig.__dataclass_fields__, 0.0))
    with pytest.raises(UelError, match=r"priors\.height"):
        PriorConfig(height=-1.0)


# ---- paths and derivatives -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rise", [-1.7, 0.0, 1.3])
def test_chains_give_the_paths_that_the_search_finds(world: World, rise: float) -> None:
    height = torch.tensor([16.0, 20.0, 20.0]) + rise
    ours = world.pool.freeze(cell_height=height).trace(cell_height=height)
    with torch.no_grad():
        full = world.sim.trace(world.position, cell_height=height)
    lacking = 1 - torch.minimum(ours.gain(), full.gain()).sum() / full.gain().sum()
    assert float(lacking) < 0.01
    both = (ours.gain() > 0) & (full.gain() > 0)
    assert float(both.sum() / (full.gain() > 0).sum()) > 0.98


def test_a_part_of_a_pool_is_the_pool_of_that_part(world: World, tmp_path: Path) -> None:
    index = torch.tensor([3, 10, 77])
    whole, part = world.pool.freeze().trace().gain(), world.pool.select(index).freeze().trace().gain()
    torch.testing.assert_close(part, whole[index])
    world.pool.save(tmp_path)
    torch.testing.assert_close(
        ChainPool.load(tmp_path, world.sim.finder, world.position).freeze().trace().gain(), whole
    )
    with pytest.raises(UelError, match="no readable pool of chains"):
        ChainPool.load(tmp_path / "nowhere", world.sim.finder, world.position)


def test_chains_refuse_what_they_do_not_know(world: World) -> None:
    sim = open_simulator(world.tile, SITES, replace(TRACING, diffraction=True))
    with pytest.raises(UelError, match="reflections and refractions only"):
        gather_chains(sim.finder, world.position, 1.0, CHAINS)


def test_differences_agree_with_gradients_through_the_tracer(world: World) -> None:
    start = torch.full((len(world.parameters),), 0.3, dtype=torch.float64)
    objective = world.objective(torch.zeros_like(start), noise_db=1.0)
    frozen = objective.freeze(start)
    with torch.no_grad():
        predicted = objective.predict(frozen, start)
    table = objective.jacobian(frozen, start, predicted)
    weight = torch.randn(len(table), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    theta = start.clone().requires_grad_()
    residuals = objective.residuals_of(objective.predict(frozen, theta))
    (residuals.value * weight).sum().backward()
    assert theta.grad is not None
    scale = (table * weight.unsqueeze(1)).norm(dim=0)
    # Differences one way over half a hundredth of the belief: a ringing slab bends by 3 % on the way.
    assert float(((table.T @ weight - theta.grad).abs() / scale).max()) < 0.05


# ---- fits ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_wrong_world_is_found_again(world: World) -> None:
    true = synthetic_truth.draw_parameters(world.parameters, seed=5)
    objective = world.objective(true, noise_db=1.0)
    result = fit(objective, torch.zeros_like(true), FitConfig())
    covariance, _ = posterior(objective, result.theta)
    width = covariance.diagonal().sqrt()
    assert result.status == "at rest"
    assert result.scale == pytest.approx(1.0, abs=0.25)
    off = (result.theta - true).abs() / width
    assert float(off.max()) < 4.0  # of 20 parameters or so
    value, truth = (
        dict(zip(world.parameters.names, world.parameters.value(t).tolist(), strict=True)) for t in (result.theta, true)
    )
    assert value["azimuth_deg of cell 0"] == pytest.approx(truth["azimuth_deg of cell 0"], abs=1.5)
    assert value["height of mast 0"] == pytest.approx(truth["height of mast 0"], abs=0.5)


@pytest.mark.parametrize("method", ["adam", "lbfgs"])
def test_torch_optimizers_go_the_same_way(world: World, method: str) -> None:
    true = synthetic_truth.draw_parameters(world.parameters, seed=5)
    objective = world.objective(true, noise_db=1.0)
    result = fit(objective, torch.zeros_like(true), FitConfig(method=method, steps=4, scan=0))  # type: ignore[arg-type]
    costs = [row["cost"] for row in result.curve]
    assert result.cost < costs[0] - 50
    assert result.cost == pytest.approx(min(costs), abs=1e-6)


def test_a_fit_stops_at_the_last_good_state(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = world.objective(synthetic_truth.draw_parameters(world.parameters, seed=5), noise_db=1.0)
    start = torch.zeros(len(world.parameters), dtype=torch.float64)
    real = CalibrationObjective.cost

    def broken(self: CalibrationObjective, residuals: Residuals, theta: Tensor, scale: float) -> Tensor:
        return (
            real(self, residuals, theta, scale) if float(theta.detach().abs().max()) == 0 else theta.sum() * torch.nan
        )

    monkeypatch.setattr(CalibrationObjective, "cost", broken)
    for method in ("gauss-newton", "adam"):
        result = fit(objective, start, FitConfig(method=method, scan=0, steps=3))  # type: ignore[arg-type]
        assert "last good state" in result.status
        assert bool(result.theta.isfinite().all())
        assert np.isfinite(result.cost)


def test_a_start_that_explains_nothing_is_refused(world: World) -> None:
    objective = world.objective(torch.zeros(len(world.parameters), dtype=torch.float64), noise_db=1.0)
    empty = replace(objective, heard=torch.zeros_like(objective.heard), timed=torch.zeros_like(objective.timed))
    with pytest.raises(UelError, match="no measured link"):
        fit(empty, torch.zeros(len(world.parameters), dtype=torch.float64), FitConfig())


def test_what_no_path_touches_keeps_its_width_and_is_named(world: World) -> None:
    u = world.parameters
    zero = torch.zeros(len(u), dtype=torch.float64)
    objective = world.objective(zero, noise_db=1.0)
    assert not bool((posterior(objective, zero)[1] < 1e-6).any())
    only = torch.zeros_like(objective.heard).index_fill(1, torch.tensor([0]), True)
    alone = replace(objective, heard=objective.heard & only, timed=torch.zeros_like(objective.timed))
    covariance, information = posterior(alone, zero)
    result = CalibrationResult(u, world.known, [fit(alone, zero, FitConfig(scan=0))], covariance, information, 3.5e9)
    rows = {f"{row['parameter']} of {row['of']}": row for row in result.rows(None)}
    assert rows["azimuth_deg of cell 2"]["verdict"] == "not identified: no link depends on it"
    assert rows["azimuth_deg of cell 2"]["width"] == pytest.approx(10.0)
    assert rows["azimuth_deg of cell 2"]["found"] == 270.0
    assert rows["azimuth_deg of cell 0"]["width"] < 5.0


@pytest.mark.slow
def test_widths_are_those_of_repeated_fits(world: World) -> None:
    """Posterior widths against the scatter of fits to other noise."""
    zero = torch.zeros(len(world.parameters), dtype=torch.float64)
    objectives = [world.objective(zero, noise_db=1.0, seed=seed) for seed in range(8)]
    result = torch.stack([fit(objective, zero, FitConfig(scan=0)).theta for objective in objectives])
    covariance, _ = posterior(objectives[0], zero)
    width = covariance.diagonal().sqrt()
    clear = width < 0.25
    ratio = (result.square().mean(0).sqrt() / width)[clear]
    assert int(clear.sum()) >= 8
    assert 0.6 < float(ratio.median()) < 1.5


def test_places_not_learned_from_are_judged_better_afterwards(world: World) -> None:
    true = synthetic_truth.draw_parameters(world.parameters, seed=5)
    objective = world.objective(true, noise_db=0.0)
    covariance, information = posterior(objective, true)
    result = CalibrationResult(
        world.parameters, world.known, [fit(objective, true, FitConfig(scan=0))], covariance, information, 3.5e9
    )
    errors = held_out_errors(objective, result)
    assert errors["after"]["median_abs_db"] < 0.1 < 1.0 < errors["before"]["median_abs_db"]


# ---- what comes of it ------------------------------------------------------------------------------------------


def test_a_corrected_tile_is_a_tile_with_other_walls(world: World, tmp_path: Path) -> None:
    slab = RadioMaterial(relative_permittivity=4.5, conductivity=0.03, thickness=0.2)
    made = write_calibrated_tile(world.tile, tmp_path / "made", {"marble": slab}, SITES, {"run": "x"})
    assert made.verify() == []
    assert made.sites == SITES
    assert "marble" not in made.meta["bands"]
    assert made.materials == [f"{name}-fitted" if name == "marble" else name for name in world.tile.materials]
    assert made.meta["calibration"] == {"of": world.tile.fingerprint, "run": "x"}
    values = scene_parameters.material_values(open_simulator(made, SITES, TRACING).scene)
    assert values["marble-fitted"]["relative_permittivity"] == pytest.approx(4.5)
    assert values["marble-fitted"]["thickness"] == pytest.approx(0.2)
    assert values["concrete"] == world.known["concrete"]
    for name, raster in world.tile.rasters.items():
        assert torch.equal(made.rasters[name], raster)
    with pytest.raises(UelError, match="does not have these materials"):
        write_calibrated_tile(world.tile, tmp_path / "none", {"cheese": slab}, SITES)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("angle", [0.0, 45.0, 80.0])
def test_reflection_of_a_slab(angle: float) -> None:
    slab = {"relative_permittivity": 5.2, "conductivity": 0.12, "thickness": 0.1}
    te, tm = reflection_coefficients(RadioMaterial(**slab), 3.5e9, angle)
    cos = torch.cos(torch.deg2rad(torch.tensor(angle, dtype=torch.float64)))
    assert te == pytest.approx(float(slab_reflection(cos, "H", **slab).abs()), rel=1e-6)
    assert tm == pytest.approx(float(slab_reflection(cos, "V", **slab).abs()), rel=1e-6)
    assert max(te, tm) < 1


def test_reports_of_one_square_are_one(world: World) -> None:
    level = torch.tensor([[-80.0, -90.0], [-84.0, float("nan")], [-60.0, float("nan")]])
    drive = Drive(torch.tensor([[1.0, 1.0], [2.0, 3.0], [-5.0, 5.0]]), reports_from_levels(level))
    one = merge_reports(drive, 10.0)
    assert one.position.tolist() == [[-5.0, 5.0], [5.0, 5.0]]
    assert one.reports.rsrp_dbm.tolist() == [[-60.0, 0.0], [-84.0, -90.0]]
    assert merge_reports(drive, 0.0) is drive


@pytest.mark.slow
def test_the_verb_from_end_to_end(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from explorer.reports.calibration import write_calibration_report

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UEL_DATA", str(tmp_path / "data"))
    write_sites(world.tile, SITES)
    config = CalibrateConfig(
        run="x", tile=str(world.tile.folder), starts=2, tracing=TRACING, chains=CHAINS, priors=BELIEFS, maps=2.0,
        map_tracing=replace(TRACING, map_rays=20_000),
        synthetic=SyntheticTruthConfig(pixel_fraction=0.1, test_positions=40),
    )  # fmt: skip
    folder = run.run(config)
    errors = json.loads((folder / "calibration.json").read_text())
    assert errors["judged"]["after"]["median_abs_db"] < errors["judged"]["before"]["median_abs_db"]
    assert Tile.open(folder / "tile").verify() == []
    assert write_calibration_report(folder).read_text().startswith("# Calibration")
    assert (folder / "figures" / "maps.png").is_file()
    monkeypatch.setattr(starts, "fit", None)  # finished starts are read, not made again
    before = (folder / "calibration.json").read_text()
    run.run(replace(config, maps=4.0))
    again = json.loads((folder / "calibration.json").read_text())
    assert again["parameters"] == json.loads(before)["parameters"]


def test_a_config_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UelError, match="no such drive-test file"):
        CalibrateConfig(drive=tmp_path / "none.csv")
    with pytest.raises(UelError, match="reflection and refraction only"):
        CalibrateConfig(tracing=TracingConfig(diffraction=True))
    with pytest.raises(UelError, match=r"synthetic\.pixel_fraction"):
        SyntheticTruthConfig(pixel_fraction=0.0)
    with pytest.raises(UelError, match=r"fit\.steps"):
        FitConfig(steps=0)
