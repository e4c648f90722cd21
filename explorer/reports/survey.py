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
from explorer.reports.survey_contents import CONFIG_FILE, SurveyContents
from uel.core.files.write_errors import explain_write_errors
from uel.core.io import replace_file
from uel.measurement.model import ObservationModel
from uel.plots.axes import png_bytes
from uel.survey.checks import ANTENNA_NULL_DB, FREE_SPACE_CHECK_DISTANCE, THROUGH_WALL_EXCESS, Links
from uel.survey.dataset import Survey
from uel.survey.sample import TileSample
from uel.survey.store import record_path

REPORT_FILE, FIGURES_FOLDER = "report.md", "figures"
VERDICT_TEXTS = {True: "pass", False: "**FAIL**", None: "nothing to check"}
SINR_TITLES = {
    "sinr_db": "SINR after reception, serving cell, dB",
    "ss_sinr_db": "SS-SINR, serving cell, dB",
    "effective_sinr_db": "effective SINR of the MCS in use, dB",
}
_ABOUT_SIGHT = (
    "Fraction of links in line of sight by horizontal distance; links without a path are counted. The curves of 3GPP "
    "are for masts of 10 m (UMi) and 25 m (UMa) in a typical city; they are a comparison, not a check."
)


def write_survey_report(folder: Path, tiles: Sequence[Path] = ()) -> Path:
    """Write `report.md` and `figures/*.png` into a finished survey's folder; returns the report's path.

    Buildings and ground heights come from `tiles`, else from the tiles in the folder's `config.yaml`; tiles with
    another fingerprint than the survey's are ignored. Raises `UelError` where the survey is unfinished or damaged, or
    where the folder cannot be written to.
    """
    survey = Survey.open(folder)
    contents = SurveyContents.of(survey, tiles)
    with explain_write_errors("the survey", folder):
        for name, figure in _figures(contents).items():
            replace_file(folder / FIGURES_FOLDER / f"{name}.png", png_bytes(figure))
        replace_file(folder / REPORT_FILE, _markdown(contents).encode())
    return folder / REPORT_FILE


def refresh_survey_report(folder: Path, tiles: Sequence[Path] = ()) -> Path:
    """Write the report unless the folder has one of the same units; returns its path."""
    try:
        text = (folder / REPORT_FILE).read_text(encoding="utf-8")
    except (OSError, ValueError):
        text = ""
    return folder / REPORT_FILE if _units_hash(Survey.open(folder)) in text else write_survey_report(folder, tiles)


def _units_hash(survey: Survey) -> str:
    """A hash of the records of all units, which hold the hashes of all shards."""
    digest = sha256()
    for unit in survey.manifest.units:
        digest.update(record_path(survey.folder, unit.name).read_bytes())
    return digest.hexdigest()[:16]


# ---- pictures ------------------------------------------------------------------------------------------


def _figures(contents: SurveyContents) -> dict[str, Figure]:
    tiles, first = [sample.tile for sample in contents.samples], contents.samples[0]
    size = contents.tiles[first.tile].size if first.tile in contents.tiles else _side_of_sample(first)
    drawn = {
        "free_space": figures.free_space_figure(contents.links),
        "arrivals": figures.arrival_figure(contents.links, contents.excess),
        "levels": figures.levels_figure(_values_by_title(contents), tiles),
        "sight": figures.sight_figure(contents.samples),
        "map": figures.map_figure(first, contents.tiles.get(first.tile), size),
        "values": figures.histogram_figure(contents.sampled, contents.features(("float",)), contents.known_fraction),
    }
    if whole := contents.features(("int",)):
        drawn["counts"] = figures.count_figure(contents.sampled, whole, contents.known_fraction)
    return drawn


def _side_of_sample(sample: TileSample) -> float:
    """The side in m of a square around a tile's reports and sites, for a tile that was not found."""
    masts = torch.tensor([site.position[:2] for site in sample.sites])
    return 2.1 * float(torch.cat([sample.truth.position, masts]).abs().max())


def _values_by_title(contents: SurveyContents) -> dict[str, list[Tensor]]:
    """Values of RSRP and of the stored SINRs by title, a tensor for each tile."""
    samples = contents.samples
    panels = {
        "RSRP of the serving cell, dBm": [sample.serving_values(sample.rsrp_dbm()) for sample in samples],
        "RSRP of all cells, dBm": [sample.rsrp_dbm()[sample.truth.known] for sample in samples],
    }
    for name, title in SINR_TITLES.items():
        if name in contents.survey.features:
            panels[title] = [_serving(sample, name) for sample in samples]
    return panels


def _serving(sample: TileSample, name: str) -> Tensor:
    """A feature of the serving cell."""
    values = sample.values[name]
    return sample.serving_values(values) if values.ndim == 2 else values[sample.values["serving_known"]]


# ---- words ---------------------------------------------------------------------------------------------


