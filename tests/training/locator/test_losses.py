"""Physics losses: what a report costs at a place, by whose laws, whom a batch asks, and what that takes."""

import math
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from tests.helpers.ablation_tile import ALL, CONFIG, LOCATOR, MODEL, PLAN, a_batch, task_of, town_of
from tests.helpers.toy_city import SITES, SIZE, toy_deployment
from training.ablation.scenario import AblationScenario
from training.locator import losses
from training.locator.config import LossFeature, LossKind
from training.locator.losses import feature_nll, link_cost, physics_cost, physics_loss
from training.locator.physics_schedule import MAX_OVERDUE_BATCHES, TimedSimulator, TracingScheduler, mean_map_error
from uel.core.units import from_db
from uel.estimation.fix import Fix
from uel.inference.deployment import Deployment
from uel.models.locator import Locator
from uel.radio.link_truth import LinkTruth
from uel.radio.simulator import FreeSpace


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return toy_deployment(tmp_path_factory.mktemp("toy") / "tile")


@pytest.fixture
def scenario(world: Deployment) -> AblationScenario:
    return town_of(world, CONFIG)


# ---- what physics costs --------------------------------------------------------------------------------


@pytest.mark.parametrize("feature", ["ta", "aoa"])
def test_features_cost_what_the_model_says(world: Deployment, scenario: AblationScenario, feature: LossFeature) -> None:
    """Beside the likelihood of whole maps, at the centres of pixels, where both look at the same place."""
    reports, radio = scenario.observed[0][:6], world.maps.radio
    pixel = torch.randint(radio.grid.count**2, (6, 3), generator=torch.Generator().manual_seed(0))
    centre = radio.grid.centres().reshape(-1, 2)[pixel]
    ours = feature_nll(feature, radio.paths(centre.flatten(0, 1)), reports, MODEL)
    law = MODEL.range_log_likelihood if feature == "ta" else MODEL.azimuth_log_likelihood
    torch.testing.assert_close(ours, -law(reports, radio).flatten(1).gather(1, pixel), rtol=1e-3, atol=1e-3)


