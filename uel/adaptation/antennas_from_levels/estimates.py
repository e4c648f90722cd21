"""Antennas of a whole network from labelled squares, or from reports whose places are not known."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from uel.adaptation.antennas_from_levels.cell_fit import CellFit, CellObservations, fit_cell
from uel.adaptation.antennas_from_levels.config import AntennaFitConfig
from uel.adaptation.antennas_from_levels.sector_pattern import (
    attenuation_by_azimuth_db,
    attenuation_by_tilt_db,
    log_distance,
)
from uel.core.display.short_repr import ShortRepr
from uel.errors import UelError
from uel.measurement.measured_network import MeasuredCells, MeasuredNetwork

MIN_HEIGHT = 3.0  # m: of lower antennas, or of those whose height nobody noted, no pattern is fitted
MIN_WEIGHT = 1e-3  # reports at a place, below which it is left out
REPORTS_PER_CHUNK = 256


@dataclass(frozen=True, eq=False, repr=False)
class AntennaEstimates(ShortRepr):
    """Posterior of every antenna of a network; the believed values where a cell was not fitted."""

    azimuth_deg: Float[Tensor, " cell"]
    azimuth_std_deg: Float[Tensor, " cell"]
    tilt_deg: Float[Tensor, " cell"]
    """electrical and mechanical together"""
    tilt_std_deg: Float[Tensor, " cell"]
    coefficients: Float[Tensor, "cell 4"]
    """intercept, slope and strengths of the law of each cell's levels"""
    is_fitted: Bool[Tensor, " cell"]

    @staticmethod
    def believed(cells: MeasuredCells, config: AntennaFitConfig) -> "AntennaEstimates":
        """The list's values with the prior's standard deviations and laws."""
        pairs = (config.intercept, config.slope, config.horizontal_strength, config.vertical_strength)
        law = torch.tensor([mean for mean, _ in pairs], device="cpu").repeat(len(cells), 1)
        flat = torch.ones(len(cells), device="cpu")
        none = torch.zeros(len(cells), dtype=torch.bool, device="cpu")
        azimuth, tilt = cells.azimuth_deg.clone(), cells.tilt_deg.clone()
        return AntennaEstimates(azimuth, config.azimuth_std_deg * flat, tilt, config.tilt_std_deg * flat, law, none)

    def with_fits(self, fits: dict[int, CellFit]) -> "AntennaEstimates":
        """The estimates with those of some cells replaced."""
        names = ("azimuth_deg", "azimuth_std_deg", "tilt_deg", "tilt_std_deg", "coefficients", "is_fitted")
        new = {name: getattr(self, name).clone() for name in names}
        for cell, fit in fits.items():
            new["azimuth_deg"][cell], new["azimuth_std_deg"][cell] = fit.azimuth
            new["tilt_deg"][cell], new["tilt_std_deg"][cell] = fit.tilt
            new["coefficients"][cell], new["is_fitted"][cell] = fit.coefficients, True
        return AntennaEstimates(**new)

    def cells(self, cells: MeasuredCells) -> MeasuredCells:
        """The network's cells with these azimuths and tilts: the mechanical tilt takes the difference."""
        mechanical = self.tilt_deg - cells.electrical_tilt_deg
        return replace(cells, azimuth_deg=self.azimuth_deg % 360.0, mechanical_tilt_deg=mechanical)

    def level_dbm(self, cells: MeasuredCells, position: Float[Tensor, "place 2"]) -> Float[Tensor, "cell place"]:
        """Levels by the fitted laws, without the fields."""
        rows = []
        for number in range(len(cells)):
            offset, height = position - cells.position[number], float(cells.height[number])
            columns = [
                torch.ones(len(offset), device="cpu"),
                log_distance(offset, height),
                -attenuation_by_azimuth_db(offset, self.azimuth_deg[number : number + 1])[0],
                -attenuation_by_tilt_db(offset, height, self.tilt_deg[number : number + 1])[0],
            ]
            rows.append(cells.power_dbm[number] + torch.stack(columns, 1) @ self.coefficients[number])
        return torch.stack(rows)


