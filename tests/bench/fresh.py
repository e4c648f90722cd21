"""Value and gradient at positions that are new at every call: an atlas against stock Sionna's search."""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from tests.bench.common import ROUNDS, Stock, compare, munich, outdoors
from uel.core.grid import Grid

OFTEN = 4  # batches of new positions that the atlas answers for each of stock's


def run() -> dict[str, float]:
    sim, generator = munich(), torch.Generator().manual_seed(0)
    start = time.perf_counter()
    atlas = sim.build_atlas(grid=Grid(size=512.0, pixel=8.0))
    figures = {"atlas_build_s": time.perf_counter() - start}
    with TemporaryDirectory() as folder:
        atlas.save(folder)
        figures["atlas_mb"] = sum(f.stat().st_size for f in Path(folder).iterdir()) / 1e6
    for count in (64, 256):
        places = [outdoors(count, generator) for _ in range(OFTEN * (ROUNDS + 1))]
        stock, links = Stock(count), count * sim.cell_count
        for _ in range(2):  # both sizes of buffers are compiled
            _value_and_gradient(sim.path_gain, places[0])
        ours, theirs, ratio = compare(
            lambda turn, at=places: _value_and_gradient(sim.path_gain, at[turn]),
            lambda turn, at=places, stock=stock: _value_and_gradient(stock.gain, at[turn]),
            f"{count} receivers",
            often=OFTEN,
        )
        name = "" if count == 64 else f"_{count}"
        figures |= {f"ms_per_link{name}": 1e3 * ours / links, f"stock_ms_per_link{name}": 1e3 * theirs / links}
        figures[f"fresh_positions_ratio{name}"] = ratio
        forward = compare(
            lambda turn, at=places: sim.path_gain(at[turn]),
            lambda turn, at=places, stock=stock: stock.gain(at[turn]),
            f"{count} receivers, values alone",
            often=OFTEN,
        )
        figures[f"fresh_values_ratio{name}"] = forward[2]
    return figures | _found(torch.cat([outdoors(64, generator) for _ in range(4)]))


def _value_and_gradient(ask, position: Tensor) -> None:
    position = position.clone().requires_grad_()
    ask(position).sum().backward()


def _found(position: Tensor) -> dict[str, float]:
    """What stock Sionna finds and we do too. Its duplicates are counted once, since one path is one path."""
    sim, raw, once = munich(), [], []
    for part in position.split(64):
        identity, power = Stock(len(part)).paths(part)
        _, first = np.unique(identity, axis=0, return_index=True)
        raw.append(_gain(identity, power, len(part)))
        once.append(_gain(identity[first], power[first], len(part)))
    stock, ours = np.concatenate(once), sim.path_gain(position).double().numpy()
    links, both = stock > 0, (stock > 0) & (ours > 0)
    return {
        "links_of_stock": float(links.sum()),
        "links_of_ours": float((ours > 0).sum()),
        "links_found_share": float(both.sum() / links.sum()),
        "median_gain_diff_db": float(np.median(np.abs(10 * np.log10(ours[both] / stock[both])))),
        "power_share": float(ours[links].sum() / stock.sum()),
        "power_share_of_stock_with_duplicates": float(ours[links].sum() / np.concatenate(raw).sum()),
        "power_found_share": float(np.minimum(ours, stock).sum() / stock.sum()),
    }


def _gain(identity: np.ndarray, power: np.ndarray, receivers: int) -> np.ndarray:
    gain = np.zeros((receivers, munich().cell_count))
    np.add.at(gain, (identity[:, 0], identity[:, 1]), power.astype(np.float64))
    return gain
