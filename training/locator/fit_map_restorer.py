"""Train the map restorer (`uel.models.map_restorer`) on deployments whose true maps are known."""

import logging
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from training.locator.config import MapRestorerTrainingConfig
from uel.core.display.progress import with_progress
from uel.core.io import as_json, replace_file, replace_torch_file
from uel.core.outside.weight_files import read_weights
from uel.errors import UelError
from uel.inference.deployment import Deployment
from uel.measurement.distributions import log_ndtr
from uel.measurement.model import ObservationModel
from uel.models.map_restorer import MapRestorer, RestoredLevels, given_gain_db, restorer_input
from uel.results.condition import EXACT_MAPS

log = logging.getLogger(__name__)

LOS_WEIGHT = 0.3  # weight of the line of sight's cross-entropy beside a level's
OUTLIER_FRACTION = (
    0.05  # fraction of levels assumed to be outliers of a restored map, as in `uel.adaptation.map_correction`
)
MAX_GRADIENT_NORM = 1.0  # largest gradient norm
WARMUP_FRACTION = 0.05  # fraction of the steps in which the rate rises
VALIDATION_CELLS = 8  # cells of each deployment and condition to validate on
STATE_FILE = "course.pt"  # state of an unfinished training
STEPS_PER_SAVE = 100  # steps between two writes of the state
STATEFUL_PARTS = ("network", "optimizer", "schedule")  # parts with a state_dict
CPU_DEVICE = torch.device("cpu")
ERROR_BARS_DB = (2.0, 4.0, 8.0, 12.0, 16.0)  # dB, error bars tried with the given map


@dataclass(frozen=True, eq=False)
class _RestorationSample:
    """A deployment and a condition under which its maps are wrong."""

    deployment: Deployment
    condition: str

    @cached_property
    def network_input(self) -> Float[Tensor, "cell channel row column"]:
        """The network input of all cells, in half precision to keep them all in memory."""
        return restorer_input(self.deployment.assumed_maps(self.condition)).half()

    def draw(self, model: ObservationModel, generator: torch.Generator) -> "_TargetBatch":
        """A random cell, with one report's level of it in every pixel."""
        truth, power = self.deployment.maps.radio, self.deployment.maps.power_dbm
        cell = int(torch.randint(len(truth.gain), (), generator=generator, device=generator.device))
        fading = torch.randn(truth.grid.shape, generator=generator, device=generator.device) * model.shadowing_db
        level = truth.level_db[cell] + fading
        limit = model.sensitivity_dbm - model.rsrp_step_db / 2 - float(power[cell])
        heard = truth.known[cell] & (level >= limit)
        return _TargetBatch(
            self.network_input[cell].float(), level, limit, heard, truth.los[cell], self.deployment.maps.prior > 0
        )


@dataclass(frozen=True, eq=False)
class _TargetBatch:
    """The network input of one cell, and its true levels and sight."""

    network_input: Float[Tensor, "channel row column"]
    level: Float[Tensor, "row column"]
    """dB, one report's path gain and fading in every pixel; meaningful where it is heard"""
    limit: float
    """dB, levels below it are not heard"""
    heard: Bool[Tensor, "row column"]
    los: Bool[Tensor, "row column"]
    outdoor: Bool[Tensor, "row column"]
    """pixels where phones can be"""


def fit_restorer(
    config: MapRestorerTrainingConfig,
    train: Sequence[Deployment],
    validate: Sequence[Deployment],
    model: ObservationModel,
    seed: int,
    out: Path,
    device: torch.device = CPU_DEVICE,
) -> None:
    """Train on all wrong maps of deployments; write `restorer.pt`, and validation scores to `restorer.json`.

    The loss is the negative log-likelihood of reports: the true level with fading, silent below the sensitivity. The
    same seed and deployments give the same network. A killed training resumes from `course.pt` in the folder, which is
    removed at the end.
    """
    torch.manual_seed(seed)
    state, samples = _TrainerState.of(config, seed, device), _samples(train)
    state.resume(out / STATE_FILE)
    for step in with_progress(range(state.step, config.steps), "training the map restorer"):
        loss = state.train_step(config.batch, samples, model)
        if state.step % STEPS_PER_SAVE == 0:
            state.save(out / STATE_FILE)
            log.info("restorer: step %d, %.3f nats a pixel", step + 1, loss)
    network = state.network.cpu().eval()
    network.save(out)
    scores = _score(network, validate, model, seed)
    replace_file(out / "restorer.json", as_json(scores))
    for name, (given_cost, restored) in scores.items():
        log.info("restorer: a level on maps %s costs %.3f nats as given, %.3f restored", name, given_cost, restored)
    (out / STATE_FILE).unlink(missing_ok=True)


