"""The same world seen otherwise: turned, mirrored, larger or smaller, with its maps, masts, angles and truth."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from uel.core.grid import Grid
from uel.errors import UelError
from uel.geo.tile_maps import TileMaps
from uel.radio.link_truth import LinkTruth
from uel.radio.radio_map import PropagationChannels, RadioMap
from uel.radio.simulator import Paths
from uel.radio.sites import Site

EDGE_MARGIN = 1e-3  # m inside the tile's edge: where a position that a turn has thrown off it is looked up


@dataclass(frozen=True, kw_only=True)
class SimilarityTransform:
    """A mirror image in the north–south axis (or none), then a turn about the tile's centre, then a scale.

    All lengths are scaled, heights too, and gains stay: this is the scaled world under a carrier that is scaled the
    other way. Rasters take the nearest pixel, which keeps what errors and holes look like and is exact for the eight
    symmetries of the square; what comes from off the tile is unknown, and no phone is there.
    """

    mirrored: bool = False
    angle_deg: float = 0.0
    """counter-clockwise"""
    scale: float = 1.0

    @property
    def identity(self) -> bool:
        return self == IDENTITY_TRANSFORM

    @property
    def matrix(self) -> Float[Tensor, "2 2"]:
        """What turns directions."""
        angle = math.radians(self.angle_deg)
        turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        return turn * torch.tensor([-1.0 if self.mirrored else 1.0, 1.0])

    def position(self, position: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n dim"]:
        """Where a place (m; heights are scaled) comes to lie."""
        plane = position[..., :2] @ self.matrix.T
        return self.scale * torch.cat([plane, position[..., 2:]], -1)

    def back(self, position: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n dim"]:
        """Where a place was before; differentiable."""
        return torch.cat([position[..., :2] @ self.matrix, position[..., 2:]], -1) / self.scale

    def azimuth_deg(self, azimuth_deg: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """What a compass azimuth becomes."""
        return ((-azimuth_deg if self.mirrored else azimuth_deg) - self.angle_deg) % 360.0

    def truth(self, truth: LinkTruth) -> LinkTruth:
        """What is true of the same links."""
        return replace(
            truth,
            position=self.position(truth.position),
            delay=truth.delay * self.scale,
            azimuth_deg=self.azimuth_deg(truth.azimuth_deg) * truth.known,
        )

    def raster(self, values: Shaped[Tensor, "*n row column"], grid: Grid) -> Shaped[Tensor, "*n row column"]:
        """A raster of the turned world; 0 where it shows what was off the tile."""
        inside, row, column = self._source(grid)
        return torch.where(inside, values[..., row, column], torch.zeros((), dtype=values.dtype))

    def _source(self, grid: Grid) -> tuple[Tensor, Tensor, Tensor]:
        """Whether each pixel comes from the tile, and from which row and column."""
        place = self.back(grid.centres())
        return grid.contains(place), *grid.pixel_of(place)

    def sites(self, sites: tuple[Site, ...]) -> tuple[Site, ...]:
        return tuple(self._site(site) for site in sites)

    def _site(self, site: Site) -> Site:
        azimuth = self.azimuth_deg(torch.tensor([cell.azimuth_deg for cell in site.cells])).tolist()
        cells = tuple(replace(cell, azimuth_deg=a) for cell, a in zip(site.cells, azimuth, strict=True))
        x, y, z = self.position(torch.tensor(site.position)).tolist()
        return replace(site, position=(x, y, z), cells=cells)

    def maps(self, maps: TileMaps) -> TileMaps:
        """What a locator may look at, of the turned world."""
        if self.identity:
            return maps
        grid = maps.radio.grid
        buildings, prior = (self.raster(values, grid) for values in (maps.buildings, maps.prior))
        return TileMaps(self.radio(maps.radio), torch.cat([buildings[:1] * self.scale, buildings[1:]]), prior)

    def radio(self, radio: RadioMap) -> RadioMap:
        """The radio map of the turned world."""
        take = lambda values: self.raster(values, radio.grid)  # noqa: E731
        return RadioMap(
            radio.grid,
            self.sites(radio.sites),
            *(take(getattr(radio, name)) for name in ("gain", "relative_error", "known", "los")),
            elevation=take(radio.elevation) * self.scale,
            channels=self._channels(radio.channels, radio.grid) if radio.channels else None,
        )

    def _channels(self, channels: PropagationChannels, grid: Grid) -> PropagationChannels:
        take = lambda values: self.raster(values, grid)  # noqa: E731
        return PropagationChannels(
            take(channels.first_arrival) * self.scale,
            take(channels.delay_spread) * self.scale,
            self._direction(take(channels.arrival)),
            self._direction(take(channels.departure)),
            take(channels.sight),
        )

    def _direction(self, vector: Float[Tensor, "cell 3 row column"]) -> Float[Tensor, "cell 3 row column"]:
        plane = torch.einsum("ij,cjyx->ciyx", self.matrix, vector[:, :2])
        return torch.cat([plane, vector[:, 2:]], 1)


IDENTITY_TRANSFORM = SimilarityTransform()


@dataclass(frozen=True)
class TransformedSimulator:
    """A map or simulator, asked about a turned world in that world's own positions.

    Positions that lie off the unturned tile are asked for at its edge.
    """

    source: Paths
    similarity: SimilarityTransform
    size: float
    """m, side of the tile"""

    def path_gain(self, position: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n cell"]:
        """See `PathGain.path_gain`."""
        return self.source.path_gain(self._back(position))

    def paths(self, position: Float[Tensor, "*n dim"]) -> LinkTruth:
        """See `Paths.paths`."""
        return self.similarity.truth(self.source.paths(self._back(position)))

    def _back(self, position: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n dim"]:
        edge = self.size / 2 - EDGE_MARGIN
        back = self.similarity.back(position)
        return torch.cat([back[..., :2].clamp(-edge, edge), back[..., 2:]], -1)


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """How the world of each training batch is seen."""

    symmetries: bool = False
    """under one of the eight symmetries of the square"""
    angle_deg: float = 0.0
    """greatest turn beside that, drawn evenly to either side; maps are resampled"""
    scale: float = 0.0
    """greatest share by which the world is larger or smaller, drawn evenly; maps are resampled"""

    def __post_init__(self) -> None:
        if not 0 <= self.angle_deg <= 45 or not 0 <= self.scale < 0.5:
            raise UelError(
                "worlds are turned by 45° at most and scaled by less than a half",
                got=f"angle_deg={self.angle_deg}, scale={self.scale}",
                do="try 5 and 0.1, or --augment.symmetries alone",
            )

    def draw(self, generator: torch.Generator) -> SimilarityTransform:
        mirrored, quarter, angle, scale = torch.rand(4, generator=generator).tolist()
        return SimilarityTransform(
            mirrored=self.symmetries and mirrored < 0.5,
            angle_deg=90.0 * int(4 * quarter) * self.symmetries + self.angle_deg * (2 * angle - 1),
            scale=1 + self.scale * (2 * scale - 1),
        )
