"""The map and the trace side by side: their difference, and why."""

import math
from types import SimpleNamespace

import pytest
import torch

from explorer.map_view import ray_marks
from explorer.map_view.ray_marks import MapPixel, difference_reason
from tests.helpers.free_space import CORNERS, masts, radio_map
from uel.geo.tile_maps import MATERIAL_CLASSES, TileMaps

PIXEL = MapPixel(error_db=0.5, spread_db=9.0, side=4.0)


@pytest.mark.parametrize(
    ("in_map", "traced", "is_sight_equal", "pixel", "words"),
    [
        (None, None, True, PIXEL, "neither"),
        (None, -90.0, True, PIXEL, "no ray of the map"),
        (-90.0, None, True, PIXEL, "found no path"),
        (-90.0, -90.8, False, PIXEL, "within the map's Monte-Carlo error"),
        (-90.0, -120.0, True, MapPixel(math.inf, 9.0, 4.0), "few rays"),
        (-90.0, -80.0, False, PIXEL, "line of sight changes within 4 m"),
        (-90.0, -84.0, True, PIXEL, "mean over 4 m, levels nearby span 9 dB"),
        (-90.0, -115.0, True, PIXEL, "the search missed"),
        (-90.0, -70.0, True, PIXEL, "the map's rays missed"),
    ],
)
def test_a_difference_has_a_reason(
    in_map: float | None, traced: float | None, is_sight_equal: bool, pixel: MapPixel, words: str
) -> None:
    assert words in difference_reason(in_map, traced, is_sight_equal, pixel)


def test_map_and_trace_stand_side_by_side_with_their_difference() -> None:
    radio = radio_map(masts(*CORNERS[:3]))
    maps = TileMaps(radio, torch.zeros(2 + len(MATERIAL_CLASSES), *radio.grid.shape), torch.ones(radio.grid.shape))
    place = [4.0, 4.0]
    truth = radio.pixel_truth(torch.tensor([place]))
    gain = 10 ** (truth.gain_db / 10)
    gain[0, 1] *= 10**0.7  # 7 dB more than the map has
    gain[0, 2] = 0.0
    paths = SimpleNamespace(
        gain=lambda: gain, first_arrival=lambda: truth.delay, has_direct_path=lambda: truth.los,
        count=lambda: torch.tensor([[1, 2, 0]]),
    )  # fmt: skip
    rows = ray_marks.cell_rows(maps, place, SimpleNamespace(paths=paths))
    assert [row["difference dB"] for row in rows] == [0.0, pytest.approx(7.0, abs=0.11), None]
    assert rows[1]["traced dBm"] - rows[1]["map dBm"] == pytest.approx(7.0, abs=0.11)
    assert rows[0]["likely reason"].startswith("within")
    assert rows[2]["traced dBm"] is None
    assert set(ray_marks.LEVEL_COLUMNS) | set(ray_marks.PATH_COLUMNS) == set(rows[0])
