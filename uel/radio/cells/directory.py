"""Which cell of a network an observed identity belongs to: the one lookup of reports, drive tests and explorer."""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from uel.errors import UelError
from uel.radio.cells.identity import MAX_LOCAL_CELL, ObservedCell, with_node
from uel.radio.sites import Cell, Site, cells_of

MatchRule = Literal[
    "cell_id",
    "carrier and PCI",
    "PCI",
    "nearest site",
    "no identity",
    "unknown cell",
    "other carrier",
    "ambiguous cell",
]
FREQUENCY_TOLERANCE = 1.1e5  # Hz: an NB-IoT carrier is up to 0.1 MHz from its EARFCN; LTE's raster is 0.1 MHz
SAME_PLACE = 1.0  # m: sites nearer to each other than this are equally far from a phone


@dataclass(frozen=True)
class CellMatch:
    """The cell of an observed identity, or the rule by which it has none."""

    cell: int | None
    """index on every `cell` axis (`uel.radio.sites.cells_of`); None: no cell of the network, or several"""
    rule: MatchRule
    """which rule decided; where `cell` is None, why: a reader counts rows by it"""
    candidates: tuple[int, ...] = ()
    """cells that the identity fits"""


class CellDirectory:
    """The cells of a network by identity. **Every reader of reports and drive tests finds its cells here.**

    A cell is found by its `cell_id`, where the network and the observation both have one; else by PCI and carrier. The
    carrier is compared by downlink frequency, so that EARFCN of overlapping bands agree: within 0.11 MHz, and for NR
    within the channel's bandwidth, because phones report the NR-ARFCN of the SSB, which is not the channel's centre. A
    PCI without a carrier counts only where one cell of the network has it. Identities that several cells have are
    resolved by place, if a position is given, or stay without a cell: levels of two cells are **never averaged**.

    How a reader calls it: make one directory a log, one `ObservedCell.parse(...)` a distinct row of identity columns
    (it raises `UelError` for a value that is no identity; catch it to set the row aside), and `find` each. Where
    `match.cell` is None, set the row aside by the rule `match.rule`, count it, and go on. Two rows of one report that
    get one cell are two measurements of that cell. `require_some_known` refuses a log of another network.

    Args:
        sites: the network.

    Raises:
        UelError: for two cells of one `cell_id` and technology.

    Example:
        >>> import uel
        >>> from uel.radio.cells.directory import CellDirectory
        >>> from uel.radio.cells.identity import ObservedCell
        >>> low, high = (uel.Carrier.from_channel_number(n, "lte") for n in (6200, 1300))
        >>> cells = (uel.Cell(pci=101, carrier=high), uel.Cell(pci=101, carrier=low), uel.Cell(cell_id="26885121"))
        >>> directory = CellDirectory((uel.Site(position=(0.0, 0.0, 25.0), cells=cells),))
        >>> directory.find(ObservedCell.parse(pci=101, channel_number=6200, technology="lte"))
        CellMatch(cell=1, rule='carrier and PCI', candidates=(1,))
        >>> directory.find(ObservedCell.parse(pci=101)).rule
        'ambiguous cell'
        >>> directory.find(ObservedCell.parse(cell_id="0x19A3C01")).cell
        2
    """

    def __init__(self, sites: tuple[Site, ...]) -> None:
        self.cells: list[tuple[Site, Cell]] = cells_of(sites)
        self._by_id: dict[str, list[int]] = defaultdict(list)
        self._by_pci: dict[int, list[int]] = defaultdict(list)
        for index, (_, cell) in enumerate(self.cells):
            if cell.cell_id is not None:
                for spelling in {str(cell.cell_id), _bare_id(str(cell.cell_id))}:
                    self._by_id[spelling].append(index)
            if cell.pci is not None:
                self._by_pci[cell.pci].append(index)
        self._require_distinct()

    @property
    def has_identities(self) -> bool:
        """Whether any cell of the network has a `cell_id` or a PCI."""
        return bool(self._by_id or self._by_pci)

    def find(self, observed: ObservedCell, near: tuple[float, float] | None = None) -> CellMatch:
        """The cell of an observed identity.

        Args:
            observed: identity, as the report or the row says it.
            near: metres east and north of the tile's centre, where the phone is about; among several cells that fit,
                that of the nearest site is taken, unless two of them stand equally near (one mast, say).

        Returns:
            The cell and the rule that found it, or no cell and the rule by which the row is set aside.
        """
        if observed.says_nothing:
            return CellMatch(None, "no identity")
        if observed.cell_id is not None:
            candidates = self._same_technology(self._by_id.get(observed.cell_id, []), observed)
            if not candidates and "-" in observed.cell_id:
                # The list may hold the bare ECI or NCI of what is written in parts.
                bare = self._by_id.get(_bare_id(observed.cell_id), [])
                candidates = self._same_technology(
                    [n for n in bare if "-" not in str(self.cells[n][1].cell_id)], observed
                )
            if candidates:
                return self._choose(candidates, "cell_id", near)
        return self._find_by_pci(observed, near)

    def _find_by_pci(self, observed: ObservedCell, near: tuple[float, float] | None) -> CellMatch:
        """By carrier and PCI: cells whose own `cell_id` contradicts the observed one are out."""
        listed = [] if observed.pci is None else self._by_pci.get(observed.pci, [])
        known = self._same_technology(listed, observed)
        if observed.cell_id is not None:
            known = [n for n in known if self.cells[n][1].cell_id is None]
        if not known:
            return CellMatch(None, "unknown cell")
        if observed.frequency is None:
            return self._choose(known, "PCI", near)
        offset = {n: abs(self.cells[n][1].carrier.frequency - observed.frequency) for n in known}
        exact = [n for n in known if offset[n] <= FREQUENCY_TOLERANCE]
        wide = [
            n
            for n in known
            if (carrier := self.cells[n][1].carrier).technology == "nr" and offset[n] <= carrier.bandwidth / 2
        ]
        if not (exact or wide):
            return CellMatch(None, "other carrier", tuple(known))
        return self._choose(exact or wide, "carrier and PCI", near)

    def _choose(self, candidates: list[int], rule: MatchRule, near: tuple[float, float] | None) -> CellMatch:
        if len(candidates) == 1:
            return CellMatch(candidates[0], rule, tuple(candidates))
        if near is None:
            return CellMatch(None, "ambiguous cell", tuple(candidates))
        distance = {n: math.dist(self.cells[n][0].position[:2], near) for n in candidates}
        nearest, second = sorted(candidates, key=lambda n: distance[n])[:2]
        if not distance[second] - distance[nearest] > SAME_PLACE:  # also where the position is not finite
            return CellMatch(None, "ambiguous cell", tuple(candidates))
        return CellMatch(nearest, "nearest site", tuple(candidates))

    def _same_technology(self, candidates: list[int], observed: ObservedCell) -> list[int]:
        wanted = observed.technology
        return [n for n in candidates if wanted is None or self.cells[n][1].carrier.technology == wanted]

    def require_some_known(self, matches: Iterable[CellMatch], what: str = "the log") -> None:
        """Raise `UelError` where no observed identity belongs to this network: the log is of another one."""
        rules = [match.rule for match in matches if match.rule != "no identity"]
        if rules and all(rule in ("unknown cell", "other carrier") for rule in rules):
            names = [cell.label for _, cell in self.cells[:3]]
            raise UelError(
                f"no cell of {what} belongs to this tile's network",
                got=f"{len(rules)} identities, none of them among {len(self.cells)} cells such as {'; '.join(names)}",
                do="choose the tile of that network, or put the identities into its list of cells (uel place --file)",
            )

    def _require_distinct(self) -> None:
        for spelling, indices in self._by_id.items():
            own = [n for n in indices if self.cells[n][1].cell_id == spelling]
            technologies = [self.cells[n][1].carrier.technology for n in own]
            if len(set(technologies)) < len(technologies):
                raise UelError(
                    "two cells of the network have one cell_id",
                    got=f"{spelling}: cells {', '.join(map(str, own))}",
                    do="correct the list of cells: an ECI or NCI with its network (MCC-MNC-ECI) names one cell",
                )


def _bare_id(cell_id: str) -> str:
    """The ECI or NCI of a written ECGI or NCGI, or of an eNodeB and its cell (105020-1); else the identity itself.

    An ECGI or NCGI has three parts, or two with a PLMN of five or six digits first. No ECI is as small as a cell's
    number within its eNodeB (TS 36.300, clause 8.2).
    """
    parts = cell_id.split("-")
    if not all(part.isdecimal() for part in parts):
        return cell_id
    if len(parts) == 2 and int(parts[1]) <= MAX_LOCAL_CELL:
        return with_node(parts[1], parts[0])
    return parts[-1] if len(parts) == 3 or (len(parts) == 2 and len(parts[0]) in (5, 6)) else cell_id
