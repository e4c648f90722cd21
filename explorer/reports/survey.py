"""The report of a finished survey: `report.md` with contents, checks and distributions, and figures beside it."""

import shlex
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from explorer.figures import survey as figures
from explorer.figures.axes import png_bytes
from explorer.reports.survey_contents import CONFIG_FILE, SurveyContents
from uel.core.io import replace_file
from uel.measurement.model import ObservationModel
from uel.survey.checks import ANTENNA_NULL_DB, FREE_SPACE_CHECK_DISTANCE, THROUGH_WALL_EXCESS, Links
from uel.survey.dataset import Survey
from uel.survey.sample import TileSample
from uel.survey.store import explain_write_errors, record_path

REPORT_FILE, FIGURES_FOLDER = "report.md", "figures"
VERDICT_TEXTS = {True: "pass", False: "**FAIL**", None: "nothing to check"}
SINR_TITLES = {
    "sinr_db": "SINR after reception, serving cell, dB",
    "ss_sinr_db": "SS-SINR, serving cell, dB",
    "effective_sinr_db": "effective SINR of the MCS in use, dB",
}
_ABOUT_SIGHT = (
    "Fraction of links in line of sight by horizontal distance; links without a path are counted. The curves of 3GPP are "
    "for masts of 10 m (UMi) and 25 m (UMa) in a typical city; they are a comparison, not a check."
)


def write_survey_report(folder: Path, tiles: Sequence[Path] = ()) -> Path:
    """Write `report.md` and `figures/*.png` into a finished survey's folder; returns the report's path.

    Buildings and ground heights come from `tiles`, else from the tiles in the folder's `config.yaml`; tiles with another
    fingerprint than the survey's are ignored. Raises `UelError` where the survey is unfinished or damaged, or where the
    folder cannot be written to.
    """
    survey = Survey.open(folder)
    facts = SurveyContents.of(survey, tiles)
    with explain_write_errors(folder):
        for name, figure in _pictures(facts).items():
            replace_file(folder / FIGURES_FOLDER / f"{name}.png", png_bytes(figure))
        replace_file(folder / REPORT_FILE, _text(facts).encode())
    return folder / REPORT_FILE


def refresh_survey_report(folder: Path, tiles: Sequence[Path] = ()) -> Path:
    """Write the report unless the folder has one of the same units; returns its path."""
    try:
        there = (folder / REPORT_FILE).read_text(encoding="utf-8")
    except (OSError, ValueError):
        there = ""
    return folder / REPORT_FILE if _key(Survey.open(folder)) in there else write_survey_report(folder, tiles)


def _key(survey: Survey) -> str:
    """A hash of the records of all units, which hold the hashes of all shards."""
    told = sha256()
    for unit in survey.manifest.units:
        told.update(record_path(survey.folder, unit.name).read_bytes())
    return told.hexdigest()[:16]


# ---- pictures ------------------------------------------------------------------------------------------


def _pictures(facts: SurveyContents) -> dict[str, Figure]:
    tiles, first = [sample.tile for sample in facts.samples], facts.samples[0]
    size = facts.tiles[first.tile].size if first.tile in facts.tiles else _spread(first)
    pictures = {
        "free_space": figures.free_space_figure(facts.links),
        "arrivals": figures.arrival_figure(facts.links, facts.excess),
        "levels": figures.levels_figure(_levels(facts), tiles),
        "sight": figures.sight_figure(facts.samples),
        "map": figures.map_figure(first, facts.tiles.get(first.tile), size),
        "values": figures.histogram_figure(facts.some, facts.features(("float",)), facts.share),
    }
    if whole := facts.features(("int",)):
        pictures["counts"] = figures.count_figure(facts.some, whole, facts.share)
    return pictures


def _spread(sample: TileSample) -> float:
    """The side in m of a square around a tile's reports and sites, for a tile that was not found."""
    masts = torch.tensor([site.position[:2] for site in sample.sites])
    return 2.1 * float(torch.cat([sample.truth.position, masts]).abs().max())


def _levels(facts: SurveyContents) -> dict[str, list[Tensor]]:
    """Values of RSRP and of the stored SINRs by title, a tensor for each tile."""
    samples = facts.samples
    panels = {
        "RSRP of the serving cell, dBm": [sample.serving_values(sample.rsrp_dbm()) for sample in samples],
        "RSRP of all cells, dBm": [sample.rsrp_dbm()[sample.truth.known] for sample in samples],
    }
    for name, title in SINR_TITLES.items():
        if name in facts.survey.features:
            panels[title] = [_serving(sample, name) for sample in samples]
    return panels


def _serving(sample: TileSample, name: str) -> Tensor:
    """A feature of the serving cell."""
    values = sample.values[name]
    return sample.serving_values(values) if values.ndim == 2 else values[sample.values["serving_known"]]


# ---- words ---------------------------------------------------------------------------------------------


def _text(facts: SurveyContents) -> str:
    reports = sum(record.reports for record in facts.records)
    sample = f"{facts.sample_size:,} of {reports:,} reports, from all tiles"
    parts = [
        f"# Survey `{facts.survey.folder.resolve().name}`",
        _header(facts, reports),
        "## Checks",
        f"Values are checked in all reports, links in a sample: {sample}. {_heights(facts)}",
        _table(("check", "verdict", "result"), [(c.name, VERDICT_TEXTS[c.passed], c.detail) for c in facts.checks]),
        "## Free space at short range",
        _free_space(facts.links),
        _picture("free_space"),
        "## First arrivals against geometry",
        _arrivals(facts),
        _picture("arrivals"),
        "## Levels",
        _about_levels(facts),
        _picture("levels"),
        _quantiles(facts),
        "## Line of sight",
        _ABOUT_SIGHT,
        _picture("sight"),
        "## A tile",
        _picture("map"),
        "## All features",
        "Statistics of all reports where a feature is known. Histograms show the sample; a dotted line is the median.",
        _features(facts),
        _picture("values"),
        *([_picture("counts")] if facts.features(("int",)) else []),
        "## Repeat it",
        _repeat(facts),
    ]
    return "\n\n".join(parts) + "\n"


