"""Masts, cells and carriers: round trips and refusals."""

import json
from dataclasses import replace

import pytest
import torch

from tests.helpers.free_space import CORNERS, masts
from uel.errors import UelError
from uel.radio.config import Carrier
from uel.radio.sites import (
    Array,
    Cell,
    Site,
    cell_positions,
    cells_of,
    network_to_json,
    reference_power_dbm,
    require_sites,
    sites_from_json,
    sites_to_json,
    with_azimuth_offsets,
)

SECTORS = tuple(
    Cell(azimuth_deg=a, tilt_deg=6.0, power_dbm=43.0, array=Array(rows=4, columns=2, pattern="tr38901"))
    for a in (0.0, 120.0, 240.0)
)
TWO = (Site(position=(1.0, -2.0, 30.0), cells=SECTORS), Site(position=(50.0, 60.0, 25.0), cells=SECTORS[:1]))


def test_json_round_trip_through_text() -> None:
    assert sites_from_json(json.loads(json.dumps(sites_to_json(TWO)))) == TWO


def test_cells_are_in_the_order_of_sites_then_sectors() -> None:
    assert [cell.azimuth_deg for _, cell in cells_of(TWO)] == [0.0, 120.0, 240.0, 0.0]
    assert cell_positions(TWO)[:, 0].tolist() == [1.0, 1.0, 1.0, 50.0]


def test_require_sites_gives_the_one_carrier() -> None:
    assert require_sites(TWO) == Carrier()


def test_no_site_is_refused() -> None:
    with pytest.raises(UelError, match="there are no sites"):
        require_sites(())


def test_a_site_without_cells_is_refused() -> None:
    with pytest.raises(UelError, match="has no cells"):
        Site(position=(0.0, 0.0, 20.0), cells=())


@pytest.mark.parametrize("odd", [{"carrier": Carrier(frequency=28e9)}, {"array": Array(polarization="H")}])
def test_mixed_carriers_or_polarizations_are_refused(odd: dict[str, object]) -> None:
    mixed = (*masts(CORNERS[0]), Site(position=(0.0, 0.0, 20.0), cells=(replace(Cell(), **odd),)))
    with pytest.raises(UelError, match="one carrier and one polarization"):
        require_sites(mixed)


@pytest.mark.parametrize("wrong", [{"subcarrier_spacing": 20e3}, {"frequency": 3.5}, {"frequency": 3.5e13}])
def test_impossible_carriers_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UelError, match=r"got:[\s\S]*Hz[\s\S]*do:"):
        Carrier(**wrong)


def test_an_array_needs_elements() -> None:
    with pytest.raises(UelError, match="is out of range"):
        Array(rows=0)


@pytest.mark.parametrize("missing", ["position", "cells"])
def test_json_with_a_missing_field_is_refused(missing: str) -> None:
    data = sites_to_json(TWO)
    del data[0][missing]
    with pytest.raises(UelError, match="not a readable list of sites"):
        sites_from_json(data)


def test_json_with_an_unknown_field_is_refused() -> None:
    data = sites_to_json(TWO)
    data[0]["cells"][0]["colour"] = "red"
    with pytest.raises(UelError, match="colour"):
        sites_from_json(data)


def test_reference_power_is_the_power_over_the_resource_elements() -> None:
    assert Carrier().resource_elements == 3276
    want = torch.tensor([43.0] * 4) - 10 * torch.log10(torch.tensor(3276.0))
    torch.testing.assert_close(reference_power_dbm(TWO), want)


def test_identities_stay_with_the_cells() -> None:
    carrier = Carrier.from_channel_number(1300, "lte", bandwidth=10e6)
    cell = Cell(cell_id="262-01-26885121", pci=101, name="A1", carrier=carrier)
    sites = (Site(position=(0.0, 0.0, 20.0), cells=(cell, replace(cell, cell_id="262-01-26885122", pci=None))),)
    assert sites_from_json(json.loads(json.dumps(network_to_json(sites)))) == sites
    assert with_azimuth_offsets(sites, [5.0, 0.0])[0].cells[0].cell_id == "262-01-26885121"
    assert cell.identity == {
        "cell_id": "262-01-26885121", "pci": 101, "channel_number": 1300, "technology": "lte",
        "frequency_mhz": 1815.0, "name": "A1",
    }  # fmt: skip


def test_sites_without_identities_are_written_as_before() -> None:
    """Keys of caches, surveys and atlases are made of this text."""
    assert sites_to_json((Site(position=(1.0, 2.0, 3.0)),)) == [
        {
            "position": [1.0, 2.0, 3.0],
            "cells": [
                {
                    "azimuth_deg": 0.0,
                    "tilt_deg": 0.0,
                    "power_dbm": 46.0,
                    "array": {"rows": 1, "columns": 1, "spacing": 0.5, "pattern": "iso", "polarization": "V"},
                    "carrier": {"frequency": 3.5e9, "bandwidth": 100e6, "subcarrier_spacing": 30e3},
                }
            ],
        }
    ]


def test_old_and_new_files_of_sites_open() -> None:
    assert sites_from_json(sites_to_json(TWO)) == sites_from_json(network_to_json(TWO)) == TWO
    with pytest.raises(UelError, match=r"unknown format[\s\S]*format 3"):
        sites_from_json({"format": 3, "sites": []})