def antennas_from_labels(
    network: MeasuredNetwork, config: AntennaFitConfig, seed: int, min_squares: int = 200
) -> AntennaEstimates:
    """Azimuths and tilts from squares of known place, around those of the network's list.

    Args:
        network: labelled squares; its cells have the believed antennas.
        config: priors.
        seed: of the squares that are drawn where there are more than `config.max_squares`.
        min_squares: cells that fewer squares report keep what is believed.

    Raises:
        UelError: where no cell is reported by so many squares.
    """
    generator = torch.Generator().manual_seed(seed)
    count = network.is_reported.sum(0)
    chosen = (_has_pattern(network.cells) & (count >= min_squares)).nonzero()[:, 0].tolist()
    if not chosen:
        got = f"{int(count.max()) if len(count) else 0} squares at most report a cell with a known antenna"
        raise UelError(f"no cell is reported by {min_squares} squares", got=got, do="label more squares")
    fits = {}
    for cell in chosen:
        reported = network.is_reported[:, cell]
        heard, heard_weight = _draw(reported.nonzero()[:, 0], config.max_squares // 2, generator)
        silent, silent_weight = _draw((~reported).nonzero()[:, 0], config.max_squares // 2, generator)
        index = torch.cat([heard, silent])
        is_heard = torch.arange(len(index), device="cpu") < len(heard)
        # Evidence is that of the drawn squares: those without the cell count for as many as they stand for.
        observations = CellObservations(
            network.position[index] - network.cells.position[cell],
            torch.where(is_heard, network.level_dbm[index, cell] - network.cells.power_dbm[cell], 0.0),
            is_heard.float(),
            torch.where(is_heard, 0.0, silent_weight / heard_weight),
        )
        fits[cell] = _fit(observations, network.cells, cell, config)
    return AntennaEstimates.believed(network.cells, config).with_fits(fits)


def antennas_from_reports(
    network: MeasuredNetwork, places: Float[Tensor, "place 2"], config: AntennaFitConfig, rounds: int = 3
) -> AntennaEstimates:
    """Azimuths and tilts from reports whose places are not used: expectation-maximisation.

    The places of each report are marginalised: the E step is its posterior over `places` under the present antennas,
    the M step fits azimuth and tilt of every cell to all places, each with the probability of the reports (Dempster,
    Laird and Rubin, 1977). `network.row` and `network.column` are not looked at.

    Args:
        network: reports; its cells have the believed antennas.
        places: where a phone can be, m; some hundred, evenly over the district.
        config: priors.
        rounds: of both steps.
    """
    estimates = AntennaEstimates.believed(network.cells, config)
    cells = [c for c in _has_pattern(network.cells).nonzero()[:, 0].tolist() if bool(network.is_reported[:, c].any())]
    for _ in range(rounds):
        posterior = place_posterior(network, estimates.level_dbm(network.cells, places), config)
        heard = network.is_reported.float().T @ posterior
        total = torch.where(network.is_reported, network.level_dbm, 0.0).T @ posterior
        silent = (~network.is_reported).float().T @ posterior
        fits = {}
        for cell in cells:
            used = (heard[cell] + silent[cell] > MIN_WEIGHT).nonzero()[:, 0]
            level = total[cell, used] / heard[cell, used].clamp(min=1e-9) - network.cells.power_dbm[cell]
            observations = CellObservations(
                places[used] - network.cells.position[cell], level, heard[cell, used], silent[cell, used]
            )
            fits[cell] = _fit(observations, network.cells, cell, config)
        # Laws stay as expected: one that is fitted to places that it has chosen itself drifts off.
        estimates = replace(estimates.with_fits(fits), coefficients=estimates.coefficients)
    return estimates


def place_posterior(
    network: MeasuredNetwork, level_dbm: Float[Tensor, "cell place"], config: AntennaFitConfig
) -> Float[Tensor, "report place"]:
    """Probability of every place for every report, under a uniform prior: grid Bayes with silence.

    Levels and silences of different cells count as independent, to the power `config.place_exponent`, since fields of
    cells are alike.
    """
    spread = math.hypot(config.noise_std_db, config.field_std_db)
    width = math.hypot(spread, config.threshold_width_db)
    silent = (1 - config.ceiling * torch.special.ndtr((level_dbm - config.threshold_dbm) / width)).log()
    chunks = []
    for part in torch.arange(len(network), device="cpu").split(REPORTS_PER_CHUNK):
        is_reported, level = network.is_reported[part], network.level_dbm[part]
        heard = is_reported.float()
        # The square (level - mean)² in three products, without a tensor of report, cell and place.
        squares = (heard * level.square()).sum(1, keepdim=True) - 2 * (heard * level) @ level_dbm
        squares = squares + heard @ level_dbm.square()
        log_p = (1 - heard) @ silent - squares / (2 * spread**2)
        chunks.append((config.place_exponent * log_p).softmax(1))
    return torch.cat(chunks)


def _has_pattern(cells: MeasuredCells) -> Bool[Tensor, " cell"]:
    return cells.is_listed & (cells.height >= MIN_HEIGHT)


def _draw(
    squares: Int[Tensor, " square"], most: int, generator: torch.Generator
) -> tuple[Int[Tensor, " drawn"], float]:
    """At most so many squares, and how many each of them stands for."""
    drawn = squares[torch.randperm(len(squares), generator=generator, device=generator.device)[:most]]
    return drawn, len(squares) / max(len(drawn), 1)


def _fit(observations: CellObservations, cells: MeasuredCells, cell: int, config: AntennaFitConfig) -> CellFit:
    threshold = config.threshold_dbm - float(cells.power_dbm[cell])
    believed = float(cells.azimuth_deg[cell]), float(cells.tilt_deg[cell])
    return fit_cell(observations, *believed, float(cells.height[cell]), threshold, config)
