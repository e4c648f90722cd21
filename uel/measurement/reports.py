"""Measurement reports of phones."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from uel._lazy import function_named
from uel.core.batch_record import BatchRecord
from uel.core.display.short_repr import range_text
from uel.core.display.viewable import Viewable
from uel.geo.tile import Tile
from uel.measurement.tiers import FEATURE_MASKS, features_of
from uel.radio.sites import Site, cells_of

if TYPE_CHECKING:
    import matplotlib.axes
    import pandas

_NOT_GIVEN: Any = None  # default of optional fields, filled in by `__post_init__`


@dataclass(frozen=True, eq=False, repr=False)
class Reports(Viewable, BatchRecord):
    """Reports of phones: RSRP of the cells heard, and ranges and angles of the serving cell or of all reported cells.

    A value that is absent has mask False and value 0. A cell that is not `heard` is censored, which is information;
    a report that was not `received` carries no information.

    Example:
        >>> import torch, uel
        >>> sites = (uel.Site(position=(0.0, 0.0, 25.0)), uel.Site(position=(90.0, 0.0, 25.0)))
        >>> truth = uel.FreeSpace(sites).paths(torch.tensor([[30.0, 40.0]]))
        >>> model = uel.ObservationModel()
        >>> reports = model.observe(truth, uel.reference_power_dbm(sites), torch.Generator().manual_seed(0))
        >>> reports.rsrp_dbm.shape, int(reports.serving)
        (torch.Size([1, 2]), 0)
    """

    rsrp_dbm: Float[Tensor, "*n cell"]
    """dBm, power of one resource element"""
    heard: Bool[Tensor, "*n cell"]
    """whether the report names the cell"""
    serving: Int[Tensor, "*n"]
    """index of the strongest reported cell (0 when none is heard)"""
    timing_advance: Float[Tensor, "*n"]
    """whole steps of 16·64·Tc/2^µ, of the serving cell"""
    has_timing_advance: Bool[Tensor, "*n"]
    """mask of `timing_advance`"""
    azimuth_deg: Float[Tensor, "*n"]
    """degrees clockwise from north, of the UE seen from the serving cell"""
    has_azimuth: Bool[Tensor, "*n"]
    """mask of `azimuth_deg`"""
    received: Bool[Tensor, "*n"] = _NOT_GIVEN
    """True unless given"""
    toa: Float[Tensor, "*n cell"] = _NOT_GIVEN
    """s, time of flight to each reported cell"""
    has_toa: Bool[Tensor, "*n cell"] = _NOT_GIVEN
    """mask of `toa`"""
    aoa_deg: Float[Tensor, "*n cell"] = _NOT_GIVEN
    """degrees clockwise from north, of the UE seen from each reported cell"""
    has_aoa: Bool[Tensor, "*n cell"] = _NOT_GIVEN
    """mask of `aoa_deg`"""

    def __post_init__(self) -> None:
        defaults = {"received": torch.ones_like(self.has_azimuth)}
        defaults |= dict.fromkeys(("toa", "aoa_deg"), torch.zeros_like(self.rsrp_dbm))
        defaults |= dict.fromkeys(("has_toa", "has_aoa"), torch.zeros_like(self.heard))
        for name, value in defaults.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)

    def with_tier(self, name: str) -> "Reports":
        """Reports restricted to the features of a tier. Raises `UelError` for an unknown tier."""
        absent = [FEATURE_MASKS[value] for value in set(FEATURE_MASKS) - set(features_of(name))]
        return self.with_masks(**{mask: torch.zeros_like(getattr(self, mask)) for mask in absent})

    def with_masks(self, **masks: Bool[Tensor, "..."]) -> "Reports":
        """Reports with other masks (`has_timing_advance` and so on); values that they mask are 0."""
        values = {value: getattr(self, value) * masks[mask] for value, mask in FEATURE_MASKS.items() if mask in masks}
        return replace(self, **masks, **values)

    def rotate_angles(self, offset_deg: Float[Tensor, " cell"]) -> "Reports":
        """Reports with each cell's angles rotated clockwise by its offset in degrees."""
        azimuth = (self.azimuth_deg + offset_deg[self.serving]) % 360.0 * self.has_azimuth
        return replace(self, azimuth_deg=azimuth, aoa_deg=(self.aoa_deg + offset_deg) % 360.0 * self.has_aoa)

    def at_serving(self, values: Shaped[Tensor, "*n cell"]) -> Shaped[Tensor, "*n"]:
        """The serving cell's value of each report."""
        return values.gather(-1, self.serving.unsqueeze(-1)).squeeze(-1)

    # ---- views ---------------------------------------------------------------------------------------

    @property
    def facts(self) -> dict[str, str]:
        """Number of reports and cells, how many cells a report hears, levels, and which features there are."""
        shape, cells = self.heard.shape[:-1], self.heard.shape[-1]
        heard = float(self.heard.sum(-1).float().mean()) if shape.numel() else 0.0
        masks = [self.has_timing_advance, self.has_azimuth, self.has_toa.any(-1), self.has_aoa.any(-1)]
        names = ("timing advance", "azimuth", "time of arrival", "angles of arrival")
        features = {name: f"in {int(mask.sum())}" for name, mask in zip(names, masks, strict=True) if mask.any()}
        missing = int((~self.received).sum())
        return {
            "reports": " × ".join(map(str, shape)),
            "cells": str(cells),
            "heard": f"{heard:.1f} a report",
            "RSRP": range_text(self.rsrp_dbm[self.heard], "dBm"),
            **features,
            **({"not received": str(missing)} if missing else {}),
        }

    def plot(
        self,
        ax: "matplotlib.axes.Axes | None" = None,
        *,
        position: Float[Tensor, "report 2"] | None = None,
        tile: Tile | None = None,
        sites: tuple[Site, ...] = (),
    ) -> "matplotlib.axes.Axes":
        """Draw the levels of each report, a column each; with positions the serving cell's levels on the map.

        Args:
            ax: Matplotlib axes to draw on; None: those of a new figure.
            position: of the phones, metres of the tile, where they are known.
            tile: below the positions, with its buildings.
            sites: drawn with the positions; none: those of the tile, if it has any.

        Raises:
            UelError: for no report, for reports of more axes than (report, cell), for positions that do not match the
                reports, and for a tile without positions.
        """
        return function_named("uel.plots.reports:plot_reports")(self, ax, position, tile, sites)

    def to_dataframe(self) -> "pandas.DataFrame":
        """A row for each cell that a report hears, with its level and what else is known of the link."""
        return function_named("uel.conversion.tables:report_rows")(self)


