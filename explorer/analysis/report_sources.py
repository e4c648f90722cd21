"""Sources of reports to locate: phones drawn from the map, a walk, a track of a survey, an uploaded file."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from explorer.analysis.phone_trial import PhoneTrial
from uel.errors import UelError
from uel.inference.deployment import Deployment
from uel.inference.report_source import open_reports
from uel.measurement.logs.config import ColumnConfig
from uel.measurement.logs.report_groups import LogPart
from uel.measurement.logs.rules.rejections import Rejections
from uel.measurement.model import ObservationModel
from uel.measurement.report_io import ReportSequence
from uel.measurement.reports import Reports
from uel.mobility.config import TrackConfig
from uel.mobility.trajectories import draw_tracks
from uel.survey.dataset import TileSurvey

WALK_TRACKS = TrackConfig(tracks=16, reports=20, interval=(2.0, 2.0), speeds=(0.0, 1.4, 8.0), shares=(0.0, 1.0, 0.0))
SAMPLE_COLUMNS = ("time", "cell", "rsrp", "serving", "ta", "x", "y")


@dataclass(frozen=True, eq=False)
class ReportSource:
    """Reports over time, with true positions where they are known."""

    timeline: ReportSequence
    truth: Float[Tensor, "report 2"] | None
    """m"""
    text: str
    """the source, for readers"""
    model: ObservationModel
    """how these phones are assumed to report"""
    is_drawn_on_map: bool = False
    """drawn from the map that is located on: grid Bayes is the limit"""
    is_track: bool = True
    """reports of one phone that moves"""

    def __len__(self) -> int:
        return len(self.timeline)


def walk_source(deployment: Deployment, model: ObservationModel, seed: int) -> ReportSource:
    """Reports of a pedestrian over 40 s, drawn from the map; of several walks the one with most reports.

    Raises `UelError` where no report hears a cell.
    """
    maps = deployment.maps
    tracks = draw_tracks(deployment.tile, deployment.sites, WALK_TRACKS, seed)
    generator = torch.Generator().manual_seed(seed)
    reports = model.observe(maps.radio.pixel_truth(tracks.position), maps.power_dbm, generator)
    longest = int(reports.heard.any(-1).sum(-1).argmax())
    source = _audible_source(
        tracks.time[longest], reports[longest], tracks.position[longest], "a pedestrian drawn on the map", model
    )
    return replace(source, is_drawn_on_map=True)


def phones_source(trial: PhoneTrial, model: ObservationModel) -> ReportSource:
    """Reports of the phones of a trial, each at a position of its own."""
    phones = trial.phones
    timeline = ReportSequence(torch.arange(len(phones)).float(), phones.reports)
    text = "phones drawn from the map"
    return ReportSource(timeline, phones.position, text, model, is_drawn_on_map=True, is_track=False)


def survey_source(survey: TileSurvey, model: ObservationModel, track: int, seed: int) -> ReportSource:
    """Ray-traced reports of one track of a survey. Raises `UelError` where none hears a cell."""
    reports, valid = survey.observe(model, seed)[track], survey.valid[track]
    text = f"track {track} of the survey, ray-traced"
    position = survey.truth.position[track][valid]
    return _audible_source(survey.time[track][valid], reports[valid], position, text, model)


def file_source(deployment: Deployment, model: ObservationModel, name: str, content: bytes) -> ReportSource:
    """Uploaded reports of any format (`uel.inference.report_source`); the caption says what was set aside.

    `model` is the locator's; the source's expects as many cells in a full report as the log lists. Raises `UelError`
    with the fault of the file.
    """
    rejections = Rejections()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / (Path(name).name or "log")
        file.write_bytes(content)
        network = deployment.tile, deployment.sites
        with open_reports(*network, file, ColumnConfig(), rejections, model.range_step) as source:
            parts = list(source.parts)
            model = source.observation_model(model)
    part = LogPart.cat(parts)
    has_times = bool(np.isfinite(part.seconds).all())
    seconds = part.seconds - part.seconds[0] if has_times else np.arange(len(part))
    truth = part.position if bool(part.position.isfinite().all()) else None
    text = "the uploaded file" + (f"; set aside: {rejections.summary}" if rejections.total else "")
    return ReportSource(ReportSequence(torch.from_numpy(seconds).float(), part.reports), truth, text, model)


def sample_log(source: ReportSource) -> str:
    """Reports as a log in CSV, as an app on a phone may write it: a row for each cell heard."""
    lines = [",".join(SAMPLE_COLUMNS)]
    reports, times = source.timeline.reports, source.timeline.time.tolist()
    for number, cell in reports.heard.nonzero().tolist():
        is_serving = int(reports.serving[number]) == cell
        advance = int(reports.timing_advance[number]) if is_serving and reports.has_timing_advance[number] else ""
        x, y = ("", "") if source.truth is None else (f"{v:.1f}" for v in source.truth[number].tolist())
        level = f"{float(reports.rsrp_dbm[number, cell]):.0f}"
        lines.append(f"{times[number]:.0f},{cell},{level},{int(is_serving)},{advance},{x},{y}")
    return "\n".join([*lines, ""])


def _audible_source(time: Tensor, reports: Reports, truth: Tensor, text: str, model: ObservationModel) -> ReportSource:
    """A source of those reports that hear a cell."""
    audible = reports.heard.any(-1)
    if not bool(audible.any()):
        raise UelError("no report of this track hears a cell", got=text, do="choose another track")
    missed = int((~audible).sum())
    caption = f"{text}; {missed} reports heard no cell" if missed else text
    return ReportSource(ReportSequence(time[audible], reports[audible]), truth[audible], caption, model)
