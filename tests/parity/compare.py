"""How far this repository's chain is from Sionna 1.2.2, quantity by quantity."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.table import Table
from torch import Tensor

GOLDEN = Path(__file__).parents[1] / "golden" / "sionna.json"
ROUNDING = 2.0**-23  # of single precision: one step of numbers just above 1
Golden = dict[str, Tensor]


@dataclass(frozen=True)
class Quantity:
    """What is compared, by the name that it has in both files."""

    name: str
    what: str
    limit: float
    scale: Callable[[Tensor, Golden], Tensor]
    """what a difference is relative to"""


def read(path: Path) -> Golden:
    """What `sionna_tf.py` wrote; NaN where Sionna has no finite number."""
    values = json.loads(path.read_text())
    del values["made_by"]
    return {name: torch.tensor(_numbers(of), dtype=torch.float64) for name, of in values.items()}


def _numbers(values: list | float | None) -> list | float:
    if isinstance(values, list):
        return [_numbers(value) for value in values]
    return math.nan if values is None else values


def _absolute(want: Tensor, golden: Golden) -> Tensor:
    return torch.ones_like(want)


def _itself(want: Tensor, golden: Golden) -> Tensor:
    return want.abs()


def _strongest(want: Tensor, golden: Golden) -> Tensor:
    """Greatest of each link."""
    return want.flatten(1).abs().amax(1).view(-1, *[1] * (want.ndim - 1)).expand_as(want)


def _factor(table: int) -> Callable[[Tensor, Golden], Tensor]:
    """The SINR or β, whichever is greater: -β·log(mean(exp(-SINR/β))) rounds like β where the SINR is small."""
    return lambda want, golden: torch.maximum(want, golden[f"beta_{table}"])


QUANTITIES = (
    Quantity("cfr", "channel frequency response, of its link's greatest", 9e-7, _strongest),
    Quantity("taps", "power of taps, of its link's strongest", 9e-7, _strongest),
    Quantity("lmmse", "SINR after LMMSE, relative, Sionna in single precision", 6e-5, _itself),
    Quantity("lmmse_double", "the same, Sionna in double precision", 1e-9, _itself),
    Quantity("lmmse_alone_double", "the same without other cells, Sionna's block as called", 1e-9, _itself),
    Quantity("beta_1", "EESM's factors β, MCS table 1, relative", ROUNDING, _itself),
    Quantity("beta_2", "EESM's factors β, MCS table 2, relative", ROUNDING, _itself),
    Quantity("eesm_1", "effective SINR, MCS table 1, of itself or β", 8e-7, _factor(1)),
    Quantity("eesm_2", "effective SINR, MCS table 2, of itself or β", 8e-7, _factor(2)),
    Quantity("bler", "block error rate", ROUNDING, _absolute),
    Quantity("block_bits", "bits of a transport block", 0.0, _absolute),
    Quantity("mcs", "MCS chosen", 0.0, _absolute),
    # Sionna sums a slot of 39 312 values in single precision; here twelve stand for them.
    Quantity("mcs_effective", "effective SINR of the MCS chosen, relative", 5e-6, _itself),
    Quantity("mcs_bler", "block error rate of the MCS chosen", ROUNDING, _absolute),
)


def difference(of: Quantity, found: Tensor, golden: Golden) -> float:
    """Greatest difference on the quantity's scale; infinite where one side alone has a number."""
    want, found = golden[of.name], found.double()
    there = want.isfinite()
    if found.shape != want.shape or not torch.equal(there, found.isfinite()):
        return math.inf
    return float(((found - want).abs() / of.scale(want, golden))[there].amax())


def table(found: Golden, golden: Golden) -> Table:
    """A row for each quantity."""
    rows = Table("quantity", "largest difference", "limit", "", title="this chain beside Sionna 1.2.2 on TensorFlow")
    for of in QUANTITIES:
        far = difference(of, found[of.name], golden)
        rows.add_row(of.what, f"{far:.2g}", f"{of.limit:.2g}", "ok" if far <= of.limit else "MISSED")
    return rows


def missed(found: Golden, golden: Golden) -> list[str]:
    """Quantities that are further apart than their limits."""
    return [of.name for of in QUANTITIES if not difference(of, found[of.name], golden) <= of.limit]
