"""Reports, fixes and measured networks as tables of pandas."""

import numpy as np
import pandas as pd

from uel.estimation.fix import Fix
from uel.measurement.measured_network import MeasuredNetwork
from uel.measurement.reports import Reports


def report_rows(reports: Reports) -> pd.DataFrame:
    """A row for each cell that a report hears: `report` (or `track` and `report`), `cell`, `rsrp_dbm`, `serving`.

    Columns of features that some report has: `timing_advance` and `azimuth_deg` of the serving cell, `toa` (s) and
    `aoa_deg` of the cell; missing where a report has none. A report that hears nothing has no row.
    """
    reports = Reports(**{name: values.cpu() for name, values in vars(reports).items()})
    index = reports.heard.nonzero(as_tuple=True)
    *report, cell = index
    at_report = tuple(report)
    names = [f"axis_{n}" for n in range(len(report) - 2)] + ["track", "report"][-len(report) :]
    columns = dict(zip(names, (axis.numpy() for axis in report), strict=True))
    serving = reports.serving[at_report] == cell
    columns |= {"cell": cell.numpy(), "rsrp_dbm": reports.rsrp_dbm[index].numpy(), "serving": serving.numpy()}
    table = pd.DataFrame(columns)
    for name, mask in (("timing_advance", "has_timing_advance"), ("azimuth_deg", "has_azimuth")):
        known = getattr(reports, mask)[at_report] & serving
        if known.any():
            table[name] = np.where(known, getattr(reports, name)[at_report], np.nan)
    for name, mask in (("toa", "has_toa"), ("aoa_deg", "has_aoa")):
        known = getattr(reports, mask)[index]
        if known.any():
            table[name] = np.where(known, getattr(reports, name)[index], np.nan)
    return table


def fix_rows(fix: Fix) -> pd.DataFrame:
    """A row for each fix: `x`, `y`, `std_m`, `std_east_m`, `std_north_m`, `correlation`, `entropy` (nats)."""
    covariance = fix.covariance
    east, north = (covariance[:, axis, axis].sqrt() for axis in (0, 1))
    columns = {
        "x": fix.position[:, 0],
        "y": fix.position[:, 1],
        "std_m": fix.std,
        "std_east_m": east,
        "std_north_m": north,
        "correlation": covariance[:, 0, 1] / (east * north),
        "entropy": fix.entropy(),
    }
    return pd.DataFrame({name: values.detach().cpu().numpy() for name, values in columns.items()})


def level_rows(network: MeasuredNetwork) -> pd.DataFrame:
    """A row for each level that a square reports: `square`, `x`, `y` (m), `cell`, `cell_id`, `rsrp_dbm`, `device`."""
    square, cell = network.is_reported.nonzero(as_tuple=True)
    position = network.position[square].numpy()
    return pd.DataFrame(
        {
            "square": square.numpy(),
            "x": position[:, 0],
            "y": position[:, 1],
            "cell": cell.numpy(),
            "cell_id": np.array(network.cells.cell_id, dtype=object)[cell.numpy()],
            "rsrp_dbm": network.level_dbm[square, cell].numpy(),
            "device": np.array(network.devices, dtype=object)[network.device[square].numpy()],
        }
    )
