"""What this repository makes of inputs.json, in the shapes of `sionna_tf.py`."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from sim_bridge.channel import ofdm, phy_abstraction
from sim_bridge.paths.path_set import PathSet
from uel.core.units import from_db
from uel.radio import mimo
from uel.radio.config import Carrier

INPUTS = json.loads((Path(__file__).parent / "inputs.json").read_text())


@dataclass(frozen=True, kw_only=True)
class CarrierOfInputs(Carrier):
    """A carrier of as many subcarriers as Sionna was given: inputs.json is older than the tables of resource blocks."""

    subcarriers: int = 0

    @property
    def resource_elements(self) -> int:
        return self.subcarriers


CARRIERS = [CarrierOfInputs(**carrier) for carrier in INPUTS["carriers"]]
ONE = torch.zeros(1, 1, 3)  # a single antenna at the cell's position


@cache
def ours() -> dict[str, Tensor]:
    """Every quantity that Sionna is asked for."""
    return {**_channels(), **_receivers(), **_effective(), **_blocks(), **_adapted()}


def _links() -> PathSet:
    """Each link is of another phone, all of them to one cell."""
    links = INPUTS["links"]
    target = torch.tensor([number for number, link in enumerate(links) for _ in link["delay"]])
    # The recorded answers are of delays in single precision.
    delay = torch.tensor([value for link in links for value in link["delay"]]).double()
    pairs = torch.tensor([pair for link in links for pair in link["amplitude"]])
    field, zero = torch.view_as_complex(pairs)[:, None, None], torch.zeros_like(target)
    axis, still = torch.tensor([1.0, 0.0, 0.0]).expand(len(delay), 3), torch.zeros(len(delay))
    power, kinds = pairs.square().sum(-1), zero[:, None].expand(-1, 4)
    return PathSet(len(links), 1, target, zero, power, delay, axis, -axis, still, kinds, field)


def _channels() -> dict[str, Tensor]:
    links, carrier = _links(), Carrier(frequency=INPUTS["carrier_frequency"], bandwidth=INPUTS["bandwidth"])
    response = ofdm.frequency_response(links, ONE, carrier, torch.tensor(INPUTS["frequency"]))
    return {"cfr": torch.view_as_real(response[:, 0, 0, 0]), "taps": ofdm.tap_power(links, ONE, carrier)[:, 0]}


def _receivers() -> dict[str, Tensor]:
    signal = torch.view_as_complex(torch.tensor(INPUTS["signal"], dtype=torch.float64))
    noise = torch.ones(signal.shape[:2], dtype=torch.float64)
    loaded, alone = (
        mimo.lmmse_sinr(signal, mimo.interference_covariance(signal, load, noise)) for load in (INPUTS["load"], 0.0)
    )
    return {"lmmse": loaded, "lmmse_double": loaded, "lmmse_alone_double": alone}


def _sinr() -> Tensor:
    return from_db(torch.tensor(INPUTS["sinr_db"], dtype=torch.float64)).float()


def _effective() -> dict[str, Tensor]:
    """Of table 1, which the chain uses; of table 2 by Sionna 2.2.0's block that it uses."""
    sinr, block, count = _sinr(), phy_abstraction._sionna()[1], {1: 29, 2: 28}
    wide = sinr[:, None, None, :, None, None].expand(-1, count[2], -1, -1, -1, -1)
    scheme = torch.arange(count[2], dtype=torch.int32)[:, None].expand(len(sinr), -1, -1)
    second = block(wide, mcs_index=scheme, mcs_table_index=2)[..., 0]
    factors = {f"beta_{table}": block.beta_tensor[table - 1, :many] for table, many in count.items()}
    return {**factors, "eesm_1": phy_abstraction.effective_sinr(sinr), "eesm_2": second}


def _blocks() -> dict[str, Tensor]:
    level = from_db(torch.tensor(INPUTS["level_db"], dtype=torch.float64)).float()
    wide = level[:, None].expand(-1, phy_abstraction.MCS_COUNT).contiguous()
    return {
        "bler": torch.stack([phy_abstraction._block_errors(wide, carrier) for carrier in CARRIERS]),
        "block_bits": torch.stack([phy_abstraction._block_bits(carrier) for carrier in CARRIERS]),
    }


def _adapted() -> dict[str, Tensor]:
    best = phy_abstraction.adapt_link(_sinr()[INPUTS["served"]], CARRIERS[0], INPUTS["bler_target"])
    return {"mcs": best.mcs, "mcs_effective": best.effective, "mcs_bler": best.bler}
