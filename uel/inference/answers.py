"""What is answered for one report: where the phone was, on which tile and network, and how surely."""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from uel.estimation.fix import Fix
from uel.geo.tile import Tile
from uel.inference.geojson import CANDIDATE_COUNT, CoordinateTransform, coordinate_transform
from uel.measurement.logs.report_groups import LogPart
from uel.measurement.report_io import network_of
from uel.radio.sites import Site


@dataclass(frozen=True)
class Answer:
    """The answer to one report, in two shapes."""

    line: dict[str, Any]
    """with covariance and candidates, for JSON"""
    row: dict[str, Any]
    """plain values by the columns of tables"""


@dataclass
class AnswerFormat:
    """Makes answers for one tile and network, and numbers them."""

    tile: str
    network: str
    to_degrees: CoordinateTransform | None
    """from metres to longitude and latitude; None: the tile has no georeference"""
    count: int = 0

    @staticmethod
    def of(tile: Tile, sites: tuple[Site, ...]) -> "AnswerFormat":
        transform = coordinate_transform(tile) if tile.meta.get("crs") else None
        return AnswerFormat(tile.name, network_of(sites), transform)

    def answer(self, fix: Fix, part: LogPart, number: int) -> Answer:
        """The answer to one report of a part, whose fix is a batch of one.

        `std_m` is the root of the summed variances in metres: two thirds of all errors are smaller. `time` is in
        seconds as the log says it, None where it says none.
        """
        x, y = fix.position[0].tolist()
        longitude, latitude = self.to_degrees((x, y)) if self.to_degrees else (None, None)
        (xx, xy), (_, yy) = fix.covariance[0].tolist()
        seconds, device = float(part.seconds[number]), str(part.device[number])
        common: dict[str, Any] = {
            "report": self.count,
            "row": int(part.row[number]),
            "time": round(seconds, 3) if math.isfinite(seconds) else None,
            **({"device": device} if device else {}),
            "tile": self.tile,
            "network": self.network,
            "latitude": latitude,
            "longitude": longitude,
        }
        self.count += 1
        means, probabilities, _ = fix.candidates(min(CANDIDATE_COUNT, fix.log_heatmap.shape[-1]))
        candidates = [
            {"position": [round(v, 1) for v in place], "probability": round(p, 4)}
            for place, p in zip(means[0].tolist(), probabilities[0].tolist(), strict=True)
        ]
        shape = {
            "position": [round(x, 1), round(y, 1)],
            "std_m": round(math.sqrt(xx + yy), 1),
            "covariance": [[round(xx, 1), round(xy, 1)], [round(xy, 1), round(yy, 1)]],
            "candidates": candidates,
        }
        plain = {
            "x": round(x, 2),
            "y": round(y, 2),
            "std_m": round(math.sqrt(xx + yy), 2),
            "std_east_m": round(math.sqrt(xx), 2),
            "std_north_m": round(math.sqrt(yy), 2),
            "correlation": round(xy / math.sqrt(xx * yy), 4),
            "entropy": round(float(fix.entropy()[0]), 4),
            "probability": candidates[0]["probability"],
        }
        return Answer(common | shape, common | plain)


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[int], None]]:
    """A bar of located reports on a terminal's stderr, where the answers do not go to the same terminal."""
    if not sys.stderr.isatty() or sys.stdout.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import Progress

    columns = Progress.get_default_columns()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reports", total=total)
        yield lambda count: progress.update(task, advance=count)