@dataclass(eq=False)
class _TrainerState:
    """The state of a training in progress."""

    network: MapRestorer
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    generator: torch.Generator
    device: torch.device
    step: int = 0

    @staticmethod
    def of(config: MapRestorerTrainingConfig, seed: int, device: torch.device) -> "_TrainerState":
        network = MapRestorer(config.network).to(device)
        optimizer = torch.optim.AdamW(network.parameters(), config.learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, config.learning_rate, config.steps, pct_start=WARMUP_FRACTION
        )
        return _TrainerState(network, optimizer, schedule, torch.Generator().manual_seed(seed), device)

    def train_step(self, batch: int, samples: Sequence[_RestorationSample], model: ObservationModel) -> float:
        """One step on `batch` cells of random samples; the loss in nats."""
        chosen = torch.randint(len(samples), (batch,), generator=self.generator, device=self.generator.device).tolist()
        targets = [samples[k].draw(model, self.generator) for k in chosen]
        loss = _loss(
            self.network(torch.stack([target.network_input for target in targets]).to(self.device)), targets, model
        )
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT_NORM)
        self.optimizer.step()
        self.schedule.step()
        self.step += 1
        return loss.item()

    def save(self, file: Path) -> None:
        """Write everything that the next steps depend on."""
        parts = {name: getattr(self, name).state_dict() for name in STATEFUL_PARTS}
        replace_torch_file(file, parts | {"generator": self.generator.get_state(), "step": self.step})

    def resume(self, file: Path) -> None:
        """Restore the written state, if there is one. Raises `UelError` where it is damaged."""
        if not file.is_file():
            return
        try:
            stored = read_weights(file, self.device)
            for name in STATEFUL_PARTS:
                getattr(self, name).load_state_dict(stored[name])
            self.generator.set_state(stored["generator"].cpu())
            self.step = stored["step"]
        except Exception as error:  # torch raises what its unpickler and zip reader raise
            do = f"delete it, and the map restorer is trained anew: rm {shlex.quote(str(file))}"
            raise UelError("the state of an unfinished training is damaged", got=f"{file}: {error}", do=do) from error


def _samples(deployments: Sequence[Deployment]) -> list[_RestorationSample]:
    """All wrong maps of some deployments."""
    return [
        _RestorationSample(deployment, name)
        for deployment in deployments
        for name in deployment.variants
        if name != EXACT_MAPS
    ]


def _loss(restored: RestoredLevels, targets: Sequence[_TargetBatch], model: ObservationModel) -> Tensor:
    """Mean negative log-likelihood in nats of levels and silence, and the weighted cross-entropy of line of sight."""
    los, outdoor = (torch.stack([getattr(target, name) for target in targets]) for name in ("los", "outdoor"))
    sight = F.binary_cross_entropy_with_logits(
        restored.los_log_odds, los.to(restored.los_log_odds.device).float(), reduction="none"
    )
    return LOS_WEIGHT * sight[outdoor].mean() - _level_log_likelihood(restored, targets, model).mean()


def _level_log_likelihood(
    restored: RestoredLevels, targets: Sequence[_TargetBatch], model: ObservationModel
) -> Float[Tensor, " n"]:
    """Log-likelihood in nats of levels and silence, in every pixel where phones can be."""
    device = restored.mean_db.device
    level, heard, outdoor = (
        torch.stack([getattr(target, name) for target in targets]).to(device) for name in ("level", "heard", "outdoor")
    )
    limit = torch.tensor([target.limit for target in targets], device=device)[:, None, None]
    variance = restored.std_db**2 + model.shadowing_db**2

    def log_density(std: Tensor) -> Tensor:
        heard_density = -(((level - restored.mean_db) / std) ** 2) / 2 - std.log() - math.log(2 * math.pi) / 2
        return torch.where(heard, heard_density, log_ndtr((limit - restored.mean_db) / std))

    inlier, outlier = log_density(variance.sqrt()), log_density((variance + model.outlier_db**2).sqrt())
    return torch.logaddexp(math.log1p(-OUTLIER_FRACTION) + inlier, math.log(OUTLIER_FRACTION) + outlier)[outdoor]


def _score(
    network: MapRestorer, validate: Sequence[Deployment], model: ObservationModel, seed: int
) -> dict[str, tuple[float, float]]:
    """By map condition, the cost of a report's level in nats: on the given and on the restored map."""
    samples = _samples(validate)
    by_condition = {
        name: [target for target in samples if target.condition == name]
        for name in (target.condition for target in samples)
    }
    return {name: _score_condition(network, selected, model, seed) for name, selected in by_condition.items()}


@torch.no_grad()
def _score_condition(
    network: MapRestorer, samples: Sequence[_RestorationSample], model: ObservationModel, seed: int
) -> tuple[float, float]:
    """Cost of a report's level in a pixel in nats: on the given map with the best of `ERROR_BARS_DB`, and on the
    restored map.
    """
    generator = torch.Generator().manual_seed(seed)
    targets = [sample.draw(model, generator) for sample in samples for _ in range(VALIDATION_CELLS)]
    given_cost, restored = torch.zeros(len(ERROR_BARS_DB), device="cpu"), 0.0
    for target in targets:
        x = target.network_input[None]
        restored += float(-_level_log_likelihood(network(x), [target], model).mean()) / len(targets)
        unrestored = [RestoredLevels(given_gain_db(x), torch.full_like(x[:, 0], bar), x[:, 3]) for bar in ERROR_BARS_DB]
        given_cost += torch.stack(
            [-_level_log_likelihood(level, [target], model).mean() for level in unrestored]
        ) / len(targets)
    return float(given_cost.min()), restored
