"""Value and gradient with respect to a material: frozen paths against stock Sionna's full solve."""

import torch

from tests.bench.common import STOCK_SAMPLES, Stock, compare, munich, outdoors

import drjit as dr  # isort: skip
import mitsuba as mi  # isort: skip

NAME = "material/concrete/conductivity"


def run() -> dict[str, float]:
    sim, position = munich(), outdoors(64, torch.Generator().manual_seed(3))
    stock, frozen = Stock(len(position)), sim.freeze(position)
    material = sim.scene.radio_materials["concrete"]
    before = mi.Float(material.conductivity)
    columns = [mi.TensorXf(c.contiguous().numpy()) for c in position.unbind(-1)]

    @dr.wrap(source="torch", target="drjit")
    def gain(sigma):
        material.conductivity = sigma.array
        real, imag = stock.solve(*columns).a
        return dr.sum(dr.square(real) + dr.square(imag))

    def theirs(turn: int) -> None:
        gain(torch.tensor([0.1 + 0.01 * turn], requires_grad=True)).backward()
        material.conductivity = before

    def ours(turn: int) -> None:
        sigma = torch.tensor(0.1 + 0.01 * turn, requires_grad=True)
        frozen.trace(**{NAME: sigma}).gain().sum().backward()

    fast, slow, ratio = compare(ours, theirs, f"frozen paths ({STOCK_SAMPLES} samples)")
    return {"frozen_ms": 1e3 * fast, "stock_ms": 1e3 * slow, "frozen_paths_ratio": ratio}