def reports_from_levels(
    level: Float[Tensor, "report cell"], toa: Float[Tensor, "report cell"] | None = None
) -> Reports:
    """Reports from levels (dBm) and times of flight (s); NaN marks a value that was not reported."""
    heard = ~level.isnan()
    zero = torch.zeros(len(level), device=level.device)
    toa = torch.full_like(level, torch.nan) if toa is None else toa
    return Reports(
        rsrp_dbm=level.nan_to_num(),
        heard=heard,
        serving=torch.where(heard, level, -torch.inf).argmax(-1),
        timing_advance=zero,
        has_timing_advance=zero.bool(),
        azimuth_deg=zero,
        has_azimuth=zero.bool(),
        toa=toa.nan_to_num(),
        has_toa=heard & ~toa.isnan(),
    )


def rotate_to_assumed_azimuths(reports: Reports, true: tuple[Site, ...], assumed: tuple[Site, ...]) -> Reports:
    """Reports as a locator reads them that assumes the antenna azimuths of `assumed` instead of the `true` ones.

    An antenna measures angles from its boresight, so an error of its assumed azimuth goes into every compass angle.
    Reports are returned as they are where the azimuths agree.
    """
    offset_deg = torch.tensor(
        [b.azimuth_deg - a.azimuth_deg for (_, a), (_, b) in zip(cells_of(true), cells_of(assumed), strict=True)],
        device=reports.heard.device,
    )
    return reports.rotate_angles(offset_deg) if offset_deg.any() else reports
