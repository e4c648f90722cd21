"""Attention weights of a locator, recomputed from the inputs of its layers."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from uel.geo.tile_maps import TileMaps
from uel.measurement.reports import Reports
from uel.models.equivariant_layers import Attention
from uel.models.inputs import cell_tokens
from uel.models.locator import Locator


def attention_weights(
    layer: Attention, x: Float[Tensor, "batch n width"], context: Float[Tensor, "batch m width"]
) -> Tensor:
    """Attention of `x` to `context`, mean over heads: Float, `batch n m`, each row sums to 1."""
    query = layer.query(x).unflatten(-1, (layer.heads, -1)).transpose(1, 2)
    key = layer.key_value(context).chunk(2, -1)[0].unflatten(-1, (layer.heads, -1)).transpose(1, 2)
    return (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1).mean(1)


def summary_attention(locator: Locator, reports: Reports, maps: TileMaps) -> Float[Tensor, "layer cell"]:
    """Attention of the first report's summary token to each cell, for each layer of the radio encoder.

    Its attention to itself is left out, so that rows may sum to less than 1. A U-Net has no attention.
    """
    weights: list[Tensor] = []

    def record(layer: Any, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        weights.append(attention_weights(layer, *inputs)[0, 0, 1:])

    handles = [layer.register_forward_hook(record) for layer in locator.radio_encoder.blocks]
    try:
        with torch.no_grad():
            locator.radio_encoder(cell_tokens(reports[:1], maps))
    finally:
        for handle in handles:
            handle.remove()
    return torch.stack(weights)
