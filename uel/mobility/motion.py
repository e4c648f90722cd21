"""How phones move over a raster: on foot wherever it is free, by car along its roads. Directions are unit vectors."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from uel.core.grid import Grid

HEADING_DRIFT = math.radians(20.0)  # of a pedestrian's heading, per square root of a second
LOOK_AHEAD_PIXELS = 12  # pixels, or less for slow cars: how far a driver sees the road
TURN_ANGLES_DEG = (
    0.0,
    15.0,
    -15.0,
    35.0,
    -35.0,
    60.0,
    -60.0,
    90.0,
    -90.0,
    180.0,
)  # degrees; among equals the first is taken


def unit_vector(angle: Float[Tensor, "*n"]) -> Float[Tensor, "*n 2"]:
    """The direction of an angle in radians."""
    return torch.stack([angle.cos(), angle.sin()], -1)


def walk(
    grid: Grid,
    free: Bool[Tensor, "row column"],
    start: Float[Tensor, "track 2"],
    heading: Float[Tensor, "track 2"],
    stride: Float[Tensor, " track"],
    wander: Float[Tensor, "track step"],
) -> Float[Tensor, "track place 2"]:
    """Places in metres after 0, 1, … strides of so many metres; `wander` turns the heading before each (radians).

    Who meets a wall turns round, and who cannot go back either stands for this stride.
    """
    here, places, points = start, [start], _points(stride, grid)
    grid, free = add_border(grid, free)
    for angle in wander.unbind(1):
        heading = rotate(heading, unit_vector(angle))
        blocked = free_points_ahead(grid, free, here, heading, stride / points, points) < points
        heading = torch.where(blocked.unsqueeze(-1), -heading, heading)
        stuck = free_points_ahead(grid, free, here, heading, stride / points, points) < points
        here = here + heading * torch.where(stuck, 0.0, stride).unsqueeze(-1)
        places.append(here)
    return torch.stack(places, 1)


def drive(
    grid: Grid,
    road: Bool[Tensor, "row column"],
    start: Float[Tensor, "track 2"],
    heading: Float[Tensor, "track 2"],
    stride: Float[Tensor, " track"],
    steps: int,
) -> Float[Tensor, "track place 2"]:
    """Places in metres after 0, 1, … `steps` strides that stay on the road.

    Of the directions in front, the one in which the road goes on longest, straight on if it can; where the road ends
    the car turns round, and where there is no room even for that it stands.
    """
    here, places = start, [start]
    grid, road = add_border(grid, road)
    points = (stride / grid.pixel).ceil().clamp(min=1).long()  # each car's own: its strides end on one of them
    reach = max(LOOK_AHEAD_PIXELS, int(points.amax()) if len(points) else 0)
    turns = unit_vector(torch.deg2rad(torch.tensor(TURN_ANGLES_DEG)))
    taste = torch.arange(len(TURN_ANGLES_DEG)) * 1e-3
    for _ in range(steps):
        choices = rotate(heading.unsqueeze(1), turns)
        spacing = (stride / points).unsqueeze(1).expand(choices.shape[:2])
        run = free_points_ahead(grid, road, here.unsqueeze(1).expand_as(choices), choices, spacing, reach)
        score = torch.where(run >= points.unsqueeze(1), run - taste, -1.0)
        score[:, -1] = torch.where(score[:, -1] >= 0, 0.0, -1.0)
        best, choice = score.max(1)
        heading = choices[torch.arange(len(here)), choice]
        here = here + heading * torch.where(best >= 0, stride, 0.0).unsqueeze(-1)
        places.append(here)
    return torch.stack(places, 1)


def road_direction(
    grid: Grid, road: Bool[Tensor, "row column"], start: Float[Tensor, "track 2"], heading: Float[Tensor, "track 2"]
) -> Float[Tensor, "track 2"]:
    """Of sixteen directions around `heading`, the one in which the road goes on longest; among equals the first."""
    grid, road = add_border(grid, road)
    choices = rotate(heading.unsqueeze(1), unit_vector(torch.arange(16) * (math.pi / 8)))
    spacing = torch.full(choices.shape[:2], grid.pixel)
    run = free_points_ahead(grid, road, start.unsqueeze(1).expand_as(choices), choices, spacing, 2 * LOOK_AHEAD_PIXELS)
    return choices[torch.arange(len(start)), run.argmax(1)]


def add_border(grid: Grid, raster: Bool[Tensor, "row column"]) -> tuple[Grid, Bool[Tensor, "wider higher"]]:
    """A raster with a ring of pixels around it that nobody may enter: what lies beyond counts as the ring."""
    return Grid(size=grid.size + 2 * grid.pixel, pixel=grid.pixel), torch.nn.functional.pad(raster, (1, 1, 1, 1))


def free_points_ahead(
    grid: Grid,
    raster: Bool[Tensor, "row column"],
    here: Float[Tensor, "*n 2"],
    heading: Float[Tensor, "*n 2"],
    spacing: Float[Tensor, "*n"],
    points: int,
) -> Int[Tensor, "*n"]:
    """How many of so many points ahead, `spacing` metres apart, lie on a fenced raster before the first does not."""
    far = spacing.unsqueeze(-1) * (torch.arange(points) + 1)
    spot = here.unsqueeze(-2) + heading.unsqueeze(-2) * far.unsqueeze(-1)
    row, column = grid.pixel_of(spot)
    return raster[row, column].to(torch.uint8).cumprod(-1).sum(-1)


def rotate(direction: Float[Tensor, "*#n 2"], by: Float[Tensor, "*#n 2"]) -> Float[Tensor, "*n 2"]:
    """A direction turned by another's angle."""
    (x, y), (c, s) = direction.unbind(-1), by.unbind(-1)
    return torch.stack([x * c - y * s, x * s + y * c], -1)


def _points(stride: Float[Tensor, " track"], grid: Grid) -> int:
    """So many on the longest stride that none is farther than a pixel from the next."""
    return max(1, math.ceil(float(stride.amax()) / grid.pixel)) if len(stride) else 1