def test_levels_cost_what_the_model_says(
    world: Deployment, scenario: AblationScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the cap, and for what is the same wherever the phone is."""
    monkeypatch.setattr(losses, "MAX_LINK_COST", 1e6)
    reports, radio = scenario.observed[0][:40], world.maps.radio
    assert 0 < float(reports.heard.float().mean()) < 1
    pixel = torch.randint(radio.grid.count**2, (40, 5), generator=torch.Generator().manual_seed(0))
    truth = radio.paths(radio.grid.centres().reshape(-1, 2)[pixel].flatten(0, 1))
    gain = from_db(truth.gain_db).unflatten(0, (40, 5))
    ours = 4 * link_cost(gain, reports, world.maps.power_dbm, MODEL)
    slow = -MODEL.level_log_likelihood(reports, radio, world.maps.power_dbm).flatten(1).gather(1, pixel)
    near = slow < 20  # the bin's average and the floor of log-probabilities differ far out
    assert near.sum() > 100
    constant = reports.heard.sum(-1, keepdim=True) * math.log(MODEL.shadowing_db * math.sqrt(2 * math.pi))
    torch.testing.assert_close((ours + constant)[near], slow[near], rtol=0.01, atol=0.03)


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("features", [("ta",), ("aoa",), ALL])
def test_the_gradient_is_that_of_differences(
    world: Deployment, scenario: AblationScenario, traced: bool, features: tuple[LossFeature, ...]
) -> None:
    reports, truth = (values[:40] for values in scenario.observed)
    where = (truth.position + torch.tensor([6.0, -4.0])).clamp(-120, 120)
    source = world.simulator if traced else world.maps.radio
    assert source is not None

    def cost(position: torch.Tensor) -> torch.Tensor:
        return physics_cost(source.paths(position), reports, world.maps.power_dbm, MODEL, features, traced)[:, 0]

    moved = where.clone().requires_grad_()
    cost(moved).sum().backward()
    assert moved.grad is not None
    assert moved.grad.isfinite().all()
    for axis, step in enumerate(0.05 * torch.eye(2)):
        slope = (cost(where + step) - cost(where - step)) / 0.1
        assert slope.abs().max() > 0.01
        # A lookup has kinks where four pixels meet: a step over one tells nothing.
        right = (moved.grad[:, axis] - slope).abs() <= 0.005 + 0.05 * slope.abs()
        assert right.float().mean() >= 0.9


def test_a_lost_link_costs_a_constant(world: Deployment, scenario: AblationScenario) -> None:
    reports, truth = (values[:4] for values in scenario.observed)
    lost = replace(truth, known=torch.zeros_like(truth.known))
    cost = physics_cost(lost, reports, world.maps.power_dbm, MODEL, ("ta", "aoa"), traced=True)
    assert cost[:, 0].tolist() == pytest.approx(
        (losses.MAX_LINK_COST * (reports.has_timing_advance.float() + reports.has_azimuth.float())).tolist()
    )


# ---- whom it asks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0.01, 0.03, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("course", [lambda n, r: r, lambda n, r: -n, lambda n, r: 0.0, lambda n, r: n % 7])
def test_the_fraction_holds_whatever_doubts_do(fraction: float, course: Callable[[int, float], float]) -> None:
    scheduler, noise = TracingScheduler(fraction), torch.rand(400, generator=torch.Generator().manual_seed(0)).tolist()
    asked = 0
    for number, value in enumerate(noise, 1):
        asked += scheduler.should_trace(entropy=float(course(number, value)), error=0.5)
        assert fraction * number - MAX_OVERDUE_BATCHES <= asked <= fraction * number + 1e-6


def test_the_doubtful_are_traced_and_a_resumed_run_goes_on() -> None:
    scheduler, noise = TracingScheduler(0.1), torch.rand(300, generator=torch.Generator().manual_seed(0)).tolist()
    chosen = []
    for number, value in enumerate(noise):
        if number == 150:
            resumed = TracingScheduler(0.1)
            resumed.load_state(scheduler.state())
            scheduler = resumed
        chosen.append(scheduler.should_trace(entropy=value))
    whole = TracingScheduler(0.1)
    assert chosen == [whole.should_trace(entropy=value) for value in noise]
    traced = [value for value, asked in zip(noise, chosen, strict=True) if asked]
    assert sum(traced) / len(traced) > 0.8


def test_the_maps_error_is_that_of_heard_cells(world: Deployment, scenario: AblationScenario) -> None:
    radio = world.maps.radio
    rough = replace(radio, relative_error=torch.full_like(radio.gain, 0.25))
    fix = Fix(torch.zeros(4, 1), scenario.observed[1].position[:4].unsqueeze(1), torch.eye(2).expand(4, 1, 2, 2))
    reports = scenario.observed[0][:4]
    assert mean_map_error(fix, reports, replace(world.maps, radio=rough), 1) == pytest.approx(0.25)
    blind = replace(rough, known=torch.zeros_like(radio.known))
    assert mean_map_error(fix, reports, replace(world.maps, radio=blind), 1) == 1.0


@pytest.mark.parametrize(("loss", "share"), [("none", 0.0), ("map", 0.0), ("rt", 0.25), ("map+rt", 0.25)])
def test_each_loss_asks_whom_it_says(
    world: Deployment,
    scenario: AblationScenario,
    loss: LossKind,
    share: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = task_of(world, replace(PLAN, loss=loss, rt_fraction=share), monkeypatch)
    batches = [replace(a_batch(scenario, number=number), number=number) for number in range(8)]
    fixes = [task.locator(batch.reports, batch.maps) for batch in batches]
    asked = [task._physics(fix, batch) for fix, batch in zip(fixes, batches, strict=True)]
    assert sum("physics_rt" in parts for parts in asked) == 8 * share == task.counters["rt_batches"]
    assert sum("physics_map" in parts for parts in asked) == {"none": 0, "map": 8, "rt": 0, "map+rt": 6}[loss]
    assert (task.counters["rt_cpu_s"] > 0) == (share > 0)
    if loss == "rt":  # one batch stands for four
        fix, batch = fixes[0], batches[0]
        once, _ = physics_loss(
            fix, batch.reports, world.simulator, world.maps.radio.grid, world.maps.power_dbm, MODEL, 2, ALL, True
        )
        torch.testing.assert_close(asked[0]["physics_rt"], 4 * once)


def test_the_way_back_is_timed_too() -> None:
    class Slow(FreeSpace):
        def paths(self, position: torch.Tensor) -> LinkTruth:
            spin(0.05)
            inside = 1.0 * position
            inside.register_hook(lambda _: spin(0.1))
            return super().paths(inside)

    def spin(seconds: float) -> None:
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    spent = {"rt_cpu_s": 0.0}
    position = torch.zeros(3, 2, requires_grad=True)
    truth = TimedSimulator(Slow(SITES, size=SIZE), spent).paths(position)
    assert 0.05 <= spent["rt_cpu_s"] < 0.12
    truth.gain_db.sum().backward()
    assert position.grad is not None
    assert 0.15 <= spent["rt_cpu_s"] < 0.4


# ---- locators that have to learn it --------------------------------------------------------------------


def test_evidence_can_be_left_out(world: Deployment, scenario: AblationScenario) -> None:
    reports = scenario.observed[0][:4]
    fixes = {}
    for evidence in ("skip", "input", "none"):
        torch.manual_seed(0)
        fixes[evidence] = Locator(replace(LOCATOR, evidence=evidence), MODEL)(reports, world.maps).log_heatmap
    prior = torch.nn.functional.avg_pool2d(world.maps.prior.clamp(min=1e-6)[None], 2).flatten().log().log_softmax(0)
    for plain in ("input", "none"):  # before training: anywhere outdoors
        torch.testing.assert_close(fixes[plain], prior.expand(4, -1), rtol=1e-4, atol=1e-4)
    assert (fixes["skip"] - prior).abs().max() > 1
    torch.manual_seed(0)
    learner = Locator(replace(LOCATOR, evidence="input"), MODEL)
    learner(reports, world.maps).log_heatmap[:, 100].sum().backward()
    weight = learner.pixel_logit.weight.grad
    assert weight is not None
    assert weight.any()
