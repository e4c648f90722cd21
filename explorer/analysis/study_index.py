"""The index of studies on disk: ablations of the physics loss, calibrations of materials and antennas."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explorer.analysis.artefact_index import read_json_or_problem
from uel.errors import UelError
from uel.results.ablation import read_ablation_table

ABLATION_COLUMNS = (
    "loss", "features", "labels", "map", "budget", "evidence", "seed", "p50_m", "p95_m", "r50", "train_cpu_s",
)  # fmt: skip
CALIBRATION_COLUMNS = {
    "parameter": "parameter",
    "of": "of",
    "unit": "unit",
    "believed": "prior",
    "found": "fitted",
    "width": "std",
    "verdict": "verdict",
}
"""fields of `calibration.json` and the titles of their columns"""


@dataclass(frozen=True)
class StudyReport:
    """The report of a calibration or an ablation."""

    name: str
    rows: list[dict[str, Any]]
    """of its table"""
    pictures: tuple[Path, ...]
    """sorted by name"""


def find_ablations(runs: Path) -> tuple[list[StudyReport], list[str]]:
    """Ablations of the physics loss under a folder of runs, and the files that could not be read."""
    reports, problems = [], []
    for file in sorted((runs / "ablate").glob("*/table.csv")):
        try:
            rows = [{name: getattr(row, name) for name in ABLATION_COLUMNS} for row in read_ablation_table(file)]
        except UelError as error:
            problems.append(str(error))
        else:
            reports.append(StudyReport(file.parent.name, rows, _pictures(file.parent)))
    return reports, problems


def find_calibrations(runs: Path) -> tuple[list[StudyReport], list[str]]:
    """Calibrations under a folder of runs, a row for each parameter, and the files that could not be read."""
    reports: list[StudyReport] = []
    problems: list[str] = []
    for file in sorted(runs.glob("*/calibration.json")):
        parameters = read_json_or_problem(file, problems).get("parameters")
        if isinstance(parameters, list) and all(isinstance(row, dict) for row in parameters):
            rows = [{title: row.get(name) for name, title in CALIBRATION_COLUMNS.items()} for row in parameters]
            reports.append(StudyReport(file.parent.name, rows, _pictures(file.parent)))
    return reports, problems


def _pictures(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted((folder / "figures").glob("*.png")))
