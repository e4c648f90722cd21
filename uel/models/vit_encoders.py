"""Vision transformers and a linear head: network parts that depend on the tile's orientation, for comparison.

They do not generalise to a rotated or mirrored tile by themselves: train them with `augment.symmetries`. Cells stay a
set, and a report's result does not depend on the others of its batch.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from uel.models.equivariant_layers import Attention, zero_initialised
from uel.models.inputs import BUILDING_CHANNELS, RADIO_CHANNELS


class OneStream(nn.Module):
    """Early fusion: a Vision Transformer over all channels, whose tokens then attend to the radio tokens.

    Each patch of a map is resampled to `pixels` on a side (means, or repeats). With another number than the maps' own
    the transformer gets blurred evidence; the heatmap gets it unblurred in any case.
    """

    def __init__(self, patches: int, pixels: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.side: int = patches * pixels
        self.vit: nn.Module = _vision_transformer(
            RADIO_CHANNELS + BUILDING_CHANNELS, patches, pixels, width, depth, heads
        )
        self.radio: CrossBlock = CrossBlock(width, heads)
        self.norm: nn.LayerNorm = nn.LayerNorm(width)

    def forward(
        self, channels: Float[Tensor, "batch channel row column"], radio: Float[Tensor, "batch token width"]
    ) -> Float[Tensor, "batch patch width"]:
        return self.norm(self.radio(self.vit(F.adaptive_avg_pool2d(channels, self.side)), radio))


class TwoStreams(nn.Module):
    """A Vision Transformer for radio maps and evidence and one for buildings, joined after mutual cross-attention.

    The joined tokens then attend to the radio tokens. Patches are resampled as in `OneStream`.
    """

    def __init__(self, patches: int, pixels: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.side: int = patches * pixels
        self.vits: nn.ModuleList = nn.ModuleList(
            _vision_transformer(channels, patches, pixels, width, depth, heads)
            for channels in (RADIO_CHANNELS, BUILDING_CHANNELS)
        )
        self.across: nn.ModuleList = nn.ModuleList(CrossBlock(width, heads) for _ in self.vits)
        self.join: nn.Linear = nn.Linear(2 * width, width)
        self.radio: CrossBlock = CrossBlock(width, heads)
        self.norm: nn.LayerNorm = nn.LayerNorm(width)

    def forward(
        self, channels: Float[Tensor, "batch channel row column"], radio: Float[Tensor, "batch token width"]
    ) -> Float[Tensor, "batch patch width"]:
        of_radio, of_buildings = channels.split([RADIO_CHANNELS, BUILDING_CHANNELS], 1)
        radio_tokens = self.vits[0](F.adaptive_avg_pool2d(of_radio, self.side))
        # A batch is of one tile: its buildings are encoded once.
        building_tokens = self.vits[1](F.adaptive_avg_pool2d(of_buildings[:1], self.side)).expand_as(radio_tokens)
        both = [self.across[0](radio_tokens, building_tokens), self.across[1](building_tokens, radio_tokens)]
        return self.norm(self.radio(self.join(torch.cat(both, -1)), radio))


class CrossBlock(nn.Module):
    """Cross-attention of tokens to others, then an MLP on each token."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norms: nn.ModuleList = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attention: Attention = Attention(width, heads)
        self.mlp: nn.Sequential = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(
        self, x: Float[Tensor, "batch n width"], context: Float[Tensor, "batch m width"]
    ) -> Float[Tensor, "batch n width"]:
        x = x + self.attention(self.norms[0](x), context)
        return x + self.mlp(self.norms[1](x))


class LinearHead(nn.Module):
    """Scores patches by weights of their own from one vector: the report's summary after attention to all patches."""

    def __init__(self, width: int, heads: int, patches: int) -> None:
        super().__init__()
        self.fuse, self.norm = CrossBlock(width, heads), nn.LayerNorm(width)
        self.logits: nn.Module = zero_initialised(nn.Linear(width, patches**2))

    def forward(
        self, tokens: Float[Tensor, "batch patch width"], summary: Float[Tensor, "batch 1 width"]
    ) -> Float[Tensor, "batch patch"]:
        return self.logits(self.norm(self.fuse(summary, tokens)))[:, 0]


def _vision_transformer(channels: int, patches: int, pixels: int, width: int, depth: int, heads: int) -> nn.Module:
    """Vision Transformer with one token for each patch (Dosovitskiy et al., ICLR 2021)."""
    from timm.models.vision_transformer import VisionTransformer  # seconds of imports that other networks do not need

    return VisionTransformer(
        img_size=patches * pixels,
        patch_size=pixels,
        in_chans=channels,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        class_token=False,
        global_pool="",
        num_classes=0,
    )
