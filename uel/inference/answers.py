"""What is answered for one report: where the phone was, on which tile and network, and how surely."""

import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from uel.errors import UelError
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
    distances: array = field(default_factory=lambda: array("f"))
    """m from the positions that the log says, of the reports that have one"""

    @staticmethod
    def of(tile: Tile, sites: tuple[Site, ...]) -> "AnswerFormat":
        transform = coordinate_transform(tile) if tile.meta.get("crs") else None
        return AnswerFormat(tile.name, network_of(sites), transform)

    def answers(self, fix: Fix, part: LogPart) -> Iterator[Answer]:
        """The answers to the reports of a part, whose fixes are a batch.

        `std_m` is the root of the summed variances in metres: two thirds of all errors are smaller. `time` is in
        seconds as the log says it, None where it says none. `distance_m` is the distance from the position that the
        log says, where it says one. Raises `UelError` for a fix that is not finite.
        """
        _require_finite(fix)
        distance = (fix.position - part.position).norm(dim=-1).tolist()
        position, covariance, entropy = fix.position.tolist(), fix.covariance.tolist(), fix.entropy().tolist()
        means, probabilities, _ = fix.candidates(CANDIDATE_COUNT)
        candidates = zip(means.tolist(), probabilities.tolist(), strict=True)
        for n, (places, weights) in enumerate(candidates):
            head = self._head(part, n, position[n])
            if math.isfinite(distance[n]):
                self.distances.append(distance[n])
                head["distance_m"] = round(distance[n], 1)
            listed = [
                {"position": [round(v, 1) for v in place], "probability": round(p, 4)}
                for place, p in zip(places, weights, strict=True)
            ]
            yield Answer(
                head | _shape(position[n], covariance[n]) | {"candidates": listed},
                head
                | _plain(position[n], covariance[n])
                | {"entropy": round(entropy[n], 4), "probability": weights[0]},
            )

    def _head(self, part: LogPart, number: int, position: list[float]) -> dict[str, Any]:
        """Number, row, time, tile, network and degrees of the next report."""
        longitude, latitude = self.to_degrees(position) if self.to_degrees else (None, None)
        seconds, device = float(part.seconds[number]), str(part.device[number])
        self.count += 1
        return {
            "report": self.count - 1,
            "row": int(part.row[number]),
            "time": round(seconds, 3) if math.isfinite(seconds) else None,
            **({"device": device} if device else {}),
            "tile": self.tile,
            "network": self.network,
            "latitude": latitude,
            "longitude": longitude,
        }


def _require_finite(fix: Fix) -> None:
    """Raise `UelError` for a fix that is no position: JSON has no NaN, and (NaN, NaN) would be no answer."""
    is_finite = fix.position.isfinite().all(-1) & fix.covariance.flatten(1).isfinite().all(-1)
    if not bool(is_finite.all()):
        got = f"{int((~is_finite).sum())} of {len(is_finite)} fixes are not finite"
        do = "check the run and the radio map: uel verify RUN MAP"
        raise UelError("the locator has no answer to these reports", got=got, do=do)


def _shape(position: list[float], covariance: list[list[float]]) -> dict[str, Any]:
    """Position and uncertainty for a line of JSON."""
    return {
        "position": [round(v, 1) for v in position],
        "std_m": round(math.sqrt(covariance[0][0] + covariance[1][1]), 1),
        "covariance": [[round(v, 1) for v in row] for row in covariance],
    }


def _plain(position: list[float], covariance: list[list[float]]) -> dict[str, Any]:
    """Position and uncertainty for the row of a table."""
    (xx, xy), (_, yy) = covariance
    return {
        "x": round(position[0], 2),
        "y": round(position[1], 2),
        "std_m": round(math.sqrt(xx + yy), 2),
        "std_east_m": round(math.sqrt(xx), 2),
        "std_north_m": round(math.sqrt(yy), 2),
        "correlation": round(xy / math.sqrt(xx * yy), 4),
    }
