"""Cells of a log's rows by their identities: names that the user gives, else what the network knows of its cells."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from uel.errors import UelError
from uel.measurement.logs.config import ColumnConfig
from uel.measurement.logs.rules.quantities import to_hertz
from uel.radio.carriers.bands import TECHNOLOGIES, Technology
from uel.radio.cells.directory import FREQUENCY_TOLERANCE, CellDirectory
from uel.radio.cells.identity import ObservedCell, is_absent, with_node
from uel.radio.sites import Site, cell_positions, cells_of

IDENTITY_COLUMNS = ("cell", "global_id", "cell_id", "node", "pci", "arfcn", "frequency", "technology")
TECHNOLOGY_SPELLINGS: dict[str, str] = {
    "lte": "lte", "4g": "lte", "lteca": "lte", "lte+": "lte", "eutra": "lte", "eutran": "lte", "tdd": "lte",
    "fdd": "lte", "13": "lte", "nr": "nr", "5g": "nr", "nrsa": "nr", "nrnsa": "nr", "5gnr": "nr", "20": "nr",
    "5gsa": "nr", "gsm": "gsm", "2g": "gsm", "edge": "gsm", "gprs": "gsm", "umts": "umts", "wcdma": "umts",
    "3g": "umts", "hspa": "umts", "hspa+": "umts", "hsdpa": "umts", "nbiot": "nb_iot", "nb_iot": "nb_iot",
}  # fmt: skip
MAX_ROUNDING = 5e5  # Hz: of a carrier's frequency, whole megahertz
NO_CELL = -1


CarrierTexts = tuple[str, str, str]
"""of a carrier: technology (as `technology_of` says it), and the log's channel number, or frequency without one"""


def technology_of(text: str | None) -> str:
    """lte, nr, gsm, umts or nb_iot by any common spelling; empty where none is said."""
    squeezed = "".join(letter for letter in (text or "").lower() if letter.isalnum() or letter in "+_")
    return TECHNOLOGY_SPELLINGS.get(squeezed.removeprefix("cellinfo"), "")


@dataclass(frozen=True)
class MatchedIdentity:
    """The cell of an identity, or the rule by which it has none."""

    cell: int
    """`NO_CELL`: none"""
    rule: str = ""
    label: str = ""
    """the identity in words"""
    observed: ObservedCell | None = None


