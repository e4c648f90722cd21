"""Names of version 0.1 for checks that were written for it: each stands for its successor, with the same meaning."""

from types import SimpleNamespace

import scenes
import sim_bridge
from explorer.map_view import ground_image
from scenes.osm.reader import read_map as read
from scenes.sites.site_files import read_sites
from scenes.tiles.writer import write_sites
from sim_bridge import TracingConfig as Tracing
from sim_bridge import open_empty
from uel import Array, Carrier, Cell, FreeSpace, Grid, RadioMap, Site, UelError, reference_power_dbm
from uel.core.units import bearing_deg
from uel.measurement import report_io
from uel.measurement.drive_test import Drive
from uel.measurement.drive_test import read_drive_test as read_drive
from uel.measurement.logs.config import ColumnConfig as Columns
from uel.plots import radio_layers as layers
from uel.radio import radio_map_io

report_json = SimpleNamespace(read=report_io.from_json, write=report_io.to_json)
painting = SimpleNamespace(legend_of=ground_image.legend_for)
radio_layers = SimpleNamespace(LAYERS=layers.RADIO_LAYERS, values=layers.layer_values)
for owner, old, new in (
    (Drive, "reasons", Drive.rejection_counts),
    (RadioMap, "truth", RadioMap.pixel_truth),
    (RadioMap, "spots", RadioMap.samples_at),
    (RadioMap, "save", radio_map_io.save),
    (RadioMap, "load", staticmethod(radio_map_io.load)),
):
    setattr(owner, old, new)

__all__ = [
    "Array",
    "Carrier",
    "Cell",
    "Columns",
    "FreeSpace",
    "Grid",
    "RadioMap",
    "Site",
    "Tracing",
    "UelError",
    "bearing_deg",
    "open_empty",
    "painting",
    "radio_layers",
    "read",
    "read_drive",
    "read_sites",
    "reference_power_dbm",
    "report_json",
    "scenes",
    "sim_bridge",
    "write_sites",
]
