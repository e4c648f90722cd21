"""Teach a network how maps are wrong (`uel.models.map_restorer`), on worlds whose right maps are known."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from training.data.deployment import EXACT_MAPS, Deployment
from uel.core.io import as_json
from uel.errors import UelError
from uel.measurement.distributions import log_ndtr
from uel.measurement.model import ObservationModel
from uel.models.config import RestorerConfig
from uel.models.map_restorer import MapRestorer, RestoredLevels, given_gain_db, restorer_input

log = logging.getLogger(__name__)

LOS_WEIGHT = 0.3  # weight of the sight's cross-entropy beside a level's
OUTLIER_FRACTION = (
    0.05  # share of levels that a restored map is taken to be far off, as `uel.adaptation.map_correction` will
)
MAX_GRADIENT_NORM = 1.0  # greatest gradient norm
WARMUP_FRACTION = 0.05  # share of the steps in which the rate rises
VALIDATION_CELLS = 8  # cells of each world to validate on
STATE_FILE = "course.pt"  # a training that was killed, to be gone on with
STEPS_PER_SAVE = 100  # steps after each of which it is written
STATEFUL_PARTS = ("network", "optimizer", "schedule")  # parts of it that have a state
CPU_DEVICE = torch.device("cpu")
ERROR_BARS_DB = (2.0, 4.0, 8.0, 12.0, 16.0)  # dB, error bars that a map is tried with as it is given


@dataclass(frozen=True, kw_only=True)
class MapRestorerTrainingConfig:
    """How long and how fast: some 25 CPU minutes by default."""

    steps: int = 2000
    """of AdamW; 0 trains no such network, and only labelled reports put maps right"""
    batch: int = 8
    """cells in a batch, each of some world under some condition"""
    learning_rate: float = 3e-3
    """peak, after a warm-up, before a cosine to zero"""
    network: RestorerConfig = field(default_factory=RestorerConfig)

    def __post_init__(self) -> None:
        if self.steps < 0 or self.batch < 1 or not 0 < self.learning_rate < math.inf:
            raise UelError("a restorer is trained by steps, cells and a rate", got=self, do="give 2000, 8 and 3e-3")


@dataclass(frozen=True, eq=False)
class _RestorationSample:
    """A world, and a condition under which its maps are wrong."""

    world: Deployment
    condition: str

    @cached_property
    def shown(self) -> Float[Tensor, "cell channel row column"]:
        """All its cells as the network is shown them, in half precision to have them all at hand."""
        return restorer_input(self.world.given(self.condition)).half()

    def drawn(self, model: ObservationModel, generator: torch.Generator) -> "_TargetBatch":
        """One of its cells, and one report's level of it in every pixel."""
        truth, power = self.world.maps.radio, self.world.maps.power_dbm
        cell = int(torch.randint(len(truth.gain), (), generator=generator))
        fading = torch.randn(truth.grid.shape, generator=generator) * model.shadowing_db
        level = truth.level_db[cell] + fading
        limit = model.sensitivity_dbm - model.rsrp_step_db / 2 - float(power[cell])
        heard = truth.known[cell] & (level >= limit)
        return _TargetBatch(self.shown[cell].float(), level, limit, heard, truth.los[cell], self.world.maps.prior > 0)


@dataclass(frozen=True, eq=False)
class _TargetBatch:
    """One cell of a world as it is shown, and what is true of it."""

    shown: Float[Tensor, "channel row column"]
    level: Float[Tensor, "row column"]
    """dB, one report's path gain and fading in every pixel; to be read where it is heard"""
    limit: float
    """dB below which none is heard"""
    heard: Bool[Tensor, "row column"]
    los: Bool[Tensor, "row column"]
    possible: Bool[Tensor, "row column"]
    """pixels that phones can be in"""


def fit_restorer(
    plan: MapRestorerTrainingConfig,
    train: Sequence[Deployment],
    validate: Sequence[Deployment],
    model: ObservationModel,
    seed: int,
    out: Path,
    device: torch.device = CPU_DEVICE,
) -> None:
    """Train on all wrong maps that worlds have; write `restorer.pt`, and to `restorer.json` what it does for others.

    Learned is the likelihood of reports: the truth with fading, silent below the sensitivity. The same seed and worlds
    give the same network. Killed, it goes on from `course.pt`, which it leaves in the folder until it is done.
    """
    torch.manual_seed(seed)
    course, lessons = _TrainerState.of(plan, seed, device), _samples(train)
    course.resume(out / STATE_FILE)
    for step in track(range(course.step, plan.steps), "learning how maps are wrong"):
        loss = course.take(plan.batch, lessons, model)
        if course.step % STEPS_PER_SAVE == 0:
            course.keep(out / STATE_FILE)
            log.info("restorer: step %d, %.3f nats a pixel", step + 1, loss)
    network = course.network.cpu().eval()
    network.save(out)
    told = _score(network, validate, model, seed)
    (out / "restorer.json").write_bytes(as_json(told))
    for name, (given, restored) in told.items():
        log.info("restorer: a level on maps %s costs %.3f nats as given, %.3f restored", name, given, restored)
    (out / STATE_FILE).unlink(missing_ok=True)


