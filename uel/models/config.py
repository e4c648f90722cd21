"""Configurations of the networks; no framework is imported here."""

from dataclasses import dataclass
from typing import Literal

from uel.errors import UelError


@dataclass(frozen=True, kw_only=True)
class LocatorConfig:
    """Sizes of the network."""

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
    """skip: the evidence enters the network and the logits; input: the network alone, which has to learn what it is
    worth; none: neither (for ablations)"""
    encoder: Literal["pooled", "vit", "two_stream", "unet"] = "pooled"
    """pooled: pixels pooled into patches, and layers that know no direction; vit: all channels in one vision
    transformer; two_stream: one for radio maps and evidence, one for buildings; unet: no transformer and no evidence
    but a U-Net of `depth` levels, a baseline. All but the first know where north is: train them with
    augment.symmetries"""
    patch_pixels: int = 4
    """pixels on a side of a patch that a vision transformer sees; maps of others are resampled"""
    head: Literal["matched", "linear"] = "matched"
    """matched: each patch is scored by its own token against the report's; linear: one vector of report and map scores
    all patches by weights of their own, which knows where north is, too (for ablations)"""
    cell_ids: bool = False
    """cells are told apart by a learned embedding of their index (for ablations: of no use in another place)"""
    cells: int = 8
    """strongest cells of a report that a U-Net is shown"""
    corrected_maps: bool = False
    """it learns from maps that labelled reports corrected (`uel.adaptation.site_adaptation`), and is shown such maps
    where there are labelled reports; their error bars then count in its evidence"""

    def __post_init__(self) -> None:
        sizes = (self.width, self.pixel_width, self.depth, self.radio_depth, self.heads, self.patch_pixels, self.cells)
        if min(sizes) < 1:
            raise UelError("a network needs width, layers, heads and pixels", got=self, do="give at least one of each")
        if self.width % self.heads:
            raise UelError("the width must divide by the heads", got=(self.width, self.heads), do="try 48 and 2")
        if self.patches < 2 or self.patches % 2:
            raise UelError(
                "patches are looked at in blocks of 2 × 2", got=f"{self.patches} a side", do="give an even number"
            )
        if self.encoder == "unet" and (self.evidence, self.head, self.cell_ids) != ("none", "matched", False):
            got = f"evidence {self.evidence}, head {self.head}, cell_ids {self.cell_ids}"
            raise UelError("a U-Net has no evidence, head or cells' indices", got=got, do="give evidence none alone")


@dataclass(frozen=True, kw_only=True)
class RestorerConfig:
    """Sizes of the network."""

    width: int = 24
    """channels at full resolution"""
    levels: int = 4
    """resolutions, each half as fine as the one before and half as wide again"""

    def __post_init__(self) -> None:
        if min(self.width, self.levels) < 1:
            raise UelError("a restorer has channels and levels", got=self, do="give at least one of each")


RESTORER_FILE = "restorer.pt"
