"""The list of cells of a measured network: any columns that a list of cells has, positions in the rasters' CRS."""

from pathlib import Path

import torch

from scenes.measured_networks.rasters import RasterFrame
from scenes.sites.cell_lists.cells import CellMaker
from scenes.sites.cell_lists.column_names import Column, columns_of
from scenes.sites.cell_lists.quantities import Field, finite_number, quantity
from scenes.sites.cell_lists.tables import ListRow, read_rows
from uel.errors import UelError
from uel.measurement.measured_network import MeasuredCells
from uel.radio.antennas.array import Array
from uel.radio.config import Carrier
from uel.radio.sites import Cell

MAX_CELL_DISTANCE = 50e3  # m from the district's middle: a cell beyond is a mistake, or of another CRS
POSITION_COLUMNS = ("easting", "northing")
NEEDED_COLUMNS = ("cell_id", "height", "azimuth_deg")
CELL_TEMPLATE = Cell(
    array=Array(pattern="tr38901"),
    carrier=Carrier(frequency=2.6e9, bandwidth=20e6, subcarrier_spacing=15e3, technology="lte"),
)
"""what a list does not say"""


def read_cell_table(file: Path, frame: RasterFrame, measured: tuple[str, ...]) -> MeasuredCells:
    """The cells of a list, and after them the `measured` ones that it does not have.

    Columns `ground_m` and `roof_m` have the ground's elevation and the building's height at the mast; without them
    these are 0.

    Raises:
        UelError: for a missing file, a missing column, a cell without a reference signal power (`rs_power_dbm`), two
            rows of one identity, a position far off, and as `scenes.sites.cell_lists` for values that cannot be.
    """
    if not file.is_file():
        do = "add the operator's list: cell_id, easting, northing, height_m, azimuth_deg, …"
        raise UelError("the folder has no list of cells", got=str(file), do=do)
    rows = read_rows(file)
    if not rows:
        raise UelError("the list of cells is empty", got=str(file), do="give at least one cell")
    names = list(rows[0].values)
    columns = {column.name: column for column in columns_of(names, {}, str(file))[0]}
    missing = [name for name in POSITION_COLUMNS if name not in names]
    missing += [name for name in NEEDED_COLUMNS if name not in {column.own for column in columns.values()}]
    if missing:
        got = f"{file}: columns {', '.join(names)}"
        raise UelError(f"the list of cells lacks {', '.join(missing)}", got=got, do="add these columns")
    maker, seen, entries = CellMaker(CELL_TEMPLATE), dict[str, int](), []
    for row in rows:
        entry = _entry(row, columns, maker, frame, file)
        first = seen.setdefault(entry[0], row.number)
        if first != row.number:
            got = f"{entry[0]} in rows {first} and {row.number} of {file}"
            raise UelError("two rows of the list have one cell_id", got=got, do="leave one out")
        entries.append(entry)
    return _cells(entries, tuple(cell_id for cell_id in measured if cell_id not in seen))


def _entry(
    row: ListRow, columns: dict[str, Column], maker: CellMaker, frame: RasterFrame, file: Path
) -> tuple[str, list[float]]:
    """Identity of a row's cell, and its numbers in the order of the fields of `MeasuredCells`."""
    where = f"row {row.number} of {file}"
    fields = {columns[n].own: Field(value, columns[n], where) for n, value in row.values.items() if n in columns}
    empty = [name for name in (*POSITION_COLUMNS, *NEEDED_COLUMNS) if name not in {*fields, *row.values}]
    if empty:
        raise UelError(f"{where} is not complete", got=f"no {', '.join(empty)}", do="complete the row")
    cells = maker.cells(fields, where)
    if len(cells) != 1:
        raise UelError(f"{where} has several sectors", got=f"{len(cells)} sectors", do="give each cell a row")
    cell = cells[0]
    if cell.cell_id is None:
        raise UelError(f"{where} has no cell_id", got=repr(row.values), do="name the cell as the reports do")
    if cell.power_kind != "reference":
        got = f"columns {', '.join(row.values)}"
        raise UelError(f"{where} has no power of the reference signal", got=got, do="give rs_power_dbm")
    place = [finite_number(Field(row.values[name], Column(name, name, ""), where)) for name in POSITION_COLUMNS]
    x, y = place[0] - frame.origin[0], place[1] - frame.origin[1]
    if max(abs(x), abs(y)) > MAX_CELL_DISTANCE:
        got = f"{x / 1000:.0f} km east and {y / 1000:.0f} km north of the district's middle"
        raise UelError(f"the cell in {where} is far off the district", got=got, do="give positions in the rasters' CRS")
    # Lists give indoor cells, and cells whose height nobody noted, the height 0.
    height = quantity(fields["height"]) if finite_number(fields["height"]) else 0.0
    ground, roof = (_surroundings(row, name, where) for name in ("ground_m", "roof_m"))
    tilts = [cell.array.electrical_tilt_deg, cell.tilt_deg]
    numbers = [x, y, height, ground, roof, cell.azimuth_deg, *tilts, cell.carrier.frequency, cell.power_dbm]
    return str(cell.cell_id), numbers


def _surroundings(row: ListRow, name: str, where: str) -> float:
    """A height in metres at the mast; 0 where the row does not say it."""
    value = row.values.get(name)
    return 0.0 if value is None else finite_number(Field(value, Column(name, "z", "m"), where))


def _cells(entries: list[tuple[str, list[float]]], unlisted: tuple[str, ...]) -> MeasuredCells:
    numbers = torch.tensor([values for _, values in entries])
    numbers = torch.cat([numbers, torch.zeros(len(unlisted), numbers.shape[1])])
    x, y, height, ground, roof, azimuth, electrical, mechanical, frequency, power = numbers.unbind(1)
    return MeasuredCells(
        cell_id=(*(cell_id for cell_id, _ in entries), *unlisted),
        is_listed=torch.arange(len(numbers)) < len(entries),
        position=torch.stack([x, y], 1),
        height=height,
        ground=ground,
        roof=roof,
        azimuth_deg=azimuth,
        electrical_tilt_deg=electrical,
        mechanical_tilt_deg=mechanical,
        frequency=frequency,
        power_dbm=power,
    )