class CellMatcher:
    """Finds the cells of a log's rows; identities are looked up once each.

    Args:
        sites: the network.
        columns: names of cells in the log, if the user gives them.

    Raises:
        UelError: for a number of names that differs from that of the network's cells.
    """

    def __init__(self, sites: tuple[Site, ...], columns: ColumnConfig) -> None:
        cells = [cell for _, cell in cells_of(sites)]
        if columns.cells and len(columns.cells) != len(cells):
            got = f"{len(columns.cells)} names ({', '.join(columns.cells)}), {len(cells)} cells on the tile"
            do = "give --columns.cells in the tile's order"
            raise UelError("every cell of the tile needs a name", got=got, do=do)
        self.cell_count = len(cells)
        self._directory = CellDirectory(sites)
        self._position = cell_positions(sites).numpy()
        self._frequency = [cell.carrier.frequency for cell in cells]
        self._given_names = {name: number for number, name in enumerate(columns.cells)}
        self._own_names = _distinct([cell.name for cell in cells])
        self._carriers = set(columns.carriers)
        self._known: dict[tuple[str, ...], MatchedIdentity] = {}
        self._carriers_of_name: dict[str, set[CarrierTexts]] = {}

    @property
    def knows_identities(self) -> bool:
        """Whether cells are found by their identities: then a log may well hold cells of other tiles."""
        return not self._given_names and self._directory.has_identities

    def learn(self, names: pd.DataFrame, what: str) -> None:
        """Take note of the carriers on which each name of a cell stands in the log: columns of identities, distinct.

        Raises `UelError` where the log identifies its cells and the network does not.
        """
        has_names = bool(self._given_names or self._own_names or names["cell"].notna().any())
        if not (has_names or self._directory.has_identities):
            shown = ", ".join(sorted({*names["cell_id"].dropna(), *names["pci"].dropna()})[:4]) or "nothing"
            do = "place sites with cell_id or PCI (uel place --file), or name the cells in order: --columns.cells"
            raise UelError(f"the tile's cells have no identities by which {what} names its own", got=shown, do=do)
        for identity in names[list(IDENTITY_COLUMNS)].fillna("").astype("str").itertuples(index=False, name=None):
            cell, global_id, cell_id, _, pci, arfcn, frequency, technology = identity
            for name in {cell, global_id, cell_id, pci} - {""}:
                if not self._carriers or self._carriers & {arfcn, frequency}:
                    self._carriers_of_name.setdefault(name, set()).add(_carrier(technology, arfcn, frequency))

    def match(self, frame: pd.DataFrame, near: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cell of each row, or `NO_CELL` with the rule and the identity in words.

        Args:
            frame: rows with `IDENTITY_COLUMNS`, `report` and `level`.
            near: metres of each row's own position, NaN where it has none.
        """
        columns = [frame[name].fillna("").astype("str") for name in IDENTITY_COLUMNS]
        keys = list(zip(*columns, strict=True))
        matched = [self._identity(key) for key in keys]
        cell = np.array([m.cell for m in matched], dtype=np.int64)
        rule = np.array([m.rule for m in matched], dtype=object)
        label = np.array([m.label for m in matched], dtype=object)
        for n in np.flatnonzero(rule == "ambiguous cell").tolist():
            place = near[n] if np.isfinite(near[n]).all() else self._strongest_site(frame, cell, n)
            observed = matched[n].observed
            if observed is None or place is None:
                continue
            found = self._directory.find(observed, (float(place[0]), float(place[1])))
            if found.cell is not None:
                cell[n], rule[n] = found.cell, ""
        return cell, rule, label

    def _strongest_site(self, frame: pd.DataFrame, cell: np.ndarray, row: int) -> np.ndarray | None:
        """Position of the strongest cell of a row's report that leaves no doubt."""
        same = (frame["report"] == frame["report"].iloc[row]).to_numpy() & (cell != NO_CELL)
        if not same.any():
            return None
        level = np.where(same, frame["level"].to_numpy(), -np.inf)
        return self._position[cell[int(np.nanargmax(level))], :2]

    def _identity(self, key: tuple[str, ...]) -> MatchedIdentity:
        if key not in self._known:
            self._known[key] = self._look_up(*key)
        return self._known[key]

    def _look_up(
        self, cell: str, global_id: str, cell_id: str, node: str, pci: str, arfcn: str, frequency: str, technology: str
    ) -> MatchedIdentity:
        if self._carriers and not self._carriers & {arfcn, frequency}:
            named = arfcn or frequency or "no carrier"
            return MatchedIdentity(NO_CELL, "other carrier", f"{named}, not {', '.join(self._carriers)}")
        carrier = _carrier(technology, arfcn, frequency)
        name = next((text for text in (cell, cell_id, pci) if text), "")
        if self._given_names:
            if name not in self._given_names:
                return MatchedIdentity(NO_CELL, "unknown cell", repr(name) if name else "no identity")
            return self._on_its_carrier(name, self._given_names[name], carrier)
        if cell:
            return self._named(cell, carrier)
        if carrier[0] == "umts":
            return MatchedIdentity(NO_CELL, "unknown cell", "umts: no cells of this technology are known")
        found = self._by_identity(global_id, "", pci, carrier)
        is_found = found.cell != NO_CELL or not cell_id
        return found if is_found else self._by_identity(cell_id, node, pci, carrier)

    def _named(self, name: str, carrier: CarrierTexts) -> MatchedIdentity:
        """A cell by the operator's name for it, or by its number on the tile."""
        if name in self._own_names:
            return MatchedIdentity(self._own_names[name])
        if name.isdecimal() and int(name) < self.cell_count:
            return self._on_its_carrier(name, int(name), carrier)
        if self._directory.has_identities:
            found = self._by_identity(name, "", "", carrier)
            if found.cell != NO_CELL or found.rule == "ambiguous cell":
                return found
        return MatchedIdentity(NO_CELL, "unknown cell", repr(name))

    def _on_its_carrier(self, name: str, cell: int, carrier: CarrierTexts) -> MatchedIdentity:
        """A named cell, unless its name stands on several carriers of which this is not the network's."""
        carriers = self._carriers_of_name.get(name, set())
        if len(carriers) < 2:
            return MatchedIdentity(cell)
        own = {other for other in carriers if self._is_carrier_of(cell, other)}
        if own:
            other = MatchedIdentity(NO_CELL, "other carrier", f"{name!r} on {carrier[1] or carrier[2]}")
            return MatchedIdentity(cell) if carrier in own else other
        listed = ", ".join(sorted(" ".join(part for part in other if part) or "none" for other in carriers))
        label = f"{name!r} stands on the carriers {listed}: name one (--columns.carriers)"
        return MatchedIdentity(NO_CELL, "ambiguous carrier", label)

    def _is_carrier_of(self, cell: int, carrier: CarrierTexts) -> bool:
        try:
            observed = self._observed("", "", carrier)
        except UelError:
            return False
        return observed.frequency is not None and abs(observed.frequency - self._frequency[cell]) <= FREQUENCY_TOLERANCE

    def _by_identity(self, cell_id: str, node: str, pci: str, carrier: CarrierTexts) -> MatchedIdentity:
        """A cell by its `cell_id`, or by carrier and PCI, as the network knows them."""
        try:
            observed = self._observed(with_node(cell_id, node), pci, carrier)
        except UelError as error:
            return MatchedIdentity(NO_CELL, "unknown cell", " ".join(str(error).split()))
        found = self._directory.find(observed)
        if found.cell is not None:
            return MatchedIdentity(found.cell)
        rule = "unknown cell" if found.rule == "no identity" else found.rule
        return MatchedIdentity(NO_CELL, rule, observed.label, observed)

    def _observed(self, cell_id: str, pci: str, carrier: CarrierTexts) -> ObservedCell:
        """An identity as the log says it. Raises `UelError` for values that are none."""
        technology, arfcn, frequency = carrier
        hertz = None if is_absent(frequency) or frequency in ("0", "-1") else self._network_frequency(frequency)
        return ObservedCell.parse(cell_id, pci, arfcn, hertz, _supported(technology))

    def _network_frequency(self, text: str) -> float:
        """Hz of a text: a rounded frequency is that of the network's only carrier that it can be."""
        parsed = to_hertz(text)
        if parsed is None:
            raise UelError("a carrier's frequency is none", got=repr(text), do="give MHz of the downlink, or EARFCN")
        hertz, rounding = parsed[0], min(parsed[1], MAX_ROUNDING) + FREQUENCY_TOLERANCE
        near = {own for own in self._frequency if abs(own - hertz) <= rounding}
        return near.pop() if len(near) == 1 else hertz


def _carrier(technology: str, arfcn: str, frequency: str) -> CarrierTexts:
    return technology_of(technology), arfcn, "" if arfcn else frequency


def _supported(technology: str) -> Technology | None:
    return next((known for known in TECHNOLOGIES if known == technology), None)


def _distinct(names: Sequence[str]) -> dict[str, int]:
    """Numbers of cells by their names, of those that no other cell has."""
    return {name: number for number, name in enumerate(names) if name and names.count(name) == 1}
