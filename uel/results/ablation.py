"""Results of an ablation: the table of trainings with and without physics losses."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from uel.core.io import csv_bytes, replace_file
from uel.errors import UelError


@dataclass(frozen=True, kw_only=True)
class AblationRow:
    """One training."""

    loss: str
    """none, map, rt, map+rt or hybrid, see `training.locator.physics_schedule`"""
    features: str
    """rsrp, ta, aoa, joined by +; empty without physics"""
    rt_fraction: float
    """fraction of batches that are ray-traced"""
    labels: int
    """phones with known positions"""
    seed: int
    map: str
    """map condition of the locator and of its loss"""
    budget: str
    """steps: the same number of steps for all; time: as many as cost the CPU time of training without physics"""
    p50_m: float
    p95_m: float
    r50: float
    """p50 over that of the grid posterior on the true map: the limit of map truth, a reference of path truth"""
    train_cpu_s: float
    """of all steps, without validation"""
    rt_cpu_s: float
    """of these in the ray tracer, its backward pass included"""
    gain_m_per_cpu_s: float | None = None
    """metres of p50 gained over no physics (same seed, labels, map and budget), per CPU second of training"""
    evidence: str
    truth: str
    steps: int
    rt_batches: int
    p50_los_m: float | None
    """of phones with line of sight to the serving antenna"""
    p50_nlos_m: float | None
    p50_cells12_m: float | None
    """of phones that hear one or two cells"""
    p50_cells34_m: float | None
    p50_cells5_m: float | None
    cell: str
    """file of every phone's error, under cells/"""

    @property
    def comparison_key(self) -> tuple[object, ...]:
        """Values that this row has in common with the row without physics that it is compared with."""
        return self.labels, self.seed, self.map, self.budget, self.evidence


ABLATION_COLUMNS = tuple(f.name for f in fields(AblationRow))


def rows_with_gain(rows: Sequence[AblationRow]) -> list[dict[str, object]]:
    """Rows of the table, with the gain over no physics per CPU second."""
    without_physics = {row.comparison_key: row.p50_m for row in rows if row.loss == "none"}
    table = []
    for row in rows:
        comparable = row.loss != "none" and row.comparison_key in without_physics and row.train_cpu_s > 0
        gain = (without_physics[row.comparison_key] - row.p50_m) / row.train_cpu_s if comparable else None
        table.append(asdict(row) | {"gain_m_per_cpu_s": gain})
    return table


def write_ablation_table(file: Path, rows: Sequence[AblationRow]) -> None:
    """Write `table.csv`; unknown values are blank."""
    plain = ({name: _plain(value) for name, value in row.items()} for row in rows_with_gain(rows))
    replace_file(file, csv_bytes(ABLATION_COLUMNS, plain))


def _plain(value: object) -> object:
    return "" if value is None else f"{value:.5g}" if isinstance(value, float) else value


def read_ablation_table(file: Path) -> list[AblationRow]:
    """Read a file of `write_ablation_table`. Raises `UelError` when it is absent or damaged."""
    do = "run uel ablate --config ablate/florence"
    if not file.is_file():
        raise UelError("there is no table of an ablation", got=str(file), do=do)
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            return [_row(line) for line in csv.DictReader(stream)]
    except (ValueError, KeyError, TypeError) as error:
        raise UelError("this table of an ablation is damaged", got=f"{file}: {error}", do=do) from error


def _row(line: dict[str, str]) -> AblationRow:
    """The row of a line of the table."""
    if set(line) != set(ABLATION_COLUMNS):
        raise ValueError(f"columns {', '.join(map(str, line))}")
    values: dict[str, object] = {}
    for f in fields(AblationRow):
        text = line[f.name]
        if f.type in (int, float):
            values[f.name] = f.type(text)
        else:
            values[f.name] = text if f.type is str else float(text) if text else None
    return AblationRow(**values)  # type: ignore[arg-type]
