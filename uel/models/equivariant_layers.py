"""Layers that are equivariant to rotations by 90° and to reflections: a turned map gives the same result, turned."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from uel.errors import UelError


class IsotropicConv(nn.Module):
    """A 3×3 convolution with one weight for the centre, one for the four edges and one for the four corners.

    It commutes with rotations by 90° and with mirror images (the group D4).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight: nn.Parameter = nn.Parameter(torch.randn(3, outputs, inputs, device="cpu") / (3 * inputs) ** 0.5)
        self.bias: nn.Parameter = nn.Parameter(torch.zeros(outputs, device="cpu"))
        ring = torch.tensor([[2, 1, 2], [1, 0, 1], [2, 1, 2]], device="cpu")
        share = torch.stack([(ring == k) / (ring == k).sum() for k in range(3)])
        self.register_buffer("share", share, persistent=False)

    def forward(self, x: Float[Tensor, "batch inputs row column"]) -> Float[Tensor, "batch outputs row column"]:
        kernel = torch.einsum("koi,kyx->oiyx", self.weight, self.share)
        return F.conv2d(x, kernel, self.bias, padding=1)


class Attention(nn.Module):
    """Multi-head attention of `x` to `context` (Vaswani et al. 2017), without positions."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out: nn.Linear = nn.Linear(width, width)

    def forward(
        self, x: Float[Tensor, "batch n width"], context: Float[Tensor, "batch m width"]
    ) -> Float[Tensor, "batch n width"]:
        query, key, value = (
            v.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for v in (self.query(x), *self.key_value(context).chunk(2, -1))
        )
        return self.out(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class MapBlock(nn.Module):
    """One layer of the map encoder: convolution, self-attention, cross-attention to the radio tokens, then an MLP.

    The keys of self-attention are blocks of 2×2 patches (spatial-reduction attention, Wang et al., PVT, 2021): a
    quarter of the keys for the same reach.
    """

    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.norms: nn.ModuleList = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.local: IsotropicConv = IsotropicConv(width, width)
        self.self_attention, self.cross_attention = Attention(width, heads), Attention(width, heads)
        self.mlp: nn.Sequential = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(
        self, x: Float[Tensor, "batch patch width"], radio: Float[Tensor, "batch token width"]
    ) -> Float[Tensor, "batch patch width"]:
        image = self.norms[0](x).transpose(1, 2).unflatten(2, (self.side, self.side))
        x = x + self.local(image).flatten(2).transpose(1, 2)
        y = self.norms[1](x)
        blocks = F.avg_pool2d(y.transpose(1, 2).unflatten(2, (self.side, self.side)), 2)
        x = x + self.self_attention(y, blocks.flatten(2).transpose(1, 2))
        x = x + self.cross_attention(self.norms[2](x), radio)
        return x + self.mlp(self.norms[3](x))


class RadioEncoder(nn.Module):
    """Transformer over one token per cell and a summary token.

    Cells are a set, unless `ids` is above 0: then up to `ids` cells get an embedding of their index.
    """

    def __init__(self, features: int, width: int, heads: int, depth: int, ids: int = 0) -> None:
        super().__init__()
        self.embed: nn.Linear = nn.Linear(features, width)
        self.ids: nn.Parameter | None = nn.Parameter(torch.zeros(ids, width, device="cpu")) if ids else None
        self.summary: nn.Parameter = nn.Parameter(torch.zeros(1, 1, width, device="cpu"))
        self.blocks: nn.ModuleList = nn.ModuleList(Attention(width, heads) for _ in range(depth))
        self.mlps: nn.ModuleList = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
            for _ in range(depth)
        )
        self.norms: nn.ModuleList = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))

    def forward(self, cells: Float[Tensor, "batch cell feature"]) -> Float[Tensor, "batch token width"]:
        x = torch.cat([self.summary.expand(cells.shape[0], -1, -1), self._embedded(cells)], dim=1)
        for attention, norm, mlp in zip(self.blocks, self.norms, self.mlps, strict=True):
            y = norm(x)
            x = x + attention(y, y)
            x = x + mlp(x)
        return x

    def _embedded(self, cells: Float[Tensor, "batch cell feature"]) -> Float[Tensor, "batch cell width"]:
        """Tokens of cells; raises `UelError` for more of them than there are learned indices."""
        if self.ids is None:
            return self.embed(cells)
        if cells.shape[1] > len(self.ids):
            do = f"give a map of up to {len(self.ids)} cells, or train with locator.cell_ids off"
            raise UelError("the map has more cells than this locator has cell_ids", got=cells.shape[1], do=do)
        return self.embed(cells) + self.ids[: cells.shape[1]]


def u_net_pass(
    x: Float[Tensor, "batch inputs row column"], down: nn.ModuleList, up: nn.ModuleList, pool: Callable[..., Tensor]
) -> Float[Tensor, "batch outputs row column"]:
    """Forward pass of a U-Net: a stage at each resolution, `pool` between them, and back with skip connections."""
    x = down[0](x.contiguous(memory_format=torch.channels_last))
    skips = []
    for stage in down[1:]:
        skips.append(x)
        x = stage(pool(x, 2, ceil_mode=True))
    for stage, skip in zip(up, reversed(skips), strict=True):
        x = stage(torch.cat([F.interpolate(x, size=skip.shape[-2:]), skip], 1))
    return x


def zero_initialised(layer: nn.Linear | nn.Conv2d) -> nn.Module:
    """The layer with weights and biases of zero: its output is zero until it is trained."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer
