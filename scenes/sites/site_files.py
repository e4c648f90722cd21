"""Networks from lists of cells: CSV, JSON, GeoJSON, KML, with the columns of operators and of OpenCelliD.

A row is a cell or a site. Its position is `latitude` and `longitude` (degrees, WGS 84) or `x` and `y` (metres east and
north of the tile's centre). Its height is one of `height` (metres above the ground), `height_above_roof` (metres above
the roof or ground there) or `z` (elevation in the tile's datum). Further columns, one value for all sectors of a row or
a list such as `0;120;240`: `azimuth_deg`, `tilt_deg` (mechanical), `electrical_tilt_deg`, `power_dbm`, `eirp_dbm` or
`reference_power_dbm`, `pattern`, `antenna`, `cell_id` (with `mcc`, `mnc`), `pci`, `channel_number`, `frequency`,
`bandwidth`, `subcarrier_spacing`, `technology`, `cell_name`. Usual other names are known (`column_names.py`), a unit
may end a column's name (`height_ft`, `power [W]`). Rows of one position and height are one site.
"""

import logging
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch

from scenes.sites.cell_lists.cells import CellMaker, Fields, OtherTechnologyError, distinct, in_row
from scenes.sites.cell_lists.column_names import Column, columns_of
from scenes.sites.cell_lists.positions import FAR_ROWS, Place, TilePositions, is_far
from scenes.sites.cell_lists.quantities import Field, quantity, require_power_unit
from scenes.sites.cell_lists.tables import ListRow, read_rows
from uel.errors import UelError
from uel.geo.north import grid_azimuth_deg
from uel.geo.tile import Tile
from uel.radio.cells.directory import CellDirectory
from uel.radio.sites import Cell, Site, cells_of

