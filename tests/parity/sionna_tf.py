"""What Sionna 1.2.2 on TensorFlow makes of inputs.json: `python sionna_tf.py INPUTS OUTPUT`, in the environment of
requirements.txt, which knows nothing of this repository.

All in single precision, Sionna's own choice, but where a name ends in `_double`.
"""

import json
import os
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow tells at length that there is no GPU

import numpy as np
import tensorflow as tf
from sionna.phy.channel import cir_to_ofdm_channel, cir_to_time_channel
from sionna.phy.mimo import StreamManagement, lmmse_matrix
from sionna.phy.nr.utils import calculate_tb_size, decode_mcs_index
from sionna.phy.ofdm import LMMSEPostEqualizationSINR, ResourceGrid
from sionna.sys import EESM, InnerLoopLinkAdaptation, PHYAbstraction

SCHEMES = {1: 29, 2: 28}  # of the MCS tables of TS 38.214
PDSCH = 1
Values = dict[str, np.ndarray]


def main(source: str, target: str) -> None:
    inputs = json.loads(Path(source).read_text())
    found = {**channels(inputs), **receivers(inputs), **effective(inputs), **blocks(inputs), **adapted(inputs)}
    made_by = {name: version(name) for name in ("sionna-no-rt", "tensorflow", "numpy", "scipy")}
    whole = {"made_by": made_by, **{name: plain(np.asarray(values)) for name, values in found.items()}}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(values)}" for name, values in whole.items())
    Path(target).write_text(f"{{\n{lines}\n}}\n")


def plain(values: np.ndarray) -> Any:
    """Nested lists of the shortest decimals that give the same numbers; None where there is no finite one."""
    if values.ndim:
        return [plain(value) for value in values]
    if values.dtype.kind in "iu":
        return int(values)
    return float(str(values)) if np.isfinite(values) else None


def linear(decibels: list) -> np.ndarray:
    return (10 ** (np.array(decibels) / 10)).astype(np.float32)


# ---- PHY -----------------------------------------------------------------------------------------------------


def impulses(inputs: dict) -> tuple[tf.Tensor, tf.Tensor]:
    """Gains, with the carrier's phase over the whole way, and delays after the first, as Sionna wants their axes."""
    width = max(len(link["delay"]) for link in inputs["links"])
    gain, excess = np.zeros((len(inputs["links"]), width), np.complex64), np.zeros((len(inputs["links"]), width))
    for row, link in enumerate(inputs["links"]):
        delay, amplitude = np.array(link["delay"], np.float32), np.array(link["amplitude"])
        turns = delay.astype(np.float64) * inputs["carrier_frequency"] % 1
        gain[row, : len(delay)] = (amplitude[:, 0] + 1j * amplitude[:, 1]) * np.exp(-2j * np.pi * turns)
        excess[row, : len(delay)] = delay - delay[0]
    return tf.constant(gain[:, None, None, None, None, :, None]), tf.constant(excess[:, None, None], tf.float32)


def channels(inputs: dict) -> Values:
    """Frequency responses, real and imaginary parts, and the power of taps."""
    gain, excess = impulses(inputs)
    response = cir_to_ofdm_channel(tf.constant(inputs["frequency"], tf.float32), gain, excess).numpy()
    taps = cir_to_time_channel(inputs["bandwidth"], gain, excess, 0, inputs["taps"] - 1).numpy()
    pairs = np.stack([response.real, response.imag], -1)
    return {"cfr": pairs[:, 0, 0, 0, 0, 0], "taps": np.abs(taps[:, 0, 0, 0, 0, 0]) ** 2}


def receivers(inputs: dict) -> Values:
    """SINR after LMMSE reception: by the parts of Sionna's block, and as it calls them; report, cell, frequency."""
    return {
        "lmmse": lmmse(inputs, inputs["load"], "single", as_called=False),
        "lmmse_double": lmmse(inputs, inputs["load"], "double", as_called=False),
        "lmmse_alone_double": lmmse(inputs, 0.0, "double", as_called=True),
        "lmmse_as_called_double": lmmse(inputs, inputs["load"], "double", as_called=True),
    }


