"""Reports + maps → Fix: the map-conditioned transformer, usable without Lightning.

Physics enters first: the log-likelihood of the report at every pixel (the *evidence*, from `MeasurementModel`)
skips straight to the heatmap's logits. The heatmap mixes two hypotheses: *the map is right*, which is the grid
posterior itself, and *the map is wrong here*, where training learns how far to trust each kind of evidence and what
the map gets wrong. How well the map explains the report at all (the evidence summed over pixels) is what weighs the
two, as in Bayesian model comparison (MacKay 2003, chapter 28). An untrained locator therefore answers like grid
Bayes, in any city. Nothing in the network knows a direction, a cell's index or an absolute position: a world turned
by 90° gives a turned fix.
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from uel.errors import UelError
from uel.fix import Fix, pooled
from uel.grid import Grid
from uel.layers import IsotropicConv, MapBlock, RadioEncoder
from uel.maps import MATERIALS, Maps
from uel.measurement import MeasurementModel
from uel.reports import Reports
from uel.sites import cells_of
from uel.units import to_db

SCHEMA = "uel-locator-2"
EVIDENCE = 3  # RSRP, timing advance, azimuth
FIT = EVIDENCE + 1  # how well the map explains each kind of evidence at its best pixel, and the report as a whole
PIXEL_CHANNELS = EVIDENCE + 1 + 6 + 2 + len(MATERIALS)
CELL_FEATURES = 9


@dataclass(frozen=True, kw_only=True)
class LocatorConfig:
    """Sizes of the network."""

    patches: int = 32
    """patches on a side of the tile: the classes of the coarse heatmap"""
    width: int = 48
    """width of all tokens"""
    pixel_width: int = 16
    """channels at full resolution, before pixels are pooled into patches"""
    depth: int = 2
    """layers of the map encoder"""
    radio_depth: int = 2
    """layers of the radio encoder"""
    heads: int = 2
    """attention heads"""
    evidence: Literal["skip", "input", "none"] = "skip"
    """skip: the evidence enters the network and the logits; input: the network alone, which has to learn what it is
    worth; none: neither (for ablations)"""

    def __post_init__(self) -> None:
        if min(self.width, self.pixel_width, self.depth, self.radio_depth, self.heads) < 1:
            raise UelError("a network needs width, layers and heads", got=self, do="give at least one of each")
        if self.width % self.heads:
            raise UelError("the width must divide by the heads", got=(self.width, self.heads), do="try 48 and 2")
        if self.patches < 2 or self.patches % 2:
            raise UelError(
                "patches are looked at in blocks of 2 × 2", got=f"{self.patches} a side", do="give an even number"
            )


def require_nesting(grid: Grid, patches: int) -> None:
    """Raise `UelError` unless every patch holds a whole number of pixels."""
    if grid.count % patches:
        fits = [n for n in range(2, grid.count + 1, 2) if grid.count % n == 0]
        best = min(fits, key=lambda n: abs(n - patches), default=None)
        raise UelError(
            "patches must divide the pixels of a side",
            got=f"{grid.count} pixels, {patches} patches",
            do=f"try {best} patches" if best else "choose a pixel that divides the size into an even number",
        )


class Locator(nn.Module):
    """The network. `measurement` is what it takes the phones' realism to be."""

    def __init__(self, config: LocatorConfig, measurement: MeasurementModel) -> None:
        super().__init__()
        self.config, self.measurement = config, measurement
        pixel, width = config.pixel_width, config.width
        self.radio_encoder = RadioEncoder(CELL_FEATURES, width, config.heads, config.radio_depth)
        self.stem = nn.Sequential(
            nn.Conv2d(PIXEL_CHANNELS, pixel, 1), nn.GELU(), IsotropicConv(pixel, pixel), nn.GELU()
        )
        self.embed = nn.Linear(2 * pixel, width)
        self.blocks = nn.ModuleList(MapBlock(width, config.heads, config.patches) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width)
        self.trust = _zero(nn.Linear(width, EVIDENCE))
        self.doubt = nn.Sequential(nn.Linear(width + FIT, width), nn.GELU(), _zero(nn.Linear(width, 1)))
        self.pixel_logit = _zero(nn.Conv2d(pixel, 1, 1))
        self.query = _zero(nn.Linear(width, width))
        self.fine = _zero(nn.Linear(width, 2))

    def forward(self, reports: Reports, maps: Maps, measurement: MeasurementModel | None = None) -> Fix:
        """Locate a batch of phones on one tile (one leading axis).

        `measurement` is what is known of these phones' realism, where that is more than the locator's own model:
        how many cells they report, say. Raises `UelError` when the patches do not divide the map's pixels.
        """
        require_nesting(maps.radio.grid, self.config.patches)
        evidence = self._evidence(reports, maps, measurement or self.measurement)
        radio = self.radio_encoder(cell_features(reports, maps))
        pixels = self.stem(_pixel_channels(evidence, reports, maps))
        tokens = self._encode(pixels, radio)
        score = (tokens * self.query(radio[:, :1])).sum(-1) / math.sqrt(self.config.width)
        skipped = evidence if self.config.evidence == "skip" else torch.zeros_like(evidence)
        logit = self._weigh(skipped, pixels, score, radio[:, 0], maps)
        return self._fix(logit, self.fine(tokens), reports, maps)

    def _evidence(
        self, reports: Reports, maps: Maps, measurement: MeasurementModel
    ) -> Float[Tensor, "batch feature row column"]:
        """Log-likelihood of each report at every pixel by kind; zeros for a network that is to do without."""
        if self.config.evidence == "none":
            return torch.zeros(len(reports), EVIDENCE, *maps.radio.grid.shape)
        return measurement.log_likelihood(reports, maps.radio, maps.power_dbm)

    def _weigh(
        self, evidence: Tensor, pixels: Tensor, score: Tensor, summary: Tensor, maps: Maps
    ) -> Float[Tensor, "batch row column"]:
        """Log-probability of every pixel: the posterior under the map, mixed with what is left when it is wrong."""
        prior = maps.prior.clamp(min=1e-6).log()
        right = evidence.sum(1) + prior
        trust = self.trust(summary).exp()[..., None, None]  # 1 before training
        by_patch = score.unflatten(1, (self.config.patches, -1))
        side = maps.radio.grid.count // self.config.patches
        learned = by_patch.repeat_interleave(side, 1).repeat_interleave(side, 2) + self.pixel_logit(pixels)[:, 0]
        wrong = (trust * evidence).sum(1) + prior + learned
        marginal = right.flatten(1).logsumexp(1, keepdim=True) - prior.logsumexp((0, 1))
        fit = torch.cat([evidence.amax((-2, -1)), marginal], 1) / 10.0
        doubt = self.doubt(torch.cat([summary, fit], 1))[..., None]
        return torch.logaddexp(F.logsigmoid(-doubt) + _log_share(right), F.logsigmoid(doubt) + _log_share(wrong))

    def _encode(self, pixels: Tensor, radio: Tensor) -> Float[Tensor, "batch patch width"]:
        side = pixels.shape[-1] // self.config.patches
        pooled = torch.cat([F.avg_pool2d(pixels, side), F.max_pool2d(pixels, side)], 1)
        tokens = self.embed(pooled.flatten(2).transpose(1, 2))
        for block in self.blocks:
            tokens = block(tokens, radio)
        return self.norm(tokens)

    def _fix(self, logit: Tensor, fine: Tensor, reports: Reports, maps: Maps) -> Fix:
        """Pixels pooled into patches: their sum is the heatmap, their moments the fine stage's start."""
        start = pooled(logit, maps.radio.grid, self.config.patches)
        # Offset along the line from the serving antenna, the one direction that turns with the world.
        antenna = maps.radio.cell_position[reports.serving, None, :2]
        patch_side = maps.radio.grid.size / self.config.patches
        shift = patch_side / 2 * fine[..., :1].tanh() * F.normalize(start.mean - antenna, dim=-1, eps=1.0)
        wide = start.component_covariance * fine[..., 1:, None].clamp(-4, 4).exp()
        return Fix(start.log_heatmap, start.mean + shift, wide)

    def save(self, folder: str | Path) -> None:
        """Write `locator.pt` (weights and configuration) into a folder."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        content = {
            "schema": SCHEMA,
            "config": asdict(self.config),
            "measurement": asdict(self.measurement),
            "state": self.state_dict(),
        }
        torch.save(content, Path(folder) / "locator.pt")

    @staticmethod
    def load(folder: str | Path) -> "Locator":
        """Load a run's locator. Raises `UelError` when it is absent, damaged or of another schema."""
        file = Path(folder) / "locator.pt"
        if not file.is_file():
            raise UelError("no trained locator here", got=str(file), do="train one: uel demo")
        try:
            content = torch.load(file, weights_only=True)
        except Exception as error:  # torch raises what its unpickler and zip reader raise
            raise UelError("this checkpoint cannot be read", got=f"{file}: {error}", do="train again") from error
        if not isinstance(content, dict) or content.get("schema") != SCHEMA:
            got = content.get("schema") if isinstance(content, dict) else type(content).__name__
            raise UelError(f"this checkpoint is not of schema {SCHEMA!r}", got=f"{got!r} in {file}", do="train again")
        try:
            locator = Locator(LocatorConfig(**content["config"]), MeasurementModel(**content["measurement"]))
            locator.load_state_dict(content["state"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:  # RuntimeError: names or shapes of weights
            raise UelError("this checkpoint is damaged", got=f"{file}: {error}", do="train again") from error
        return locator.eval()


def _log_share(logit: Float[Tensor, "batch row column"]) -> Float[Tensor, "batch row column"]:
    """Log-probability of each pixel among all."""
    return logit.flatten(1).log_softmax(1).view_as(logit)


def _zero(layer: nn.Linear | nn.Conv2d) -> nn.Module:
    """A layer that says nothing until it is trained."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def cell_features(reports: Reports, maps: Maps) -> Float[Tensor, "batch cell feature"]:
    """One token per cell: what was said of it and its pose, nothing that depends on the frame."""
    serving = F.one_hot(reports.serving, reports.heard.shape[-1]).float()
    said = [
        (reports.rsrp_dbm + 100.0) / 15.0 * reports.heard,
        reports.heard.float(),
        serving,
        serving * reports.timing_advance.unsqueeze(-1) / 5.0,
        serving * reports.has_timing_advance.unsqueeze(-1),
        serving * reports.has_azimuth.unsqueeze(-1),
    ]
    pose = torch.tensor(
        [
            [site.position[2] / 30.0, cell.tilt_deg / 10.0, math.log10(cell.carrier.frequency / 3.5e9)]
            for site, cell in cells_of(maps.radio.sites)
        ]
    )
    return torch.cat([torch.stack(said, -1), pose.expand(*reports.serving.shape, -1, -1)], -1)


def _pixel_channels(
    evidence: Float[Tensor, "batch feature row column"], reports: Reports, maps: Maps
) -> Float[Tensor, "batch channel row column"]:
    """Evidence, the serving cell's and the strongest cell's maps, and the buildings, at full resolution."""
    radio = maps.radio
    total = evidence.sum(1, keepdim=True)
    relative = torch.cat([evidence, total], 1)
    relative = (relative - relative.amax((-2, -1), keepdim=True)).clamp(min=-20.0) / 5.0
    level = torch.where(radio.known, (to_db(torch.where(radio.known, radio.gain, 1.0)) + 100.0) / 15.0, -3.0)
    away = (radio.grid.centres() - radio.cell_position[:, None, None, :2]).norm(dim=-1) / radio.grid.size
    serving = torch.stack([level, radio.known.float(), radio.relative_error.clamp(max=2.0), radio.los.float(), away], 1)
    fixed = torch.cat([level.amax(0)[None], maps.buildings])
    return torch.cat([relative, serving[reports.serving], fixed.expand(*reports.serving.shape, -1, -1, -1)], 1)
