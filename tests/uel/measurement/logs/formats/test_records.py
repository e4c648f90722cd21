"""Records of JSON: values with their units, places in GeoJSON's order."""

import pytest

from uel.measurement.logs.config import ColumnConfig
from uel.measurement.logs.formats.records import RecordReader

CELL = {"pci": 101, "earfcn": 1300}


def measured(record: dict) -> dict[str, str]:
    (measurement,) = RecordReader(ColumnConfig(), "log.json", 3).measurements(record)
    return measurement


@pytest.mark.parametrize("level", [-80, {"value": -80, "unit": "dBm"}, {"val": -80}])
def test_a_value_may_stand_beside_its_unit(level: object) -> None:
    assert measured({"cells": [{**CELL, "rsrp": level}]})["rsrp"] == "-80"
    assert measured({"cells": [{**CELL, "signal": {"rsrp": level}}]})["rsrp"] == "-80"


def test_coordinates_are_longitude_and_latitude() -> None:
    place = {"type": "Point", "coordinates": [9.0, 48.0]}
    for record in ({"location": place, **CELL, "rsrp": -80}, {"coordinates": [9.0, 48.0], **CELL, "rsrp": -80}):
        found = measured(record)
        assert (found["longitude"], found["latitude"]) == ("9.0", "48.0")
