"""Reports + maps → Fix: the map-conditioned transformer, usable without Lightning.

Physics enters first: the log-likelihood of the report at every pixel (the *evidence*, from `ObservationModel`)
skips straight to the heatmap's logits. The heatmap mixes two hypotheses: *the map is right*, which is the grid
posterior itself, and *the map is wrong at this position*, where training learns how much to trust each kind of evidence
and what the map gets wrong. The weight of the two depends on how well the map explains the report at all (the evidence
summed over pixels), as in Bayesian model comparison (MacKay 2003, chapter 28), and on the map's own error bars there.
An untrained locator therefore answers like grid Bayes, in any city. Nothing in the network depends on a direction, a
cell's index or an absolute position: a tile rotated by 90° gives a rotated fix. Other encoders and heads, for
comparison, do depend on some of these: see `LocatorConfig`.
"""

import math
from dataclasses import asdict
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from uel.core.grid import Grid
from uel.core.io import replace_torch_file
from uel.core.outside.weight_files import read_weights, require_finite_weights
from uel.deprecated_names import current_fields
from uel.errors import UelError
from uel.estimation.fix import Fix, pool_to_patches
from uel.estimation.grid_posterior import PRIOR_FLOOR, normalise_log_probability
from uel.geo.tile_maps import TileMaps
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports
from uel.models.config import LocatorConfig
from uel.models.equivariant_layers import IsotropicConv, MapBlock, RadioEncoder, zero_initialised
from uel.models.inputs import (
    BUILDING_CHANNELS,
    CELL_FEATURES,
    EVIDENCE_CHANNELS,
    RADIO_CHANNELS,
    cell_tokens,
    error_channel,
    pixel_channels,
)
from uel.models.locunet import UNet
from uel.models.relevant_cells import CELLS_TAKEN_WHOLE, relevant_cells, restrict_to_cells
from uel.models.vit_encoders import LinearHead, OneStream, TwoStreams

SCHEMA = "uel-locator-3"
# How well the map explains a report: each kind of evidence at its best pixel, all of it as a whole, and the error bars.
FIT_FEATURES = EVIDENCE_CHANNELS + 2
MAX_CELL_IDS = 64  # cells with an embedding of their index, if `cell_ids` is set


def require_nesting(grid: Grid, patches: int) -> None:
    """Raise `UelError` unless every patch holds a whole number of pixels."""
    if grid.count % patches:
        fits = [n for n in range(2, grid.count + 1, 2) if grid.count % n == 0]
        best = min(fits, key=lambda n: abs(n - patches), default=None)
        raise UelError(
            "locator.patches must divide the pixels on a side of the tile",
            got=f"{grid.count} pixels, {patches} patches",
            do=f"try {best} patches" if best else "choose a pixel that divides the size into an even number",
        )


