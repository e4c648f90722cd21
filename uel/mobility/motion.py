"""Motion of phones on a raster: pedestrians on free pixels, cars along roads. Directions are unit vectors."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from uel.core.grid import Grid

HEADING_DRIFT = math.radians(
    20.0
)  # standard deviation of a pedestrian's heading after one second; grows with the square root of time
LOOK_AHEAD_PIXELS = 12  # how far a driver sees the road
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
)  # choices of a driver; among equals the first is taken


def unit_vector(angle: Float[Tensor, "*n"]) -> Float[Tensor, "*n 2"]:
    """Unit vector of an angle in radians."""
    return torch.stack([angle.cos(), angle.sin()], -1)


def walk(
    grid: Grid,
    free: Bool[Tensor, "row column"],
    start: Float[Tensor, "track 2"],
    heading: Float[Tensor, "track 2"],
    stride: Float[Tensor, " track"],
    wander: Float[Tensor, "track step"],
) -> Float[Tensor, "track position 2"]:
    """Pedestrians' positions in metres after 0, 1, … strides of `stride` metres; `wander` (radians) turns the heading
    before each.

    A pedestrian turns round at a wall, and stands for a stride when the way back is blocked, too.
    """
    position, positions, points = start, [start], _points_per_stride(stride, grid)
    grid, free = add_border(grid, free)
    for angle in wander.unbind(1):
        heading = rotate(heading, unit_vector(angle))
        blocked = free_points_ahead(grid, free, position, heading, stride / points, points) < points
        heading = torch.where(blocked.unsqueeze(-1), -heading, heading)
        stuck = free_points_ahead(grid, free, position, heading, stride / points, points) < points
        position = position + heading * torch.where(stuck, 0.0, stride).unsqueeze(-1)
        positions.append(position)
    return torch.stack(positions, 1)


def drive(
    grid: Grid,
    road: Bool[Tensor, "row column"],
    start: Float[Tensor, "track 2"],
    heading: Float[Tensor, "track 2"],
    stride: Float[Tensor, " track"],
    steps: int,
) -> Float[Tensor, "track position 2"]:
    """Cars' positions in metres after 0, 1, … `steps` strides on the road.

    A car takes the direction ahead in which the road is longest, straight on among equals. At the end of the road it
    turns round; without room to turn it stands.
    """
    position, positions = start, [start]
    grid, road = add_border(grid, road)
    points = (stride / grid.pixel).ceil().clamp(min=1).long()  # for each car, so that its strides end on a point
    sight_points = max(LOOK_AHEAD_PIXELS, int(points.amax()) if len(points) else 0)
    turns = unit_vector(torch.deg2rad(torch.tensor(TURN_ANGLES_DEG, device="cpu")))
    preference = torch.arange(len(TURN_ANGLES_DEG), device="cpu") * 1e-3
    for _ in range(steps):
        choices = rotate(heading.unsqueeze(1), turns)
        spacing = (stride / points).unsqueeze(1).expand(choices.shape[:2])
        run = free_points_ahead(grid, road, position.unsqueeze(1).expand_as(choices), choices, spacing, sight_points)
        score = torch.where(run >= points.unsqueeze(1), run - preference, -1.0)
        score[:, -1] = torch.where(score[:, -1] >= 0, 0.0, -1.0)
        best, choice = score.max(1)
        heading = choices[torch.arange(len(position), device=position.device), choice]
        position = position + heading * torch.where(best >= 0, stride, 0.0).unsqueeze(-1)
        positions.append(position)
    return torch.stack(positions, 1)


def road_direction(
    grid: Grid, road: Bool[Tensor, "row column"], start: Float[Tensor, "track 2"], heading: Float[Tensor, "track 2"]
) -> Float[Tensor, "track 2"]:
    """The direction, among sixteen around `heading`, in which the road is longest; among equals the first."""
    grid, road = add_border(grid, road)
    choices = rotate(heading.unsqueeze(1), unit_vector(torch.arange(16, device=heading.device) * (math.pi / 8)))
    spacing = torch.full(choices.shape[:2], grid.pixel, device=choices.device)
    run = free_points_ahead(grid, road, start.unsqueeze(1).expand_as(choices), choices, spacing, 2 * LOOK_AHEAD_PIXELS)
    return choices[torch.arange(len(start), device=start.device), run.argmax(1)]


def add_border(grid: Grid, raster: Bool[Tensor, "row column"]) -> tuple[Grid, Bool[Tensor, "wider higher"]]:
    """A raster with a border of blocked pixels, to which all positions beyond it belong."""
    return Grid(size=grid.size + 2 * grid.pixel, pixel=grid.pixel), torch.nn.functional.pad(raster, (1, 1, 1, 1))


def free_points_ahead(
    grid: Grid,
    raster: Bool[Tensor, "row column"],
    position: Float[Tensor, "*n 2"],
    heading: Float[Tensor, "*n 2"],
    spacing: Float[Tensor, "*n"],
    points: int,
) -> Int[Tensor, "*n"]:
    """Number of free pixels among `points` points ahead, `spacing` metres apart, before the first blocked one.

    The raster has a border (`add_border`).
    """
    distance = spacing.unsqueeze(-1) * (torch.arange(points, device=spacing.device) + 1)
    point = position.unsqueeze(-2) + heading.unsqueeze(-2) * distance.unsqueeze(-1)
    row, column = grid.pixel_of(point)
    return raster[row, column].to(torch.uint8).cumprod(-1).sum(-1)


def rotate(direction: Float[Tensor, "*#n 2"], by: Float[Tensor, "*#n 2"]) -> Float[Tensor, "*n 2"]:
    """A direction rotated by the angle of the direction `by`."""
    (x, y), (c, s) = direction.unbind(-1), by.unbind(-1)
    return torch.stack([x * c - y * s, x * s + y * c], -1)


def _points_per_stride(stride: Float[Tensor, " track"], grid: Grid) -> int:
    """Number of points on the longest stride that are at most a pixel apart."""
    return max(1, math.ceil(float(stride.amax()) / grid.pixel)) if len(stride) else 1