def _markdown(contents: SurveyContents) -> str:
    reports = sum(record.reports for record in contents.records)
    sample = f"{contents.sample_size:,} of {reports:,} reports, from all tiles"
    parts = [
        f"# Survey `{contents.survey.folder.resolve().name}`",
        _header(contents, reports),
        "## Checks",
        f"Values are checked in all reports, links in a sample: {sample}. {_heights(contents)}",
        _table(("check", "verdict", "result"), [(c.name, VERDICT_TEXTS[c.passed], c.detail) for c in contents.checks]),
        "## Free space at short range",
        _free_space(contents.links),
        _picture("free_space"),
        "## First arrivals against geometry",
        _arrivals(contents),
        _picture("arrivals"),
        "## Levels",
        _about_levels(contents),
        _picture("levels"),
        _quantiles(contents),
        "## Line of sight",
        _ABOUT_SIGHT,
        _picture("sight"),
        "## A tile",
        _picture("map"),
        "## All features",
        "Statistics of all reports where a feature is known. Histograms show the sample; a dotted line is the median.",
        _features(contents),
        _picture("values"),
        *([_picture("counts")] if contents.features(("int",)) else []),
        "## Repeat it",
        _repeat(contents),
    ]
    return "\n\n".join(parts) + "\n"


def _header(contents: SurveyContents, reports: int) -> str:
    manifest, records = contents.survey.manifest, contents.records
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
        "key of the units": f"`{_units_hash(contents.survey)}`",
    }
    return _table(("", ""), rows.items())


def _heights(contents: SurveyContents) -> str:
    missing = [name for name in contents.survey.tiles if name not in contents.tiles]
    if not missing:
        return "The heights of phones are above the tiles' ground."
    return (
        f"Tiles not found, or changed since: {', '.join(missing)}. The heights of their phones come from direct paths, "
        "and phones without line of sight to a site are left out."
    )


def _free_space(links: Links) -> str:
    nearby = links.excess_gain_db[
        links.in_sight & ~links.in_antenna_null & (links.distance < FREE_SPACE_CHECK_DISTANCE)
    ]
    return (
        "The path gain of a link, less free-space gain (Friis) and the pattern of the cell's array. The direct path "
        "alone must equal these at any distance. Whole links include reflections; they are shown within "
        f"{FREE_SPACE_CHECK_DISTANCE:g} m, where reflections add least. Directions in which an antenna has less than "
        f"{ANTENNA_NULL_DB:g} dBi are left out, because nulls are inexact in single precision. Whole links: "
        f"{_quantile_text(nearby, 'dB')}."
    )


def _quantile_text(values: Tensor, unit: str) -> str:
    if not len(values):
        return "none"
    low, middle, high = values.double().quantile(torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64)).tolist()
    return f"median {middle:.2f} {unit}, 5 % to 95 %: {low:.2f} to {high:.2f} {unit}, {len(values):,} links"


def _arrivals(contents: SurveyContents) -> str:
    fit, default = contents.excess, ObservationModel().nlos_excess
    if not fit.count:
        return "No blocked link has a path."
    return (
        f"{fit.count:,} links without line of sight arrive {fit.mean:.1f} m late on average. {fit.through:.0%} of them "
        f"come within {THROUGH_WALL_EXCESS:g} m, straight through walls. The others fit an exponential distribution "
        f"with a scale of {fit.scale:.1f} m; the distribution functions differ by {fit.misfit:.2f} at most. Simulation "
        f"without a ray tracer assumes {default:g} m (`ObservationModel.nlos_excess`)."
    )


def _about_levels(contents: SurveyContents) -> str:
    stored = "rsrp_dbm" in contents.survey.features
    text = (
        "RSRP as measured, with fading."
        if stored
        else "RSRP is path gain and power of a resource element: the survey holds no SYS layer."
    )
    absent = [title for name, title in SINR_TITLES.items() if name not in contents.survey.features]
    return text + (f" Not in this survey: {'; '.join(absent)}." if absent else "")


def _quantiles(contents: SurveyContents) -> str:
    panels = _values_by_title(contents)
    rows = []
    for index, sample in enumerate(contents.samples):
        middles = [f"{float(values[index].median()):.1f}" if len(values[index]) else "–" for values in panels.values()]
        known, los = (float(values.float().mean()) for values in (sample.truth.known, sample.truth.los))
        rows.append((sample.tile, f"{len(sample):,}", *middles, f"{known:.1%}", f"{los:.1%}"))
    medians = [f"median {title}" for title in panels]
    return _table(("tile", "reports", *medians, "links with a path", "links in LoS"), rows)


def _features(contents: SurveyContents) -> str:
    rows = []
    for name, feature in contents.survey.manifest.arrays.items():
        statistics, known = contents.moments[name], f"{contents.known_fraction[name]:.1%}"
        if feature.dtype == "bool":
            rows.append((f"`{name}`", feature.layer, "", known, f"true in {statistics.mean:.1%}", "", "", ""))
            continue
        numbers = [
            f"{number:.4g}" if statistics.count else "–"
            for number in (statistics.mean, statistics.std, statistics.least, statistics.greatest)
        ]
        unit = feature.unit if feature.unit != "1" else ""
        rows.append((f"`{name}`", feature.layer, unit, known, *numbers))
    return _table(("feature", "layer", "unit", "known", "mean", "std", "min", "max"), rows)


def _repeat(contents: SurveyContents) -> str:
    folder = contents.survey.folder
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