def lmmse(inputs: dict, load: float, precision: str, as_called: bool) -> np.ndarray:
    """One receiver for each cell, all of them the same phone; what is not its own is scaled to the load."""
    pairs = np.array(inputs["signal"])
    signal = pairs[..., 0] + 1j * pairs[..., 1]
    cells, width = signal.shape[1], signal.shape[-1]
    grid = ResourceGrid(1, width, 30e3, num_tx=cells, num_streams_per_tx=1, precision=precision)
    block = LMMSEPostEqualizationSINR(grid, StreamManagement(np.eye(cells, dtype=int), 1), precision=precision)
    share = np.sqrt(np.eye(cells) + load * (1 - np.eye(cells)))
    heard = (signal[:, None] * share[:, :, None, None]).swapaxes(2, 3)[..., None, None, :]
    heard = tf.constant(heard, block.cdtype)
    if as_called:
        found = block(heard, tf.ones(1, block.rdtype))
    else:
        mine, others = block.get_per_rx_channels(heard)
        noise = tf.ones(mine.shape[:-1], block.rdtype)
        covariance = block.compute_interference_covariance_matrix(noise, others)
        found = block.compute_sinr(mine, others, noise, lmmse_matrix(mine, covariance, precision=precision))
    return found.numpy()[:, 0, :, :, 0].swapaxes(1, 2)


# ---- SYS -----------------------------------------------------------------------------------------------------


def effective(inputs: dict) -> Values:
    """Effective SINR of every channel and MCS, and the factors β that it is made with."""
    factors = {f"beta_{table}": EESM().beta_tensor.numpy()[table - 1, :count] for table, count in SCHEMES.items()}
    return {**factors, **{f"eesm_{table}": eesm(linear(inputs["sinr_db"]), table) for table in SCHEMES}}


def eesm(sinr: np.ndarray, table: int) -> np.ndarray:
    count = SCHEMES[table]
    wide = np.broadcast_to(sinr[:, None, None, :, None, None], (len(sinr), count, 1, sinr.shape[1], 1, 1))
    scheme = np.broadcast_to(np.arange(count, dtype=np.int32)[:, None], (len(sinr), count, 1))
    return EESM()(tf.constant(wide), tf.constant(scheme), mcs_table_index=table).numpy()[..., 0]


@cache
def tables() -> PHYAbstraction:
    """Of block errors; they take some seconds to read."""
    return PHYAbstraction()


def blocks(inputs: dict) -> Values:
    """Block error rates by carrier, level and MCS of table 1, and bits of a transport block by carrier and MCS."""
    level, abstraction = linear(inputs["level_db"]), tables()
    scheme = np.broadcast_to(np.arange(SCHEMES[1], dtype=np.int32), (len(level), SCHEMES[1]))
    wide = tf.constant(np.broadcast_to(level[:, None], scheme.shape))
    order, rate = decode_mcs_index(tf.constant(scheme[0]), 1, is_pusch=False)
    errors, sizes = [], []
    for carrier in inputs["carriers"]:
        elements = tf.fill(scheme.shape, carrier["subcarriers"] * inputs["symbols"])
        given = {"sinr_eff": wide, "num_allocated_re": elements, "mcs_table_index": 1, "mcs_category": PDSCH}
        errors.append(abstraction(tf.constant(scheme), **given, check_mcs_index_validity=False)[3])
        coded = order * elements[0]
        sizes.append(calculate_tb_size(order, rate, num_coded_bits=coded, return_cw_length=False, verbose=False)[0])
    return {"bler": np.array(errors), "block_bits": np.array(sizes).astype(int)}


def adapted(inputs: dict) -> Values:
    """The inner loop's choice for a channel over a whole slot of the first carrier, and what it comes to.

    Asked only where some MCS reaches the target: else 1.2.2 takes one that it has no table for, since 1 - (1 - ∞)^n
    is -∞ for even numbers n of code blocks. 2.2.0 has that mended.
    """
    abstraction = tables()
    loop = InnerLoopLinkAdaptation(abstraction, bler_target=inputs["bler_target"])
    found = []
    for sinr in linear(inputs["sinr_db"])[inputs["served"]]:
        whole = np.repeat(sinr, inputs["carriers"][0]["subcarriers"] // len(sinr))
        slot = tf.constant(np.broadcast_to(whole[:, None, None], (inputs["symbols"], len(whole), 1, 1)))
        mcs = loop(sinr=slot, mcs_table_index=1, mcs_category=PDSCH)
        _, _, level, error, _ = abstraction(mcs, sinr=slot, mcs_table_index=1, mcs_category=PDSCH)
        found.append((mcs.numpy()[0], level.numpy()[0], error.numpy()[0]))
    mcs, level, error = zip(*found, strict=True)
    return {"mcs": np.array(mcs), "mcs_effective": np.array(level), "mcs_bler": np.array(error)}


if __name__ == "__main__":
    main(*sys.argv[1:])