HEIGHT_COLUMNS = ("height", "height_above_roof", "z")
MIN_SITE_DISTANCE = 0.1  # m: closer positions are one site
ROW_EXAMPLES = 3  # rows that a message names
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CellListOptions:
    """How a list of cells is read.

    Raises:
        UelError: for a declination that is not -180° to 180°, or one without magnetic azimuths.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    """own name of a column → its name in the file"""
    height: float | None = None
    """m above the ground of rows without a height; None: such rows are refused"""
    height_above_roof: float | None = None
    """m above the roof or ground of rows without a height"""
    north: Literal["true", "grid", "magnetic"] = "true"
    """what azimuths count from, in rows with degrees"""
    declination_deg: float = 0.0
    """of magnetic north, east of true north"""
    antennas: Path | None = None
    """folder of measured antenna patterns"""

    def __post_init__(self) -> None:
        if (self.north == "magnetic") != bool(self.declination_deg) or not abs(self.declination_deg) <= 180:
            raise UelError(
                "magnetic azimuths need the declination there, and a declination needs magnetic azimuths",
                got=f"north {self.north}, declination {self.declination_deg:g}°",
                do="give --north magnetic --declination-deg 3.5, or neither",
            )


@dataclass(frozen=True)
class CellList:
    """What a list of cells says about a tile."""

    sites: tuple[Site, ...]
    set_aside: list[tuple[int, str]]
    """row and rule of each row that is not used"""
    ignored_columns: list[str]
    turned_deg: float
    """greatest angle by which azimuths were turned from true to grid north, with its sign"""

    def summary(self) -> list[str]:
        """Sentences for a log: what was read, what not, and why."""
        cells = cells_of(self.sites)
        omnidirectional = sum(cell.array.pattern == "iso" for _, cell in cells)
        lines = [f"{len(self.sites)} sites with {len(cells)} cells"]
        if omnidirectional and omnidirectional < len(cells):
            lines.append(f"{omnidirectional} cells without an azimuth are omnidirectional (isotropic)")
        if self.turned_deg:
            lines.append(
                f"azimuths count from true north: turned by up to {self.turned_deg:+.3f}° to the tile's grid north"
            )
        for rule, count in Counter(rule for _, rule in self.set_aside).most_common():
            rows = [str(row) for row, other in self.set_aside if other == rule]
            more = ", …" if count > ROW_EXAMPLES else ""
            lines.append(f"{count} rows are set aside, {rule}: row {', '.join(rows[:ROW_EXAMPLES])}{more}")
        uptilted = sum(cell.tilt_deg < 0 for _, cell in cells)
        if uptilted and not any(cell.tilt_deg > 0 for _, cell in cells):
            lines.append(f"all tilts are negative: {uptilted} cells look upwards (downtilts are positive numbers)")
        if self.ignored_columns:
            lines.append(f"columns without a meaning here: {', '.join(self.ignored_columns)}")
        return lines


def read_sites(tile: Tile, file: Path, template: Cell | None = None) -> tuple[Site, ...]:
    """The sites of a list, see `read_cell_list`."""
    return read_cell_list(tile, file, template).sites


def read_cell_list(
    tile: Tile, file: Path, template: Cell | None = None, options: CellListOptions | None = None
) -> CellList:
    """Read a network from a list of cells; values that a row does not give are the `template`'s.

    Azimuths of rows with degrees count from true north and are turned by the tile's grid convergence; those of rows
    with x and y count from grid north, as x and y do. A cell without an azimuth is omnidirectional. Rows around the
    tile (nearer than 50 km, or many) and rows at 0° N 0° E are set aside and counted.

    Args:
        tile: on which the sites stand.
        file: .csv, .tsv, .json, .geojson or .kml, perhaps .gz.
        template: what a row does not say of its cells; default: an isotropic cell.
        options: names of columns, heights of rows without one, north, antennas.

    Raises:
        UelError: with row and column, for a file that cannot be read, unknown, missing or contradicting columns, values
            that are no numbers or cannot be, cells that stand twice, sites in a wall or in the ground, and positions
            that are far from the tile, swapped, or all off it.
    """
    options = options or CellListOptions()
    rows = read_rows(file)
    if not rows:
        raise UelError(
            "a list of cells is empty", got=f"0 rows in {file.name}", do="write one row for each cell or site"
        )
    names = dict.fromkeys(name for row in rows for name in row.values)
    columns, ignored = columns_of(names, dict(options.columns), file.name)
    reader = _Reader(tile, file.name, {column.name: column for column in columns}, options, template or Cell())
    placed = reader.read(rows)
    if not placed:
        raise reader.nothing_left()
    sites = _sites(placed, file.name)
    with in_row(file.name):
        CellDirectory(sites)  # one cell_id, one cell
    return CellList(sites, reader.set_aside, ignored, reader.turned_deg)


@dataclass
class _PlacedRow:
    number: int
    position: tuple[float, float, float]
    cells: tuple[Cell, ...]


class _Reader:
    """Rows to cells in their places; notes what is set aside."""

    def __init__(
        self, tile: Tile, file: str, columns: dict[str, Column], options: CellListOptions, template: Cell
    ) -> None:
        self.tile, self.file, self.columns, self.options = tile, file, columns, options
        self.positions, self.maker = TilePositions(tile), CellMaker(template, options.antennas)
        self.set_aside: list[tuple[int, str]] = []
        self.turned_deg, self._first_off = 0.0, ""

    def read(self, rows: list[ListRow]) -> list[_PlacedRow]:
        fields = {row.number: self._fields(row) for row in rows}
        powers = [field for row in fields.values() for name, field in row.items() if name == "power_dbm"]
        if powers:
            require_power_unit(powers)
        places = {number: self.positions.place(row, self._where(number)) for number, row in fields.items()}
        inside = self._inside(places, fields)
        placed = [self._placed(number, fields[number], inside[number]) for number in fields if number in inside]
        return [row for row in placed if row is not None]

    def nothing_left(self) -> UelError:
        """Why no row is left."""
        counts = Counter(rule for _, rule in self.set_aside)
        return UelError(
            f"no row of {self.file} is a cell on tile {self.tile.name}",
            got=", ".join(f"{count} × {rule}" for rule, count in counts.most_common()) + self._first_off,
            do="choose the tile of this network, or correct the positions",
        )

    def _where(self, number: int) -> str:
        return f"row {number} of {self.file}"

    def _fields(self, row: ListRow) -> Fields:
        where = self._where(row.number)
        known = [Field(value, self.columns[name], where) for name, value in row.values.items() if name in self.columns]
        return {field.column.own: field for field in known if not field.is_empty}

    def _inside(self, places: dict[int, Place | None], fields: dict[int, Fields]) -> dict[int, Place]:
        """The places on the tile. Raises `UelError` for one in metres that is off it, and for few that are far off."""
        inside = {n: p for n, p in places.items() if p is not None and self.positions.contains(p.x, p.y)}
        off = {n: p for n, p in places.items() if p is not None and n not in inside}
        far = {n: p for n, p in off.items() if is_far(p)}
        lost = next((n for n, p in off.items() if not p.is_geographic), None)
        if lost is None and far and len(far) < FAR_ROWS:
            lost = next(iter(far))
        if lost is not None:
            place = off[lost]
            hint = self.positions.sign_hint(fields[lost]) if place.is_geographic else ""
            raise UelError(
                f"the site in {self._where(lost)} is off the tile",
                got=f"{self.positions.off_tile(place)}; {len(off)} of {len(places)} rows are off the tile",
                do=f"{hint}give a position within ±{self.tile.size / 2:g} m of the tile's centre (a digit that is "
                "missing, or a row of another city?)",
            )
        if off:
            number, place = next(iter(off.items()))
            self._first_off = f"; row {number} lies at {self.positions.off_tile(place)}"
        self.set_aside += [(n, "no position (0° N, 0° E)") for n, p in places.items() if p is None]
        self.set_aside += [(n, "off the tile") for n in off]
        return inside

    def _placed(self, number: int, fields: Fields, place: Place) -> _PlacedRow | None:
        """A row's cells and position; None for a technology without a model."""
        where = self._where(number)
        try:
            cells = self.maker.cells(fields, where)
        except OtherTechnologyError as error:
            self.set_aside.append((number, f"other technology ({error})"))
            return None
        position = (place.x, place.y, self._elevation(fields, place, where))
        if place.is_geographic:
            cells = tuple(self._to_grid_north(cell, place) if "azimuth_deg" in fields else cell for cell in cells)
        with in_row(where):
            self.tile.require_site_positions((Site(position=position, cells=cells),))
        return _PlacedRow(number, position, cells)

    def _to_grid_north(self, cell: Cell, place: Place) -> Cell:
        if self.options.north == "grid":
            return cell
        true = cell.azimuth_deg + self.options.declination_deg
        turned = grid_azimuth_deg(self.tile, place.x, place.y, true)
        angle = (turned - cell.azimuth_deg + 180.0) % 360.0 - 180.0
        self.turned_deg = max(self.turned_deg, angle, key=abs)
        return replace(cell, azimuth_deg=turned)

    def _elevation(self, fields: Fields, place: Place, where: str) -> float:
        """Elevation in metres of the antenna in the tile's datum."""
        given = [name for name in HEIGHT_COLUMNS if name in fields]
        defaults = [n for n in ("height", "height_above_roof") if getattr(self.options, n) is not None]
        if len(given) > 1 or len(given or defaults) != 1:
            raise UelError(
                f"{where} does not have one height",
                got=", ".join(given or defaults) or "none",
                do=f"give one of {', '.join(HEIGHT_COLUMNS)}, or --height METRES, or --mast METRES above the roof, "
                "for all rows without",
            )
        name = (given or defaults)[0]
        value = quantity(fields[name]) if given else float(getattr(self.options, name))
        if name == "z":
            return value
        pixel = self.tile.pixel_of(torch.tensor([place.x, place.y], dtype=torch.float64))
        base = self.tile.rasters["height" if name == "height_above_roof" else "ground"][pixel]
        return float(base) + value


