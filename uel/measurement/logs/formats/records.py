"""Records of JSON: one report each, with its cells nested in it, or flat as the row of a table."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from uel.core.outside.json_text import parse_json
from uel.errors import UelError, brief
from uel.measurement.logs.config import ColumnConfig
from uel.measurement.logs.formats.cell_info_texts import CELL_INFO_PATTERN, cells_of_text
from uel.measurement.logs.formats.column_names import CELL_QUANTITIES, REPORT_QUANTITIES, TECHNOLOGY_WORDS, meaning_of
from uel.measurement.logs.formats.layout import IDENTITY_QUANTITIES, Layout, layout_of

Measurement = dict[str, str]
"""one level of one cell: texts by quantity"""
SHARED_QUANTITIES = ("technology", "mcc", "mnc")  # of all cells of a report, where it says them once
OTHER_RADIO_NAMES = {"macaddress", "bssid", "ssid", "mac"}  # of records of Wi-Fi and Bluetooth
VALUE_NAMES = ("value", "val")
MAX_NESTING = 12


class RecordReader:
    """Turns records into measurements, and remembers the names that it did not know."""

    def __init__(self, columns: ColumnConfig, file: str, cell_count: int) -> None:
        self.unknown: set[str] = set()
        self._columns, self._file, self._cell_count = columns, file, cell_count
        self._layouts: dict[tuple[str, ...], Layout] = {}
        self._named = {name: quantity for quantity, name in columns.named.items()}

    def measurements(self, record: Any) -> list[Measurement]:
        """The measurements of one record; none where it has no level of a cell.

        Raises `ValueError` for a record that is no object, and for one that is nested too deeply.
        """
        if not isinstance(record, Mapping):
            raise ValueError(f"a record is {type(record).__name__}, no object")
        if _is_feature(record):
            record = _feature_record(record)
        cells: list[Mapping[str, Any]] = []
        scalars = dict(self._walk(record, "", cells, 0))
        if not cells:
            return self._flat(scalars)
        report = self._report(scalars)
        own = self._cell(scalars)  # the serving cell may stand beside a list of its neighbours
        nested = [self._cell(dict(self._walk(cell, "", [], 0))) | _technology_of(cell) for cell in cells]
        serving = own.pop("serving", None)
        shared = {name: own[name] for name in SHARED_QUANTITIES if name in own}
        listed = [shared | cell for cell in nested]
        if serving is not None and "rsrp" not in own:
            listed = [cell | {"serving": str(cell.get("cell") == serving).lower()} for cell in listed]
        if "rsrp" in own:
            listed = [own | {"serving": "true"}, *listed]
        moment = next((cell["time"] for cell in listed if "time" in cell), None)
        report = ({"time": moment} if moment else {}) | report
        of_serving = {name: own[name] for name in ("timing_advance", "azimuth_deg") if name in own}
        return [{k: v for k, v in cell.items() if k not in REPORT_QUANTITIES} | report | of_serving for cell in listed]

    def _walk(
        self, value: Mapping[str, Any], path: str, cells: list[Mapping[str, Any]], depth: int
    ) -> Iterator[tuple[str, Any]]:
        """Plain values by their dotted names; objects and lists of objects that hold levels are put into `cells`."""
        if depth > MAX_NESTING:
            raise ValueError(f"nested more than {MAX_NESTING} times")
        for name, item in value.items():
            full = f"{path}{name}"
            if isinstance(item, Mapping):
                if self._has_identified_level(item):
                    cells.append({"technology": _technology_in(name), **item})
                else:
                    yield from self._walk(item, f"{full}.", cells, depth + 1)
            elif isinstance(item, list):
                yield from self._listed(name, full, item, cells)
            elif isinstance(item, str) and CELL_INFO_PATTERN.search(item):
                cells += cells_of_text(item)
            elif item is not None:
                yield full, item

    def _listed(self, name: str, full: str, items: list, cells: list[Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
        objects: list[Mapping[str, Any]] = [item for item in items if isinstance(item, Mapping)]
        objects += [cell for item in items if isinstance(item, str) for cell in cells_of_text(item)]
        with_levels = [{"technology": _technology_in(name), **item} for item in objects if self._has_level(item)]
        cells += with_levels
        if name == "position" and len(items) in (2, 3) and not objects:
            yield from zip(("x", "y"), items, strict=False)
        elif name == "coordinates" and len(items) in (2, 3) and not objects:
            yield from zip(("longitude", "latitude"), items, strict=False)  # as GeoJSON orders them
        elif not with_levels:
            self.unknown.add(full)

    def _has_level(self, item: Mapping[str, Any]) -> bool:
        names = {name.lower() for name in item}
        if names & OTHER_RADIO_NAMES:
            return False
        return any(
            (isinstance(value, Mapping) and self._has_level(value)) or self._quantity(name) == "rsrp"
            for name, value in item.items()
        )

    def _has_identified_level(self, item: Mapping[str, Any]) -> bool:
        """Whether an object is a cell by itself: its level and its identity are in it."""
        if not self._has_level(item):
            return False
        quantities = {self._quantity(name) for name, _ in self._walk(item, "", [], 0)}
        return "rsrp" in quantities and bool(quantities & set(IDENTITY_QUANTITIES))

    def _quantity(self, path: str) -> str | None:
        above, _, name = path.rpartition(".")
        if name.lower() in VALUE_NAMES and above:  # {"rsrp": {"value": -80, "unit": "dBm"}}
            name = above.rpartition(".")[2]
        if quantity := self._named.get(path) or self._named.get(name):
            return quantity
        meaning = meaning_of(name)
        is_replaced = meaning is not None and meaning.quantity in self._columns.named
        return None if meaning is None or is_replaced else meaning.quantity

    def _report(self, scalars: Mapping[str, Any]) -> Measurement:
        report = {q: _text(v) for path, v in scalars.items() if (q := self._quantity(path)) in REPORT_QUANTITIES}
        group = [_text(scalars.get(name, "")) for name in self._columns.group]
        return report | ({"group": "\x1f".join(group)} if group else {})

    def _cell(self, scalars: Mapping[str, Any]) -> Measurement:
        cell = Measurement()
        for path, value in scalars.items():
            quantity = "azimuth_deg" if path == "azimuth_deg" else self._quantity(path)
            if quantity in CELL_QUANTITIES or quantity in ("azimuth_deg", "time"):
                cell.setdefault(quantity, _text(value))
            elif quantity not in REPORT_QUANTITIES:
                self.unknown.add(path)
        return cell

    def _flat(self, scalars: Mapping[str, Any]) -> list[Measurement]:
        """A record without nested cells is the row of a table whose columns are its names."""
        names = tuple(scalars)
        if names not in self._layouts:
            short = [name.rpartition(".")[2] for name in names]
            self._layouts[names] = layout_of(short, self._columns, self._file, self._cell_count)
            self.unknown.update(self._layouts[names].unknown)
        layout, values = self._layouts[names], list(scalars.values())
        report = {quantity: _text(values[number]) for quantity, number in layout.report.items()}
        report |= {"group": "\x1f".join(_text(values[n]) for n in layout.group)} if layout.group else {}
        return [
            report
            | {quantity: _text(values[number]) for quantity, number in cell.columns.items()}
            | cell.fixed
            | ({"technology": cell.technology} if cell.technology else {})
            for cell in layout.cells
        ]


def parse_records(texts: Iterable[str | None]) -> Iterator[Any]:
    """Parsed records; the fault of one that is no JSON is yielded in its place as a `ValueError`."""
    for text in texts:
        try:
            yield ValueError("no JSON") if text is None else parse_json(text, "a record", is_finite=False)
        except UelError as error:
            yield ValueError(f"no JSON: {brief(error)}")


def find_record_list(document: Mapping[str, Any], file: str) -> Sequence[str]:
    """Path of names to the list of records of a document that is one object; empty where the object is a record."""
    lists = [(name,) for name, value in document.items() if _is_record_list(value)]
    for name, value in document.items():
        if isinstance(value, Mapping):
            lists += [(name, inner) for inner, items in value.items() if _is_record_list(items)]
    records = [path for path in lists if path[-1].lower() not in ("cells", "celltowers", "neighbors", "neighbours")]
    if len(records) > 1:
        got = ", ".join(".".join(path) for path in records)
        raise UelError(f"{file} has several lists of records", got=got, do="give one list of reports")
    return records[0] if records else ()


def _is_record_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value[:3])


def _is_feature(record: Mapping[str, Any]) -> bool:
    return record.get("type") == "Feature" and isinstance(record.get("properties"), Mapping)


def _feature_record(feature: Mapping[str, Any]) -> dict[str, Any]:
    """The properties of a GeoJSON feature, with the degrees of its point."""
    geometry = feature.get("geometry") or {}
    coordinates = geometry.get("coordinates") if isinstance(geometry, Mapping) else None
    is_point = isinstance(geometry, Mapping) and geometry.get("type") == "Point" and isinstance(coordinates, list)
    place: list[Any] = coordinates if is_point and isinstance(coordinates, list) else []
    return {**feature["properties"], **dict(zip(("longitude", "latitude"), place, strict=False))}


def _technology_in(name: str) -> str | None:
    """The technology that a name such as `CellInfoLte` tells."""
    lower = name.lower()
    return next((value for word, value in TECHNOLOGY_WORDS.items() if len(word) > 2 and word in lower), None) or (
        "nr" if lower.endswith("nr") or "5g" in lower else None
    )


def _technology_of(cell: Mapping[str, Any]) -> Measurement:
    """The technology of the list or the object that a cell was found in, unless it tells its own."""
    return {"technology": cell["technology"]} if cell.get("technology") else {}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value.strip() if isinstance(value, str) else str(value)
