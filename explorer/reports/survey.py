"""`report.md` of a finished survey: what it holds, what must hold of it, and pictures beside it."""

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
VERDICT_TEXTS = {True: "pass", False: "**FAIL**", None: "nothing to judge"}
SINR_TITLES = {
    "sinr_db": "SINR after reception, serving cell, dB",
    "ss_sinr_db": "SS-SINR, serving cell, dB",
    "effective_sinr_db": "effective SINR of the scheme in use, dB",
}
_ABOUT_SIGHT = (
    "Share of links by horizontal distance, links without a path counted as well. The curves of 3GPP are for masts at "
    "10 m (UMi) and 25 m (UMa) in a typical city; they are a comparison, no check."
)


def write_survey_report(folder: Path, tiles: Sequence[Path] = ()) -> Path:
    """Write `report.md` and `figures/*.png` into a finished survey's folder; returns the report's path.

    Buildings and heights come from `tiles`, else from where the folder's `config.yaml` says; only tiles that are what
    the survey was made on are taken. Raises `UelError` for a survey that is not finished or damaged, and where nothing
    can be written.
    """
    survey = Survey.open(folder)
    facts = SurveyContents.of(survey, tiles)
    with explain_write_errors(folder):
        for name, figure in _pictures(facts).items():
            replace_file(folder / FIGURES_FOLDER / f"{name}.png", png_bytes(figure))
        replace_file(folder / REPORT_FILE, _text(facts).encode())
    return folder / REPORT_FILE


def refresh_survey_report(folder: Path, tiles: Sequence[Path] = ()) -> Path:
    """The report as `write_survey_report` makes it, unless the one that is there is that of the survey's units."""
    try:
        there = (folder / REPORT_FILE).read_text(encoding="utf-8")
    except (OSError, ValueError):
        there = ""
    return folder / REPORT_FILE if _key(Survey.open(folder)) in there else write_survey_report(folder, tiles)


def _key(survey: Survey) -> str:
    """Of the records of all units, which hold the hashes of all shards."""
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
    """The side of a square in m that holds a tile's reports and masts, where the tile itself is not there."""
    masts = torch.tensor([site.position[:2] for site in sample.sites])
    return 2.1 * float(torch.cat([sample.truth.position, masts]).abs().max())


def _levels(facts: SurveyContents) -> dict[str, list[Tensor]]:
    """Distributions by tile: levels, and the SINRs that there are."""
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
    """A value of the serving cell."""
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
        f"Values are judged in all reports, links in a sample: {sample}. {_heights(facts)}",
        _table(("check", "verdict", "found"), [(c.name, VERDICT_TEXTS[c.passed], c.detail) for c in facts.checks]),
        "## Free space at short range",
        _free_space(facts.links),
        _picture("free_space"),
        "## Arrivals against geometry",
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
        "Of all reports, where a feature is known; the histograms are of the sample, a dotted line is the median.",
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
        "size": f"{size / 1e6:,.1f} MB, {size / max(reports, 1):,.0f} B a report",
        "time": f"{seconds:,.0f} s of work in units, {reports / max(seconds, 1e-9):,.0f} reports/s a worker",
        "versions": ", ".join(f"{name} {version}" for name, version in manifest.versions.items()),
        "key of the units": f"`{_key(facts.survey)}`",
    }
    return _table(("", ""), rows.items())


def _heights(facts: SurveyContents) -> str:
    lost = [name for name in facts.survey.tiles if name not in facts.tiles]
    if not lost:
        return "Phones' heights are those of the tiles' ground."
    return (
        f"Not found as they were: {', '.join(lost)}. There a phone's height is what its direct paths tell, and phones "
        "that see no mast are left out."
    )


def _free_space(links: Links) -> str:
    near = links.excess_gain_db[links.in_sight & ~links.in_antenna_null & (links.distance < FREE_SPACE_CHECK_DISTANCE)]
    return (
        "A link's gain less Friis' law and the pattern of the cell's array, both in closed form. The direct path alone "
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
    return _table(("tile", "reports", *medians, "links with a path", "links in sight"), rows)


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
    return _table(("feature", "layer", "unit", "known", "mean", "std", "least", "greatest"), rows)


def _repeat(facts: SurveyContents) -> str:
    folder = facts.survey.folder
    command = f"uel survey --config {shlex.quote(str(folder / CONFIG_FILE))}"
    if not (folder / CONFIG_FILE).is_file():
        return "The folder has no `config.yaml`; `survey.json` holds the plan that it was made by."
    return (
        f"```console\n{command}            # goes on, or says that all is there\n{command} --report   # this page\n```"
    )


def _picture(name: str) -> str:
    return f"![{name.replace('_', ' ')}]({FIGURES_FOLDER}/{name}.png)"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    line = lambda cells: f"| {' | '.join(str(cell) for cell in cells)} |"  # noqa: E731
    return "\n".join([line(head), line(["---"] * len(head)), *map(line, rows)])
