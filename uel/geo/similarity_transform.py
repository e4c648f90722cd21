"""Similarity transforms of a deployment: rotation, reflection and scaling of its maps, sites, angles and link truth."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from uel.core.grid import Grid
from uel.core.outside.number_ranges import require_numbers
from uel.core.precision import full_precision
from uel.geo.tile_maps import TileMaps
from uel.radio.link_truth import LinkTruth
from uel.radio.radio_map import PropagationChannels, RadioMap
from uel.radio.simulator import Paths
from uel.radio.sites import Site

EDGE_MARGIN = 1e-3  # m inside the tile's edge: positions that a rotation moved off the tile are looked up there


@dataclass(frozen=True, kw_only=True)
class SimilarityTransform:
    """A reflection in the north–south axis (or none), then a rotation about the tile's centre, then a scaling.

    All lengths are scaled, heights too, and gains stay: this is the scaled deployment under a carrier that is scaled
    inversely. Rasters take the nearest pixel, which preserves errors and holes and is exact for the eight symmetries
    of the square; pixels from outside the tile are unknown, and no phone is there.
    """

    mirrored: bool = False
    angle_deg: float = 0.0
    """degrees, counter-clockwise"""
    scale: float = 1.0

    def __post_init__(self) -> None:
        require_numbers(self, scale=(1e-3, 1e3))

    @property
    def is_identity(self) -> bool:
        """Whether the transform changes nothing."""
        return self == IDENTITY_TRANSFORM

    @property
    def matrix(self) -> Float[Tensor, "2 2"]:
        """The reflection and rotation as a matrix."""
        angle = math.radians(self.angle_deg)
        turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], device="cpu")
        return turn * torch.tensor([-1.0 if self.mirrored else 1.0, 1.0], device="cpu")

    def position(self, position: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n dim"]:
        """Positions (m) after the transform; heights are scaled."""
        plane = _turned(position[..., :2], self.matrix.T)
        return self.scale * torch.cat([plane, position[..., 2:]], -1)

    def inverse_position(self, position: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n dim"]:
        """Positions (m) before the transform; differentiable."""
        return torch.cat([_turned(position[..., :2], self.matrix), position[..., 2:]], -1) / self.scale

    def azimuth_deg(self, azimuth_deg: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """Compass azimuths after the transform."""
        return ((-azimuth_deg if self.mirrored else azimuth_deg) - self.angle_deg) % 360.0

    def truth(self, truth: LinkTruth) -> LinkTruth:
        """The truth of the same links after the transform."""
        return replace(
            truth,
            position=self.position(truth.position),
            delay=truth.delay * self.scale,
            azimuth_deg=self.azimuth_deg(truth.azimuth_deg) * truth.known,
        )

    def raster(self, values: Shaped[Tensor, "*n row column"], grid: Grid) -> Shaped[Tensor, "*n row column"]:
        """A raster after the transform; 0 in pixels from outside the tile."""
        inside, row, column = self._source_pixels(grid, values.device)
        return torch.where(inside, values[..., row, column], torch.zeros((), dtype=values.dtype, device=values.device))

    def _source_pixels(self, grid: Grid, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """For each pixel whether it comes from the tile, and its row and column there."""
        position = self.inverse_position(grid.centres(device))
        return grid.contains(position), *grid.pixel_of(position)

    def sites(self, sites: tuple[Site, ...]) -> tuple[Site, ...]:
        """Sites with transformed positions and azimuths."""
        return tuple(self._site(site) for site in sites)

    def _site(self, site: Site) -> Site:
        azimuth = self.azimuth_deg(torch.tensor([cell.azimuth_deg for cell in site.cells], device="cpu")).tolist()
        cells = tuple(replace(cell, azimuth_deg=a) for cell, a in zip(site.cells, azimuth, strict=True))
        x, y, z = self.position(torch.tensor(site.position, device="cpu")).tolist()
        return replace(site, position=(x, y, z), cells=cells)

    def maps(self, maps: TileMaps) -> TileMaps:
        """The maps that a locator is given, after the transform."""
        if self.is_identity:
            return maps
        grid = maps.radio.grid
        buildings, prior = (self.raster(values, grid) for values in (maps.buildings, maps.prior))
        return TileMaps(self.radio(maps.radio), torch.cat([buildings[:1] * self.scale, buildings[1:]]), prior)

    def radio(self, radio: RadioMap) -> RadioMap:
        """The radio map after the transform."""

        def take(values: Tensor) -> Tensor:
            return self.raster(values, radio.grid)

        return RadioMap(
            radio.grid,
            self.sites(radio.sites),
            *(take(getattr(radio, name)) for name in ("gain", "relative_error", "known", "los")),
            elevation=take(radio.elevation) * self.scale,
            channels=self._channels(radio.channels, radio.grid) if radio.channels else None,
            made_on=radio.made_on,
        )

    def _channels(self, channels: PropagationChannels, grid: Grid) -> PropagationChannels:
        def take(values: Tensor) -> Tensor:
            return self.raster(values, grid)

        return PropagationChannels(
            take(channels.first_arrival) * self.scale,
            take(channels.delay_spread) * self.scale,
            self._direction(take(channels.arrival)),
            self._direction(take(channels.departure)),
            take(channels.sight),
        )

    def _direction(self, vector: Float[Tensor, "cell 3 row column"]) -> Float[Tensor, "cell 3 row column"]:
        plane = torch.einsum("ij,cjyx->ciyx", self.matrix.to(vector.device), vector[:, :2])
        return torch.cat([plane, vector[:, 2:]], 1)


def _turned(plane: Float[Tensor, "*n 2"], matrix: Float[Tensor, "2 2"]) -> Float[Tensor, "*n 2"]:
    """Rows times a matrix. Autocast would round positions to bfloat16, metres."""
    with full_precision():
        return plane @ matrix.to(plane.device)


IDENTITY_TRANSFORM = SimilarityTransform()


@dataclass(frozen=True)
class TransformedSimulator:
    """A radio map or simulator that is queried at positions of the transformed deployment.

    Positions outside the original tile are queried at its edge.
    """

    source: Paths
    similarity: SimilarityTransform
    size: float
    """m, side of the tile"""

    def path_gain(self, position: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n cell"]:
        """See `PathGain.path_gain`."""
        return self.source.path_gain(self._untransformed(position))

    def paths(self, position: Float[Tensor, "*n dim"]) -> LinkTruth:
        """See `Paths.paths`."""
        return self.similarity.truth(self.source.paths(self._untransformed(position)))

    def _untransformed(self, position: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n dim"]:
        edge = self.size / 2 - EDGE_MARGIN
        original = self.similarity.inverse_position(position)
        return torch.cat([original[..., :2].clamp(-edge, edge), original[..., 2:]], -1)
