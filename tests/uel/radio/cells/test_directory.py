"""Observed identities find their cells, or none: never two of them."""

import pytest

from uel.errors import UelError
from uel.radio.cells.directory import CellDirectory
from uel.radio.cells.identity import ObservedCell
from uel.radio.config import Carrier
from uel.radio.sites import Cell, Site

HIGH, LOW = Carrier.from_channel_number(1300, "lte"), Carrier.from_channel_number(6200, "lte")
NR = Carrier.from_channel_number(632628, "nr")
WEST = Site(
    position=(-100.0, 0.0, 25.0),
    cells=(
        Cell(pci=101, carrier=HIGH, cell_id="26885121"),
        Cell(pci=101, carrier=LOW, cell_id="26885122"),
        Cell(pci=600, carrier=NR),
    ),
)
EAST = Site(
    position=(100.0, 0.0, 25.0),
    cells=(Cell(pci=102, carrier=HIGH), Cell(pci=7, carrier=HIGH), Cell(pci=7, carrier=LOW)),
)
FAR = Site(position=(100.0, 300.0, 25.0), cells=(Cell(pci=102, carrier=HIGH),))
DIRECTORY = CellDirectory((WEST, EAST, FAR))


def find(near=None, **values):
    match = DIRECTORY.find(ObservedCell.parse(**values), near)
    return match.cell, match.rule


@pytest.mark.parametrize(
    ("values", "answer"),
    [
        ({"cell_id": 26885121}, (0, "cell_id")),
        ({"cell_id": "262-01-26885122"}, (1, "cell_id")),
        ({"cell_id": "105020-1"}, (0, "cell_id")),  # the eNodeB, and the number of its cell
        ({"cell_id": "105020_3", "pci": 101, "channel_number": 1300}, (None, "unknown cell")),
        ({"cell_id": 26885122, "pci": 55}, (1, "cell_id")),  # the id decides: a PCI is planned anew more often
        ({"pci": 101, "channel_number": 1300}, (0, "carrier and PCI")),
        ({"pci": 101, "channel_number": 6200}, (1, "carrier and PCI")),
        ({"pci": 101}, (None, "ambiguous cell")),
        ({"pci": 102, "channel_number": 1300}, (None, "ambiguous cell")),
        ({"pci": 600}, (2, "PCI")),
        ({"pci": 600, "channel_number": 632628, "technology": "nr"}, (2, "carrier and PCI")),
        ({"pci": 600, "channel_number": 631000, "technology": "nr"}, (2, "carrier and PCI")),  # the SSB's number
        ({"pci": 600, "channel_number": 640000, "technology": "nr"}, (None, "other carrier")),
        ({"pci": 101, "channel_number": 100}, (None, "other carrier")),
        ({"pci": 101, "channel_number": 632628, "technology": "nr"}, (None, "unknown cell")),
        ({"pci": 33, "channel_number": 1300}, (None, "unknown cell")),
        ({"cell_id": 999, "pci": 101, "channel_number": 1300}, (None, "unknown cell")),  # another cell_id: another cell
        ({"cell_id": 999, "pci": 7, "channel_number": 1300}, (4, "carrier and PCI")),  # whose own id is not listed
        ({"cell_id": 2147483647, "pci": -1}, (None, "no identity")),
        ({}, (None, "no identity")),
    ],
)
def test_an_identity_finds_its_cell_or_a_reason(values, answer) -> None:
    assert find(**values) == answer


def test_a_reused_pci_is_resolved_by_place() -> None:
    assert find(pci=102, channel_number=1300, near=(90.0, 20.0)) == (3, "nearest site")
    assert find(pci=102, channel_number=1300, near=(90.0, 280.0)) == (6, "nearest site")


@pytest.mark.parametrize("near", [(100.0, 150.0), (float("nan"), 0.0)])
def test_equally_near_cells_stay_ambiguous(near) -> None:
    assert find(pci=102, channel_number=1300, near=near) == (None, "ambiguous cell")
    assert find(pci=101, near=(-90.0, 0.0)) == (None, "ambiguous cell")  # two carriers of one mast


def test_a_frequency_counts_as_a_number_does() -> None:
    assert find(pci=101, frequency=796e6) == (1, "carrier and PCI")
    assert find(pci=101, channel_number=6200, technology="nb_iot")[1] == "unknown cell"


def test_earfcn_of_two_bands_are_one_carrier() -> None:
    carrier = Carrier.from_channel_number(2050, "lte")  # band 4; 66536 is the same frequency in band 66
    directory = CellDirectory((Site(position=(0.0, 0.0, 20.0), cells=(Cell(pci=9, carrier=carrier),)),))
    assert directory.find(ObservedCell.parse(pci=9, channel_number=66536, technology="lte")).cell == 0


def test_two_cells_of_one_id_are_refused() -> None:
    cells = (Cell(cell_id="5"), Cell(cell_id="5"))
    with pytest.raises(UelError, match=r"two cells of the network have one cell_id[\s\S]*5: cells 0, 1"):
        CellDirectory((Site(position=(0.0, 0.0, 20.0), cells=cells),))


def test_ids_of_two_networks_may_end_alike() -> None:
    cells = (Cell(cell_id="262-01-5"), Cell(cell_id="262-02-5"))
    directory = CellDirectory((Site(position=(0.0, 0.0, 20.0), cells=cells),))
    assert directory.find(ObservedCell.parse(cell_id="262-02-5")).cell == 1
    assert directory.find(ObservedCell.parse(cell_id=5)).rule == "ambiguous cell"
    assert directory.find(ObservedCell.parse(cell_id="310-410-5")).rule == "unknown cell"


def test_a_list_may_write_the_node_and_its_cell() -> None:
    cells = (Cell(cell_id="105020-1"), Cell(cell_id="105021-1"))
    directory = CellDirectory((Site(position=(0.0, 0.0, 20.0), cells=cells),))
    assert directory.find(ObservedCell.parse(cell_id=26885121)).cell == 0
    assert directory.find(ObservedCell.parse(cell_id="105021/1")).cell == 1
    assert directory.find(ObservedCell.parse(cell_id=1)).rule == "unknown cell"


def test_a_log_of_another_network_is_refused() -> None:
    strangers = [DIRECTORY.find(ObservedCell.parse(cell_id=n)) for n in (1, 2, 3)]
    with pytest.raises(UelError, match=r"no cell of the log belongs[\s\S]*7 cells such as cell_id 26885121, PCI 101"):
        DIRECTORY.require_some_known(strangers)
    DIRECTORY.require_some_known([*strangers, DIRECTORY.find(ObservedCell.parse(cell_id=26885121))])
    DIRECTORY.require_some_known([])
