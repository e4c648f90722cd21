"""`uel residuals`: strength, reach and alikeness of measured levels around ray tracing, as a table."""

from dataclasses import replace
from pathlib import Path

import torch

from scenes.measured_networks.tile_network import read_tile_network
from training.residuals.config import ResidualsConfig
from uel.adaptation.residual_statistics import ResidualStatistics, residual_statistics
from uel.core.files.write_errors import require_writable
from uel.core.io import replace_file
from uel.errors import UelError, quoted
from uel.geo.tile import Tile
from uel.inference.deployment import find_radio_map
from uel.measurement.measured_network import MeasuredNetwork
from uel.prediction.traced_levels import traced_level_dbm
from uel.radio import radio_map_io
from uel.radio.radio_map import RadioMap
from uel.radio.sites import cells_of

MARKER_LINES = ("<!-- residuals -->", "<!-- /residuals -->")
TABLE_HEADER = (
    "| district | map | levels | rms, dB | 1.48 × median, dB | reach, m | field's part | one mast | other masts |",
    "|---|---|---|---|---|---|---|---|---|",
)
TABLE_NOTE = (
    "Level minus the map's, less each cell's median; outdoors. In brackets 90 % intervals by bootstrap over blocks of "
    "64 m. Reach and field's part: sill · exp(-distance / reach) fitted to the correlation of one cell's squares, the "
    "rest is white. One mast, other masts: correlation of two cells on one square."
)


def run(config: ResidualsConfig) -> Path:
    """Write `residuals.md`, and the same into the document; returns the file."""
    require_writable(config.out)
    lines = [line for folder in config.tiles for line in _lines(Tile.open(folder), config)]
    text = "\n".join([TABLE_NOTE, "", *TABLE_HEADER, *lines, ""])
    file = config.out / "residuals.md"
    replace_file(file, text.encode())
    if config.document is not None:
        replace_between(config.document, text)
    return file


def _lines(tile: Tile, config: ResidualsConfig) -> list[str]:
    """A line for the radio map and one for the law of distance and antenna, on the same levels."""
    network = read_tile_network(tile)
    outdoors = network.rasters.outdoors[network.row, network.column]
    folder = find_radio_map(tile, 1, config.maps, config.backend)
    if folder is None:
        do = f"make one: uel map {quoted(tile.folder)} --out {quoted(config.maps)} --backend {config.backend}"
        raise UelError("this tile has no radio map", got=f"none of {tile.name} in {config.maps}", do=do)
    radio = radio_map_io.load(folder)
    network = _reached(network.select(outdoors), radio)
    traced, law = (
        traced_level_dbm(network.cells, network.position, map_, config.trend).T
        for map_ in (radio, replace(radio, known=torch.zeros_like(radio.known)))
    )
    lines = []
    for name, predicted in ((config.backend, traced), ("law", law)):
        lines.append(line_of(tile.name, name, residual_statistics(network, predicted, config.seed)))
    return lines


def _reached(network: MeasuredNetwork, radio: RadioMap) -> MeasuredNetwork:
    """The levels where a path reaches the pixel: elsewhere the map says nothing."""
    identities = [cell.cell_id for _, cell in cells_of(radio.sites)]
    order = torch.tensor([identities.index(name) for name in network.cells.cell_id if name in identities], device="cpu")
    own = torch.tensor(
        [number for number, name in enumerate(network.cells.cell_id) if name in identities], device="cpu"
    )
    row, column = radio.grid.pixel_of(network.position)
    known = torch.zeros_like(network.is_reported)
    known[:, own] = radio.known[order][:, row, column].T
    return replace(network, is_reported=network.is_reported & known)


def line_of(district: str, name: str, found: ResidualStatistics) -> str:
    """A line of the table."""
    numbers = [found.rms_db, found.robust_std_db, f"{found.length:.0f}", f"{found.sill:.2f}"]
    cells = [district, name, found.levels, *numbers, found.same_mast, found.other_mast]
    return f"| {' | '.join(map(str, cells))} |"


def replace_between(document: Path, text: str) -> None:
    """Replace what stands between the two marker lines of a text file. Raises `UelError` where they are missing."""
    content = document.read_text(encoding="utf-8") if document.is_file() else ""
    before, first, rest = content.partition(MARKER_LINES[0])
    _, last, after = rest.partition(MARKER_LINES[1])
    if not first or not last:
        do = f"write both lines where the table belongs: {' and '.join(MARKER_LINES)}"
        raise UelError("the document has no place for the table", got=str(document), do=do)
    replace_file(document, f"{before}{first}\n{text}\n{last}{after}".encode())
