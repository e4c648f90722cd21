"""Cells of a log's rows by their identities: names that the user gives, else what the network knows of its cells."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from uel.errors import UelError
from uel.measurement.logs.config import ColumnConfig
from uel.radio.carriers.bands import TECHNOLOGIES, Technology
from uel.radio.cells.directory import FREQUENCY_TOLERANCE, CellDirectory
from uel.radio.cells.identity import ObservedCell
from uel.radio.sites import Site, cell_positions, cells_of

IDENTITY_COLUMNS = ("cell", "global_id", "cell_id", "node", "pci", "arfcn", "technology")
TECHNOLOGY_SPELLINGS: dict[str, str] = {
    "lte": "lte", "4g": "lte", "lteca": "lte", "lte+": "lte", "eutra": "lte", "eutran": "lte", "tdd": "lte",
    "fdd": "lte", "13": "lte", "nr": "nr", "5g": "nr", "nrsa": "nr", "nrnsa": "nr", "5gnr": "nr", "20": "nr",
    "5gsa": "nr", "gsm": "gsm", "2g": "gsm", "edge": "gsm", "gprs": "gsm", "umts": "umts", "wcdma": "umts",
    "3g": "umts", "hspa": "umts", "hspa+": "umts", "hsdpa": "umts", "nbiot": "nb_iot", "nb_iot": "nb_iot",
}  # fmt: skip
MAX_LOCAL_CELL = 255  # of an eNodeB: its identity and that of the cell make the ECI (TS 36.300, clause 8.2)
NO_CELL = -1


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
        self._carriers_of_name: dict[str, set[tuple[str, str]]] = {}

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
            cell, global_id, cell_id, _, pci, arfcn, technology = identity
            for name in {cell, global_id, cell_id, pci} - {""}:
                if not self._carriers or arfcn in self._carriers:
                    self._carriers_of_name.setdefault(name, set()).add((technology_of(technology), arfcn))

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
        self, cell: str, global_id: str, cell_id: str, node: str, pci: str, arfcn: str, technology: str
    ) -> MatchedIdentity:
        if self._carriers and arfcn not in self._carriers:
            return MatchedIdentity(
                NO_CELL, "other carrier", f"{arfcn or 'no carrier'}, not {', '.join(self._carriers)}"
            )
        name = next((text for text in (cell, cell_id, pci) if text), "")
        if self._given_names:
            if name not in self._given_names:
                return MatchedIdentity(NO_CELL, "unknown cell", repr(name) if name else "no identity")
            return self._on_its_carrier(name, self._given_names[name], technology, arfcn)
        if cell:
            return self._named(cell, technology, arfcn)
        kind = technology_of(technology)
        if kind == "umts":
            return MatchedIdentity(NO_CELL, "unknown cell", f"{kind}: no cells of this technology are known")
        found = self._by_identity(global_id, "", pci, arfcn, kind)
        is_found = found.cell != NO_CELL or not cell_id
        return found if is_found else self._by_identity(cell_id, node, pci, arfcn, kind)

    def _named(self, name: str, technology: str, arfcn: str) -> MatchedIdentity:
        """A cell by the operator's name for it, or by its number on the tile."""
        if name in self._own_names:
            return MatchedIdentity(self._own_names[name])
        if name.isdecimal() and int(name) < self.cell_count:
            return self._on_its_carrier(name, int(name), technology, arfcn)
        if self._directory.has_identities:
            found = self._by_identity(name, "", "", arfcn, technology_of(technology))
            if found.cell != NO_CELL or found.rule == "ambiguous cell":
                return found
        return MatchedIdentity(NO_CELL, "unknown cell", repr(name))

    def _on_its_carrier(self, name: str, cell: int, technology: str, arfcn: str) -> MatchedIdentity:
        """A named cell, unless its name stands on several carriers of which this is not the network's."""
        carriers = self._carriers_of_name.get(name, set())
        if len(carriers) < 2:
            return MatchedIdentity(cell)
        own = {carrier for carrier in carriers if self._is_carrier_of(cell, *carrier)}
        if len(own) == 1:
            is_own = (technology_of(technology), arfcn) in own
            return (
                MatchedIdentity(cell) if is_own else MatchedIdentity(NO_CELL, "other carrier", f"{name!r} on {arfcn}")
            )
        listed = ", ".join(sorted(" ".join(part for part in carrier if part) or "none" for carrier in carriers))
        label = f"{name!r} stands on the carriers {listed}: name one (--columns.carriers)"
        return MatchedIdentity(NO_CELL, "ambiguous carrier", label)

    def _is_carrier_of(self, cell: int, technology: str, arfcn: str) -> bool:
        try:
            observed = ObservedCell.parse(channel_number=arfcn, technology=_supported(technology))
        except UelError:
            return False
        return observed.frequency is not None and abs(observed.frequency - self._frequency[cell]) <= FREQUENCY_TOLERANCE

    def _by_identity(self, cell_id: str, node: str, pci: str, arfcn: str, technology: str) -> MatchedIdentity:
        """A cell by its `cell_id`, or by carrier and PCI, as the network knows them."""
        try:
            full_id = _with_node(cell_id, node)
            observed = ObservedCell.parse(full_id, pci, arfcn, technology=_supported(technology))
        except UelError as error:
            return MatchedIdentity(NO_CELL, "unknown cell", " ".join(str(error).split()))
        found = self._directory.find(observed)
        if found.cell is not None:
            return MatchedIdentity(found.cell)
        rule = "unknown cell" if found.rule == "no identity" else found.rule
        return MatchedIdentity(NO_CELL, rule, observed.label, observed)


def _supported(technology: str) -> Technology | None:
    return next((known for known in TECHNOLOGIES if known == technology), None)


def _with_node(cell_id: str, node: str) -> str:
    """The ECI of an eNodeB's identity and the number of its cell; else the identity as it is."""
    if node.isdecimal() and cell_id.isdecimal() and int(node) and int(cell_id) <= MAX_LOCAL_CELL:
        return str(int(node) * (MAX_LOCAL_CELL + 1) + int(cell_id))
    return cell_id


def _distinct(names: Sequence[str]) -> dict[str, int]:
    """Numbers of cells by their names, of those that no other cell has."""
    return {name: number for number, name in enumerate(names) if name and names.count(name) == 1}
