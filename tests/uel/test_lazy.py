"""Public names that are imported on first use, and those of the release before."""

import pytest

from uel._lazy import DeprecatedNameWarning, lazy_names
from uel.core.grid import Grid


def test_a_renamed_public_name_warns_with_the_new_one():
    get, names = lazy_names("example", {"Grid": "uel.core.grid"}, renamed={"Raster": "Grid"})
    with pytest.warns(DeprecatedNameWarning, match="example.Raster is now example.Grid"):
        assert get("Raster") is Grid
    assert names() == ["Grid"]


def test_a_name_of_today_does_not_warn():
    get, _ = lazy_names("example", {"Grid": "uel.core.grid"}, renamed={"Raster": "Grid"})
    assert get("Grid") is Grid
    with pytest.raises(AttributeError, match="no attribute 'Pixel'"):
        get("Pixel")
