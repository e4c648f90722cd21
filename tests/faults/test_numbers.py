"""Every number that a user can fill, by values that no quantity has: refused, with the field's name and its range."""

import math
from dataclasses import replace
from typing import Any, get_type_hints

import pytest
import torch

from tests.helpers.free_space import masts, radio_map, silent
from tests.helpers.number_fields import filled_classes, filled_instance
from tests.helpers.toy_city import SITES, SIZE
from uel import cli
from uel.core.grid import Grid
from uel.core.outside.number_ranges import number_fields
from uel.errors import UelError
from uel.estimation.grid_posterior import grid_posterior
from uel.geo.tile import Tile
from uel.geo.tile_maps import MATERIAL_CLASSES, TileMaps
from uel.inference.answers import AnswerFormat
from uel.inference.report_source import sequence_part
from uel.measurement.model import ObservationModel
from uel.measurement.report_io import ReportSequence
from uel.models.config import LocatorConfig
from uel.models.locator import Locator
from uel.radio import radio_map_io
from uel.radio.config import Carrier
from uel.radio.sites import Array, sites_from_json, sites_to_json

IMPOSSIBLE: dict[str, tuple[float, int]] = {  # as a float, and as an integer
    "NaN": (math.nan, 10**400),
    "infinite": (math.inf, 10**18),
    "minus infinite": (-math.inf, -(10**18)),
    "huge": (1e308, 2**63),
    "minus huge": (-1e308, -(2**63)),
}
# Levels, offsets, angles, coordinates, and what stands for a value that no file has.
NEGATIVE = {
    "bias_db", "angle_deg", "sensitivity_dbm", "coverage_dbm", "mean", "threshold_dbm", "offset_db", "azimuth_deg",
    "tilt_deg", "power_dbm", "position", "noise_figure_db", "unknown", "origin", "electrical_tilt_deg", "center",
    "min_level_dbm", "intercept", "slope", "horizontal_strength", "vertical_strength", "declination_deg",
}  # fmt: skip
UNBOUNDED = {"entropy"}  # of a fix, above which it is refined: infinite is never


def with_value(filled: Any, field: str, values: tuple[float, int]) -> Any:
    """A dataclass with another value in a field of its shape: first of a tuple, of every name of a mapping."""
    before, kind = getattr(filled, field), str(get_type_hints(type(filled))[field])
    value = values[0] if "float" in kind else values[1]
    before = (value, value) if before is None and "tuple" in kind else before
    return replace(filled, **{field: _shaped(before, value)})


def _shaped(before: Any, value: float | int) -> Any:
    if isinstance(before, tuple):
        return (value, *before[1:])
    return dict.fromkeys(before, value) if isinstance(before, dict) else value