@dataclass(eq=False)
class _TrainerState:
    """A training under way."""

    network: MapRestorer
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    generator: torch.Generator
    device: torch.device
    step: int = 0

    @staticmethod
    def of(plan: MapRestorerTrainingConfig, seed: int, device: torch.device) -> "_TrainerState":
        network = MapRestorer(plan.network).to(device)
        optimizer = torch.optim.AdamW(network.parameters(), plan.learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, plan.learning_rate, plan.steps, pct_start=WARMUP_FRACTION
        )
        return _TrainerState(network, optimizer, schedule, torch.Generator().manual_seed(seed), device)

    def take(self, batch: int, lessons: Sequence[_RestorationSample], model: ObservationModel) -> float:
        """One step, on `batch` cells of lessons drawn at random; its loss in nats."""
        which = torch.randint(len(lessons), (batch,), generator=self.generator).tolist()
        asked = [lessons[k].drawn(model, self.generator) for k in which]
        loss = _loss(self.network(torch.stack([one.shown for one in asked]).to(self.device)), asked, model)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT_NORM)
        self.optimizer.step()
        self.schedule.step()
        self.step += 1
        return loss.item()

    def keep(self, file: Path) -> None:
        """Write all that the next steps depend on."""
        parts = {name: getattr(self, name).state_dict() for name in STATEFUL_PARTS}
        aside = file.with_suffix(".part")
        torch.save(parts | {"generator": self.generator.get_state(), "step": self.step}, aside)
        aside.replace(file)

    def resume(self, file: Path) -> None:
        """Go on from what was written, if anything was."""
        if file.is_file():
            kept = torch.load(file, weights_only=True, map_location=self.device)
            for name in STATEFUL_PARTS:
                getattr(self, name).load_state_dict(kept[name])
            self.generator.set_state(kept["generator"].cpu())
            self.step = kept["step"]


def _samples(worlds: Sequence[Deployment]) -> list[_RestorationSample]:
    """All wrong maps that worlds have."""
    return [_RestorationSample(world, name) for world in worlds for name in world.variants if name != EXACT_MAPS]


def _loss(restored: RestoredLevels, asked: Sequence[_TargetBatch], model: ObservationModel) -> Tensor:
    """Mean negative log-likelihood in nats of levels and silence, and the cross-entropy of sight."""
    los, possible = (torch.stack([getattr(one, name) for one in asked]) for name in ("los", "possible"))
    sight = F.binary_cross_entropy_with_logits(restored.sight, los.to(restored.sight.device).float(), reduction="none")
    return LOS_WEIGHT * sight[possible].mean() - _level_log_likelihood(restored, asked, model).mean()


def _level_log_likelihood(
    restored: RestoredLevels, asked: Sequence[_TargetBatch], model: ObservationModel
) -> Float[Tensor, " n"]:
    """Log-likelihood in nats of levels and silence, in every pixel where phones can be."""
    device = restored.mean_db.device
    level, heard, possible = (
        torch.stack([getattr(one, name) for one in asked]).to(device) for name in ("level", "heard", "possible")
    )
    limit = torch.tensor([one.limit for one in asked], device=device)[:, None, None]
    own = restored.spread_db**2 + model.shadowing_db**2

    def law(spread: Tensor) -> Tensor:
        at = -(((level - restored.mean_db) / spread) ** 2) / 2 - spread.log() - math.log(2 * math.pi) / 2
        return torch.where(heard, at, log_ndtr((limit - restored.mean_db) / spread))

    usual, far = law(own.sqrt()), law((own + model.outlier_db**2).sqrt())
    return torch.logaddexp(math.log1p(-OUTLIER_FRACTION) + usual, math.log(OUTLIER_FRACTION) + far)[possible]


def _score(
    network: MapRestorer, validate: Sequence[Deployment], model: ObservationModel, seed: int
) -> dict[str, tuple[float, float]]:
    """By map condition, nats that a report's level costs: as the map is given, and restored."""
    lessons = _samples(validate)
    alike = {name: [one for one in lessons if one.condition == name] for name in (one.condition for one in lessons)}
    return {name: _score_condition(network, some, model, seed) for name, some in alike.items()}


@torch.no_grad()
def _score_condition(
    network: MapRestorer, lessons: Sequence[_RestorationSample], model: ObservationModel, seed: int
) -> tuple[float, float]:
    """Nats that a report's level costs in a pixel: by the map as it is given, with the best of `ERROR_BARS_DB`, and
    restored."""
    generator = torch.Generator().manual_seed(seed)
    asked = [lesson.drawn(model, generator) for lesson in lessons for _ in range(VALIDATION_CELLS)]
    given, restored = torch.zeros(len(ERROR_BARS_DB)), 0.0
    for one in asked:
        x = one.shown[None]
        restored += float(-_level_log_likelihood(network(x), [one], model).mean()) / len(asked)
        plain = [RestoredLevels(given_gain_db(x), torch.full_like(x[:, 0], bar), x[:, 3]) for bar in ERROR_BARS_DB]
        given += torch.stack([-_level_log_likelihood(said, [one], model).mean() for said in plain]) / len(asked)
    return float(given.min()), restored
