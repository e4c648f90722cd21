"""Names of version 0.1 for checks that were written for it: each stands for its successor, with the same meaning."""

import scenes
import sim_bridge
from explorer.map_view import ground_image as painting
from explorer.map_view import radio_layers
from scenes.osm.reader import read
from scenes.sites.site_files import read_sites
from scenes.tiles.writer import write_sites
from sim_bridge.scene.tracing_config import TracingConfig as Tracing
from sim_bridge.simulator import open_empty
from uel import FreeSpace, Grid, RadioMap
from uel.core.units import bearing_deg
from uel.errors import UelError
from uel.measurement import report_io as report_json
from uel.measurement.columns import ColumnConfig as Columns
from uel.measurement.drive_test import read_drive_test as read_drive
from uel.radio.config import Carrier
from uel.radio.sites import Array, Cell, Site, reference_power_dbm

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
