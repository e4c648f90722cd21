"""Columns by their names: what apps, phones and test tools call them."""

import pytest

from uel.measurement.logs.formats.column_names import ColumnMeaning, meaning_of

MEANINGS = {
    "RSRP (dBm)": ColumnMeaning("rsrp"),
    "ssRsrp": ColumnMeaning("rsrp", technology="nr"),
    "NRxLev2": ColumnMeaning("rsrp", "neighbour", 2),
    "NCell2": ColumnMeaning("pci", "neighbour", 2),
    "NARFCN2": ColumnMeaning("arfcn", "neighbour", 2),
    "All-Physical Cell Identity[1]": ColumnMeaning("pci", index=1),
    "Neighbor Cell RSRP (dBm)[0]": ColumnMeaning("rsrp", "neighbour", 0),
    "5G KPI PCell RF Serving SS-RSRP [dBm]": ColumnMeaning("rsrp", "serving", technology="nr"),
    "5G KPI PCell RF NR-ARFCN": ColumnMeaning("arfcn", "serving", technology="nr"),
    "PCI (detected) #1": ColumnMeaning("pci", "neighbour", 1),
    "mPci": ColumnMeaning("pci"),
    "primaryScramblingCode": ColumnMeaning("pci"),
    "SS-RSRP index": ColumnMeaning("rsrp", technology="nr", is_level_index=True),
    "GPS Latitude": ColumnMeaning("latitude"),
    "lng": ColumnMeaning("longitude"),
    "Date & Time": ColumnMeaning("time"),
    "Easting": ColumnMeaning("x"),
}
UNKNOWN = [
    "battery",
    "bs_lat",
    "tower_lon",
    "RSRP Rx[0]",
    "RSRP offset",
    "altitude",
    "UL EARFCN",
    "",
    "2",
    "rsrp 1 of 4",
]


@pytest.mark.parametrize("name", MEANINGS)
def test_a_common_name_is_known(name: str) -> None:
    assert meaning_of(name) == MEANINGS[name]


@pytest.mark.parametrize("name", UNKNOWN)
def test_another_name_is_not_guessed(name: str) -> None:
    assert meaning_of(name) is None