def _sites(rows: list[_PlacedRow], file: str) -> tuple[Site, ...]:
    """Rows of one position and height are one site, in the order of the list."""
    masts: list[list[_PlacedRow]] = []
    cells_by_place: dict[tuple[int, int], list[int]] = {}
    for row in rows:
        corner = (math.floor(row.position[0]), math.floor(row.position[1]))
        near = [
            m
            for dx in (-1, 0, 1)
            for dy in (-1, 0, 1)
            for m in cells_by_place.get((corner[0] + dx, corner[1] + dy), [])
        ]
        same = [m for m in near if math.dist(masts[m][0].position, row.position) < MIN_SITE_DISTANCE]
        if same:
            masts[same[0]].append(row)
        else:
            cells_by_place.setdefault(corner, []).append(len(masts))
            masts.append([row])
    for mast in masts:
        _require_distinct(mast, file)
    return tuple(Site(position=m[0].position, cells=tuple(cell for row in m for cell in row.cells)) for m in masts)


def _require_distinct(mast: list[_PlacedRow], file: str) -> None:
    seen = dict[tuple[object, ...], int]()
    for row in mast:
        for cell in row.cells:
            first = seen.setdefault(distinct(cell), row.number)
            if first != row.number:
                raise UelError(
                    f"rows {first} and {row.number} of {file} have the same position, direction and carrier",
                    got=f"{row.position}, {cell.label}",
                    do="leave one out, or tell them apart: azimuth_deg, cell_id, pci, channel_number (sectors may "
                    "also stand in one row: azimuth_deg 0;120;240)",
                )