def _header(facts: SurveyContents, reports: int) -> str:
    manifest, records = facts.survey.manifest, facts.records
    seconds = sum(record.seconds for record in records)
    size = sum(size for record in records for size, _ in record.files.values())
    links = sum(record.links for record in records)
    rows = {
        "tiles": f"{len(manifest.tiles)}: {', '.join(manifest.tiles)}",
        "layers": ", ".join(manifest.plan["measure"]["layers"]),
        "units": f"{len(records)}, of {manifest.unit} tracks",
        "tracks": f"{len(manifest.tiles) * manifest.tracks:,}",
        "valid reports": f"{reports:,}",
        "links": f"{links:,}",
        "size": f"{size / 1e6:,.1f} MB, {size / max(reports, 1):,.0f} B per report",
        "time": f"{seconds:,.0f} s of work, {reports / max(seconds, 1e-9):,.0f} reports/s per worker",
        "versions": ", ".join(f"{name} {version}" for name, version in manifest.versions.items()),
        "key of the units": f"`{_key(facts.survey)}`",
    }
    return _table(("", ""), rows.items())


def _heights(facts: SurveyContents) -> str:
    lost = [name for name in facts.survey.tiles if name not in facts.tiles]
    if not lost:
        return "The heights of phones are above the tiles' ground."
    return (
        f"Tiles not found, or changed since: {', '.join(lost)}. The heights of their phones come from direct paths, and "
        "phones without line of sight to a site are left out."
    )


def _free_space(links: Links) -> str:
    near = links.excess_gain_db[links.in_sight & ~links.in_antenna_null & (links.distance < FREE_SPACE_CHECK_DISTANCE)]
    return (
        "Path gain of links minus free-space gain (Friis) and the pattern of the cell's array. The direct path alone "
        f"must obey them at any distance. The whole link, shown within {FREE_SPACE_CHECK_DISTANCE:g} m, where reflections add least, has "
        "their power besides. Directions in which the antennas have less than "
        f"{ANTENNA_NULL_DB:g} dBi are left out: single precision does not know nulls. Whole links: {_told(near, 'dB')}."
    )


def _told(values: Tensor, unit: str) -> str:
    if not len(values):
        return "none"
    low, middle, high = values.double().quantile(torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64)).tolist()
    return f"median {middle:.2f} {unit}, 5 % to 95 %: {low:.2f} to {high:.2f} {unit}, {len(values):,} links"


def _arrivals(facts: SurveyContents) -> str:
    fit, default = facts.excess, ObservationModel().nlos_excess
    if not fit.count:
        return "No blocked link has a path."
    return (
        f"{fit.count:,} blocked links arrive {fit.mean:.1f} m late on average. {fit.through:.0%} of them come within "
        f"{THROUGH_WALL_EXCESS:g} m, straight through walls. The others fit an exponential law with a scale of {fit.scale:.1f} m; "
        f"the distribution functions differ by {fit.misfit:.2f} at most. Realism without a ray tracer takes "
        f"{default:g} m (`ObservationModel.nlos_excess`)."
    )


def _about_levels(facts: SurveyContents) -> str:
    stored = "rsrp_dbm" in facts.survey.features
    words = (
        "RSRP as measured, with fading."
        if stored
        else "RSRP is path gain and power of a resource element: the survey holds no SYS layer."
    )
    absent = [title for name, title in SINR_TITLES.items() if name not in facts.survey.features]
    return words + (f" Not in this survey: {'; '.join(absent)}." if absent else "")


def _quantiles(facts: SurveyContents) -> str:
    panels = _levels(facts)
    rows = []
    for index, sample in enumerate(facts.samples):
        middles = [f"{float(of[index].median()):.1f}" if len(of[index]) else "–" for of in panels.values()]
        known, los = (float(of.float().mean()) for of in (sample.truth.known, sample.truth.los))
        rows.append((sample.tile, f"{len(sample):,}", *middles, f"{known:.1%}", f"{los:.1%}"))
    medians = [f"median {title}" for title in panels]
    return _table(("tile", "reports", *medians, "links with a path", "links in LoS"), rows)


def _features(facts: SurveyContents) -> str:
    rows = []
    for name, feature in facts.survey.manifest.arrays.items():
        m, share = facts.moments[name], f"{facts.share[name]:.1%}"
        if feature.dtype == "bool":
            rows.append((f"`{name}`", feature.layer, "", share, f"true in {m.mean:.1%}", "", "", ""))
            continue
        numbers = [f"{number:.4g}" if m.count else "–" for number in (m.mean, m.std, m.least, m.greatest)]
        unit = feature.unit if feature.unit != "1" else ""
        rows.append((f"`{name}`", feature.layer, unit, share, *numbers))
    return _table(("feature", "layer", "unit", "known", "mean", "std", "min", "max"), rows)


def _repeat(facts: SurveyContents) -> str:
    folder = facts.survey.folder
    command = f"uel survey --config {shlex.quote(str(folder / CONFIG_FILE))}"
    if not (folder / CONFIG_FILE).is_file():
        return "The folder has no `config.yaml`; `survey.json` holds the configuration of the survey."
    return (
        f"```console\n{command}            # continues, or says that all is done\n{command} --report   # this page\n```"
    )


def _picture(name: str) -> str:
    return f"![{name.replace('_', ' ')}]({FIGURES_FOLDER}/{name}.png)"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in cells)} |" for cells in lines)
