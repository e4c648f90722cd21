"""Identities of cells: one spelling, and what phones write for "unknown"."""

import pytest

from uel.errors import UelError
from uel.radio.cells.identity import ObservedCell, normal_cell_id, normal_number
from uel.radio.config import Carrier
from uel.radio.sites import Cell


@pytest.mark.parametrize(
    ("value", "spelling"),
    [
        (26885121, "26885121"), (26885121.0, "26885121"), ("26885121", "26885121"), (" 26885121.0 ", "26885121"),
        ("0x19A3C01", "26885121"), ("262-01-26885121", "262-01-26885121"), ("262 01 026885121", "262-01-26885121"),
        ("262:01:26885121", "262-01-26885121"), ("26201/26885121", "26201-26885121"), ("Mast_7", "MAST-7"),
        (None, None), ("", None), ("-", None), ("nan", None), (float("nan"), None), (2147483647, None), (-1, None),
        (268435455, None), (68719476735, None), (9223372036854775807, None), (0, None), ("N/A", None),
    ],
)  # fmt: skip
def test_one_identity_has_one_spelling(value, spelling) -> None:
    assert normal_cell_id(value) == spelling


@pytest.mark.parametrize("value", [-7, 3.5, True, [1]])
def test_what_is_no_identity_is_refused(value) -> None:
    with pytest.raises(UelError, match="a cell identity is"):
        normal_cell_id(value)


def test_numbers_of_unknown_cells_are_absent() -> None:
    assert [normal_number(v, "the PCI", 1007) for v in (2147483647, -1, "", None, "nan")] == [None] * 5
    assert [normal_number(v, "the PCI", 1007) for v in (0, "7", 7.0, "503.0")] == [0, 7, 7, 503]


@pytest.mark.parametrize("value", [1008, -3, 7.5, "seven", float("inf")])
def test_what_is_no_pci_is_refused(value) -> None:
    with pytest.raises(UelError, match="the PCI is no whole number from 0 to 1007"):
        normal_number(value, "the PCI", 1007)


def test_an_lte_cell_has_no_pci_of_600() -> None:
    with pytest.raises(UelError, match="0 to 503"):
        ObservedCell.parse(pci=600, channel_number=1300, technology="lte")
    with pytest.raises(UelError, match="not 0 to 503"):
        Cell(pci=600, carrier=Carrier.from_channel_number(1300, "lte"))
    assert Cell(pci=600).pci == 600


def test_a_large_channel_number_is_one_of_nr() -> None:
    assert ObservedCell.parse(pci=1, channel_number=632628).frequency == 3489.42e6
    assert ObservedCell.parse(pci=1, channel_number=1300).frequency == 1815e6


def test_a_cell_spells_its_number() -> None:
    assert Cell(cell_id=26885121).cell_id == "26885121"
    with pytest.raises(UelError, match="write '262-01-7'"):
        Cell(cell_id="262/01/7")