@pytest.mark.parametrize("values", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
@pytest.mark.parametrize("name", filled_classes())
def test_a_number_that_cannot_be_is_refused(name: str, values: tuple[float, int]) -> None:
    """In each field that holds a number, in turn."""
    filled = filled_instance(name)
    for field, _ in number_fields(type(filled)):
        if field in UNBOUNDED and values[0] > 0:
            continue
        with pytest.raises(UelError) as error:
            with_value(filled, field, values)
        assert "do:" in str(error.value)
        assert field in str(error.value) or field.replace("_", "-") in str(error.value)


@pytest.mark.parametrize("name", filled_classes())
def test_a_number_below_zero_is_refused_where_there_is_none(name: str) -> None:
    filled = filled_instance(name)
    for field, _ in number_fields(type(filled)):
        for value in (0, -1):
            try:
                with_value(filled, field, (float(value), value))
            except UelError:
                continue
            assert value == 0 or field in NEGATIVE


ROWS = [
    ("bandwidth of 0", lambda: Carrier(bandwidth=0.0)),
    ("bandwidth of -1", lambda: Carrier(bandwidth=-1.0)),
    ("bandwidth of 1 kHz", lambda: Carrier(bandwidth=1e3)),
    ("bandwidth NaN", lambda: Carrier(bandwidth=math.nan)),
    ("bandwidth infinite", lambda: Carrier(bandwidth=math.inf)),
    ("a million rows", lambda: Array(rows=10**6)),
    ("no row", lambda: Array(rows=0)),
    ("spacing of 0", lambda: Array(spacing=0.0)),
    ("a grid of 10^12 pixels", lambda: Grid(size=1e6, pixel=1.0)),
]


@pytest.mark.parametrize("make", [row[1] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_network_that_cannot_be_is_refused(make: Any) -> None:
    with pytest.raises(UelError, match="do:"):
        make()


SITE_CHANGES: dict[str, tuple[str, Any]] = {
    "power as text": ("power_dbm", "abc"),
    "power of 1e308": ("power_dbm", 1e308),
    "power missing": ("power_dbm", None),
    "tilt NaN": ("tilt_deg", math.nan),
    "azimuth in a list": ("azimuth_deg", [0]),
    "array of text": ("array", "iso"),
    "carrier of a number": ("carrier", 3.5e9),
    "an unknown field": ("height", 3.0),
}


@pytest.mark.parametrize("name", SITE_CHANGES)
def test_a_list_of_sites_that_cannot_be_is_refused(name: str) -> None:
    field, value = SITE_CHANGES[name]
    listed = sites_to_json(SITES)
    listed[0]["cells"][0][field] = value
    with pytest.raises(UelError, match="do:"):
        sites_from_json(listed)


@pytest.mark.parametrize(
    "line",
    [
        "place tile --seed -1", "place tile --seed 1e400", "place tile --power-dbm nan", "place tile --power-dbm 1e308",
        "place tile --tilt-deg inf", "place tile --spacing nan", "place tile --carrier.bandwidth 0",
        "place tile --carrier.bandwidth nan", "place tile --array-rows 1000000", "place tile --sectors 1000",
        "place tile --count 0", "demo --size inf", "demo --size nan", f"demo --seed {10**400}", "demo --seed -1",
        "build munich --size 0", "build munich --pixel -1", "build munich --margin nan", "map tile --pixel 0",
        "map tile --load 2", "map tile --tracing.map-rays 0", "survey tile --tracks -5", "train --seed -1",
        "eval run --sigmas nan", "calibrate --seed 99999999999999", "locate run log.csv --speed nan",
    ],
)  # fmt: skip
def test_an_option_that_cannot_be_is_refused(line: str, tmp_path: Any, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(line.split()) == 2
    said = capsys.readouterr().err
    option = next(word for word in line.split() if word.startswith("--")).removeprefix("--").rpartition(".")[2]
    assert option in said or option.replace("-", "_") in said
    assert list(tmp_path.iterdir()) == []


# ---- answers --------------------------------------------------------------------------------------------


@pytest.fixture
def maps() -> TileMaps:
    radio = radio_map(masts((-90.0, -70.0), (85.0, -95.0)))
    return TileMaps(radio, torch.zeros(2 + len(MATERIAL_CLASSES), *radio.grid.shape), torch.ones(radio.grid.shape))


def small_locator() -> Locator:
    return Locator(LocatorConfig(patches=16, width=16, pixel_width=8, depth=1, radio_depth=1), ObservationModel())


def test_no_reports_are_an_empty_fix(maps: TileMaps) -> None:
    fix = small_locator()(silent(0, 2), maps)
    assert fix.position.shape == (0, 2)
    assert fix.covariance.shape == (0, 2, 2)


def test_a_prior_of_nothing_is_refused(maps: TileMaps) -> None:
    with pytest.raises(UelError, match="no pixel is possible"):
        grid_posterior(silent(1, 2), maps.radio, 0 * maps.prior, ObservationModel(), maps.power_dbm)


def test_a_tile_without_a_place_outdoors_is_refused(tmp_path: Any) -> None:
    import numpy as np

    from scenes.tiles.writer import write_tile

    full = np.ones((int(SIZE / 2),) * 2, np.float32)
    rasters = {"ground": 0 * full, "height": 15 * full, "footprint": full, "material": 0 * full}
    meta = {"name": "full", "size": SIZE, "pixel": 2.0, "materials": ["concrete"]}
    tile = write_tile(tmp_path / "tile", [], {}, rasters, meta)
    with pytest.raises(UelError, match="no place outdoors"):
        TileMaps.from_tile(Tile.open(tile.folder), radio_map(SITES))


@pytest.mark.parametrize("value", [math.inf, math.nan, -1.0, 1e30])
def test_an_infinite_gain_is_refused(value: float, tmp_path: Any) -> None:
    radio = radio_map(SITES)
    gain = radio.gain.clone()
    gain[0, 0, 0] = value
    radio_map_io.save(replace(radio, gain=gain), tmp_path)
    with pytest.raises(UelError, match="this radio map is damaged"):
        radio_map_io.load(tmp_path)


def test_an_answer_that_is_no_number_is_refused(maps: TileMaps) -> None:
    """JSON has no NaN: weights that became NaN are told, not printed."""
    locator = small_locator()
    with torch.no_grad():
        locator.fine.weight.fill_(math.nan)
    fix = locator(silent(1, 2), maps)
    with pytest.raises(UelError, match=r"no answer to these reports[\s\S]*uel verify"):
        list(AnswerFormat("toy", "n", None).answers(fix, sequence_part(ReportSequence(torch.zeros(1), silent(1, 2)))))
