"""Configurations of the networks; no framework is imported here."""

from dataclasses import dataclass
from typing import Literal

from uel.core.outside.number_ranges import require_numbers
from uel.errors import UelError


@dataclass(frozen=True, kw_only=True)
class LocatorConfig:
    """Sizes and parts of the localization network."""

    patches: int = 32
    """patches on a side of the tile: the classes of the coarse heatmap"""
    width: int = 48
    """width of all tokens"""
    pixel_width: int = 16
    """channels at full resolution, before pixels are pooled into patches"""
    depth: int = 2
    """layers of the map encoder; levels of a U-Net"""
    radio_depth: int = 2
    """layers of the radio encoder"""
    heads: int = 2
    """attention heads"""
    evidence: Literal["skip", "input", "none"] = "skip"
    """where each pixel's log-likelihood (the evidence) enters. skip: the network and the logits; input: the network
    alone, which has to learn its weight; none: neither (for ablations)"""
    encoder: Literal["pooled", "vit", "two_stream", "unet"] = "pooled"
    """pooled: pixels pooled into patches, and equivariant layers; vit: all channels in one vision transformer;
    two_stream: one for radio maps and evidence, one for buildings; unet: no transformer and no evidence but a U-Net of
    `depth` levels, a baseline. All but the first depend on the tile's orientation: train them with
    augment.symmetries"""
    patch_pixels: int = 4
    """pixels on a side of a patch in a vision transformer's input; maps with another number are resampled"""
    head: Literal["matched", "linear"] = "matched"
    """matched: each patch is scored by its own token against the report's; linear: one vector of report and map scores
    all patches by weights of their own, which depends on the orientation, too (for ablations)"""
    cell_ids: bool = False
    """cells get a learned embedding of their index (for ablations: it does not transfer to another deployment)"""
    cells: int = 8
    """strongest cells of a report in a U-Net's input"""
    corrected_maps: bool = False
    """it is trained on maps that labelled reports corrected (`uel.adaptation.site_adaptation`), and gets such maps
    where there are labelled reports; their error bars then count in its evidence"""

    def __post_init__(self) -> None:
        require_numbers(self)
        names = ("width", "pixel_width", "depth", "radio_depth", "heads", "patch_pixels", "cells")
        for name in names:
            if getattr(self, name) < 1:
                raise UelError(f"locator.{name} must be at least 1", got=getattr(self, name), do="give 1 or more")
        if self.width % self.heads:
            got = f"width {self.width}, heads {self.heads}"
            raise UelError("locator.width must be a multiple of locator.heads", got=got, do="give 48 and 2, say")
        if self.patches < 2 or self.patches % 2:
            raise UelError(
                "locator.patches must be even: they are pooled in blocks of 2 × 2",
                got=self.patches,
                do="give an even number, 32 say",
            )
        if self.encoder == "unet" and (self.evidence, self.head, self.cell_ids) != ("none", "matched", False):
            got = f"evidence {self.evidence}, head {self.head}, cell_ids {self.cell_ids}"
            do = "give --locator.evidence none, and leave out head and cell_ids"
            raise UelError("locator.encoder unet has no evidence, no linear head and no cell_ids", got=got, do=do)


@dataclass(frozen=True, kw_only=True)
class RestorerConfig:
    """Sizes of the map-restoration network."""

    width: int = 24
    """channels at full resolution"""
    levels: int = 4
    """resolutions, each half as fine as the one before and half as wide again"""

    def __post_init__(self) -> None:
        require_numbers(self)
        if min(self.width, self.levels) < 1:
            got = f"width {self.width}, levels {self.levels}"
            raise UelError("map_restorer.width and map_restorer.levels must be at least 1", got=got, do="give 24 and 4")


@dataclass(frozen=True, kw_only=True)
class LinkNetworkConfig:
    """Sizes of the network that predicts levels of links of measured networks."""

    width: int = 128
    """width of its layers"""
    depth: int = 3
    """residual layers"""
    dropout: float = 0.4
    """fraction of a layer's outputs that are left out in training"""

    def __post_init__(self) -> None:
        require_numbers(self)
        if min(self.width, self.depth) < 1 or not 0 <= self.dropout < 1:
            got = f"width {self.width}, depth {self.depth}, dropout {self.dropout}"
            raise UelError(
                "links.width and links.depth must be at least 1, links.dropout below 1",
                got=got,
                do="give 128, 3 and 0.4",
            )


@dataclass(frozen=True, kw_only=True)
class EvidenceNetworkConfig:
    """Sizes of the network that weighs the evidence of predicted maps."""

    width: int = 16
    """channels of a place"""
    depth: int = 2
    """convolutions over the neighbourhood"""

    def __post_init__(self) -> None:
        require_numbers(self)
        if min(self.width, self.depth) < 1:
            got = f"width {self.width}, depth {self.depth}"
            raise UelError("evidence.width and evidence.depth must be at least 1", got=got, do="give 16 and 2")


RESTORER_FILE = "restorer.pt"