class Locator(nn.Module):
    """The network. `measurement` is how it assumes that phones report.

    Called with reports and maps, it returns a `Fix`. `load` and `save` read and write `locator.pt` in a run's folder.

    Raises:
        UelError: by `load`, for a checkpoint that is absent, damaged or of another schema.

    Example:
        >>> import torch, uel
        >>> from uel.models.config import LocatorConfig
        >>> from uel.models.inputs import BUILDING_CHANNELS
        >>> sites = (uel.Site(position=(0.0, 0.0, 25.0)),)
        >>> radio = uel.FreeSpace(sites, size=128.0).radio_map(uel.Grid(size=128.0, pixel=8.0))
        >>> maps = uel.TileMaps(radio, torch.zeros(BUILDING_CHANNELS, 16, 16), torch.full((16, 16), 1 / 256))
        >>> model = uel.ObservationModel()
        >>> locator = uel.Locator(LocatorConfig(patches=8, width=16, pixel_width=4, depth=1, radio_depth=1), model)
        >>> truth = radio.pixel_truth(torch.tensor([[30.0, 40.0]]))
        >>> reports = model.observe(truth, maps.power_dbm, torch.Generator().manual_seed(0))
        >>> locator(reports, maps).position.shape  # metres
        torch.Size([1, 2])
    """

    def __init__(self, config: LocatorConfig, measurement: ObservationModel) -> None:
        super().__init__()
        self.config, self.measurement = config, measurement
        if config.encoder == "unet":
            self.unet: UNet = UNet(config.cells, config.pixel_width, config.depth)
        else:
            self._build(config)

    def _build(self, config: LocatorConfig) -> None:
        """Build all parts of a transformer; the attributes' names are the names of weights in checkpoints."""
        pixel, width, channels = config.pixel_width, config.width, RADIO_CHANNELS + BUILDING_CHANNELS
        ids = MAX_CELL_IDS if config.cell_ids else 0
        self.radio_encoder: RadioEncoder = RadioEncoder(CELL_FEATURES, width, config.heads, config.radio_depth, ids)
        self.stem: nn.Sequential = nn.Sequential(
            nn.Conv2d(channels, pixel, 1), nn.GELU(), IsotropicConv(pixel, pixel), nn.GELU()
        )
        if config.encoder == "pooled":
            self.embed: nn.Linear = nn.Linear(2 * pixel, width)
            self.blocks: nn.ModuleList = nn.ModuleList(
                MapBlock(width, config.heads, config.patches) for _ in range(config.depth)
            )
            self.norm: nn.LayerNorm = nn.LayerNorm(width)
        else:
            encoder_class = OneStream if config.encoder == "vit" else TwoStreams
            self.encoder: OneStream | TwoStreams = encoder_class(
                config.patches, config.patch_pixels, width, config.depth, config.heads
            )
        self.trust: nn.Module = zero_initialised(nn.Linear(width, EVIDENCE_CHANNELS))
        self.doubt: nn.Sequential = nn.Sequential(
            nn.Linear(width + FIT_FEATURES, width), nn.GELU(), zero_initialised(nn.Linear(width, 1))
        )
        self.pixel_logit: nn.Module = zero_initialised(nn.Conv2d(pixel, 1, 1))
        if config.head == "matched":
            self.query: nn.Module = zero_initialised(nn.Linear(width, width))
        else:
            self.head: LinearHead = LinearHead(width, config.heads, config.patches)
        self.fine: nn.Module = zero_initialised(nn.Linear(width, 2))

    def forward(self, reports: Reports, maps: TileMaps, measurement: ObservationModel | None = None) -> Fix:
        """Locate a batch of phones on one tile (one leading axis).

        `measurement` is these phones' observation model where more is known than the locator's own model: how many
        cells they report, say. Raises `UelError` when the patches do not divide the map's pixels.
        """
        require_nesting(maps.radio.grid, self.config.patches)
        model = measurement or self.measurement
        if self.config.encoder == "unet":
            return pool_to_patches(self.unet(reports, maps, model), maps.radio.grid, self.config.patches)
        if reports.heard.shape[-1] > CELLS_TAKEN_WHOLE and not self.config.cell_ids:
            reports, maps = restrict_to_cells(reports, maps, relevant_cells(reports, maps, model))
        evidence = self._evidence(reports, maps, model)
        radio = self.radio_encoder(cell_tokens(reports, maps))
        # With channels last the same convolutions and poolings take some third of the time on a CPU, all a fifth less.
        channels = pixel_channels(evidence, reports, maps).contiguous(memory_format=torch.channels_last)
        pixels = self.stem(channels)
        tokens = self._pooled(pixels, radio) if self.config.encoder == "pooled" else self.encoder(channels, radio)
        score = self._score(tokens, radio[:, :1])
        skipped = evidence if self.config.evidence == "skip" else torch.zeros_like(evidence)
        logit = self._weigh(skipped, pixels, score, radio[:, 0], reports, maps)
        return self._fix(logit, self.fine(tokens), reports, maps)

    def _evidence(
        self, reports: Reports, maps: TileMaps, measurement: ObservationModel
    ) -> Float[Tensor, "batch feature row column"]:
        """Log-likelihood of each report at every pixel by feature; zeros for a network without evidence."""
        if self.config.evidence == "none":
            shape = (reports.heard.shape[0], EVIDENCE_CHANNELS, *maps.radio.grid.shape)
            return torch.zeros(shape, device=maps.prior.device)
        return measurement.log_likelihood(reports, maps.radio, maps.power_dbm, map_error=self.config.corrected_maps)

    def _weigh(
        self, evidence: Tensor, pixels: Tensor, score: Tensor, summary: Tensor, reports: Reports, maps: TileMaps
    ) -> Float[Tensor, "batch row column"]:
        """Log-probability of every pixel: the posterior if the map is right, mixed with the network's if it is
        wrong."""
        log_prior = maps.prior.clamp(min=PRIOR_FLOOR).log()
        right = evidence.sum(1) + log_prior
        trust = self.trust(summary).exp()[..., None, None]  # 1 before training
        by_patch = score.unflatten(1, (self.config.patches, -1))
        side = maps.radio.grid.count // self.config.patches
        learned = by_patch.repeat_interleave(side, 1).repeat_interleave(side, 2) + self.pixel_logit(pixels)[:, 0]
        wrong = (trust * evidence).sum(1) + log_prior + learned
        marginal = right.flatten(1).logsumexp(1, keepdim=True) - log_prior.logsumexp((0, 1))
        right = normalise_log_probability(right)
        fit = torch.cat([evidence.amax((-2, -1)) / 10.0, marginal / 10.0, _mean_error_bar(right, reports, maps)], 1)
        doubt = self.doubt(torch.cat([summary, fit], 1))[..., None]
        return torch.logaddexp(F.logsigmoid(-doubt) + right, F.logsigmoid(doubt) + normalise_log_probability(wrong))

    def _score(self, tokens: Tensor, summary: Tensor) -> Float[Tensor, "batch patch"]:
        """The network's own score of each patch."""
        if self.config.head == "linear":
            return self.head(tokens, summary)
        return (tokens * self.query(summary)).sum(-1) / math.sqrt(self.config.width)

    def _pooled(self, pixels: Tensor, radio: Tensor) -> Float[Tensor, "batch patch width"]:
        side = pixels.shape[-1] // self.config.patches
        pooled = torch.cat([F.avg_pool2d(pixels, side), F.max_pool2d(pixels, side)], 1)
        tokens = self.embed(pooled.flatten(2).transpose(1, 2))
        for block in self.blocks:
            tokens = block(tokens, radio)
        return self.norm(tokens)

    def _fix(self, logit: Tensor, fine: Tensor, reports: Reports, maps: TileMaps) -> Fix:
        """The fix from pixel logits: the heatmap is their sum by patch, their moments are shifted and scaled by
        `fine`."""
        pooled = pool_to_patches(logit, maps.radio.grid, self.config.patches)
        # Offset along the line from the serving antenna, the one direction that rotates with the tile.
        antenna = maps.radio.cell_position[reports.serving, None, :2]
        patch_side = maps.radio.grid.size / self.config.patches
        shift = patch_side / 2 * fine[..., :1].tanh() * F.normalize(pooled.mean - antenna, dim=-1, eps=1.0)
        covariance = pooled.component_covariance * fine[..., 1:, None].clamp(-4, 4).exp()
        return Fix(pooled.log_heatmap, pooled.mean + shift, covariance)

    def save(self, folder: str | Path) -> None:
        """Write `locator.pt` (weights and configuration) into a folder; the file is whole or the one from before."""
        content = {
            "schema": SCHEMA,
            "config": asdict(self.config),
            "measurement": asdict(self.measurement),
            "state": self.state_dict(),
        }
        replace_torch_file(Path(folder) / "locator.pt", content)

    @staticmethod
    def load(folder: str | Path) -> "Locator":
        """Load a run's locator. Raises `UelError` when it is absent, damaged or of another schema."""
        file = Path(folder) / "locator.pt"
        if not file.is_file():
            raise UelError("there is no trained locator in this folder", got=str(file), do="train one: uel demo")
        content = read_weights(file)
        if not isinstance(content, dict) or content.get("schema") != SCHEMA:
            got = content.get("schema") if isinstance(content, dict) else type(content).__name__
            raise UelError(f"this checkpoint is not of schema {SCHEMA!r}", got=f"{got!r} in {file}", do="train again")
        try:
            locator = Locator(
                LocatorConfig(**current_fields("train", content["config"])),
                ObservationModel(**current_fields("train", content["measurement"])),
            )
            require_finite_weights(content["state"], file)
            locator.load_state_dict(content["state"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:  # RuntimeError: names or shapes of weights
            raise UelError("this checkpoint is damaged", got=f"{file}: {error}", do="train again") from error
        return locator.eval()


def _mean_error_bar(
    log_posterior: Float[Tensor, "batch row column"], reports: Reports, maps: TileMaps
) -> Float[Tensor, "batch 1"]:
    """Relative error of the map, averaged over the posterior and over the cells that the report holds."""
    error, heard = error_channel(maps.radio).flatten(1), reports.heard.float()
    bar = heard * (log_posterior.exp().flatten(1) @ error.T)
    return bar.sum(1, keepdim=True) / heard.sum(1, keepdim=True).clamp(min=1.0)
