"""Reports from outside: good ones are read to the letter, bad ones refused with the place of the mistake."""

import json

import pytest
import torch

from tests.helpers.bad_reports import BAD, GOOD, changed
from tests.helpers.free_space import masts, radio_map
from uel.errors import UelError
from uel.measurement import report_io
from uel.measurement.model import ObservationModel
from uel.measurement.report_io import ReportSequence
from uel.radio.sites import reference_power_dbm


def test_a_good_file_is_read_to_the_letter():
    timeline = report_io.from_json(json.dumps(GOOD).encode(), 4)
    reports = timeline.reports
    assert timeline.time.tolist() == [0.0, 2.5]
    assert reports.heard.tolist() == [[True, False, False, True], [False, True, False, True]]
    assert reports.rsrp_dbm.tolist() == [[-84.0, 0.0, 0.0, -97.5], [0.0, -91.0, 0.0, -90.0]]
    assert reports.serving.tolist() == [0, 1]  # the strongest, unless it is said
    assert reports.timing_advance.tolist() == [3.0, 0.0]
    assert reports.has_timing_advance.tolist() == reports.has_azimuth.tolist() == [True, False]
    assert reports.azimuth_deg.tolist() == [212.0, 0.0]
    assert reports.toa[0, 3] == torch.tensor(4.1e-7)
    assert reports.has_toa.tolist() == reports.has_aoa.tolist() == [[False, False, False, True], [False] * 4]
    assert reports.received.all()


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_with_the_place_of_the_mistake(name):
    content, word = BAD[name]
    with pytest.raises(UelError) as refusal:
        report_io.from_json(content, 4)
    assert word in str(refusal.value)
    assert "do:" in str(refusal.value)
    assert len(str(refusal.value)) < 500  # no upload is echoed


def test_brackets_in_strings_are_no_depth():
    content = changed(note='"' + "[" * 50 + '\\"{')
    with pytest.raises(UelError, match="note"):
        report_io.from_json(content, 4)


def test_what_is_written_is_read_again():
    radio = radio_map(masts((-90.0, -70.0), (85.0, -95.0), (100.0, 80.0)))
    generator = torch.Generator().manual_seed(0)
    places = (torch.rand(20, 2, generator=generator) - 0.5) * 200
    truth = radio.pixel_truth(places)
    reports = ObservationModel(tier="rsrp_toa_aoa").observe(truth, reference_power_dbm(radio.sites), generator)
    assert reports.heard.any(-1).all()
    written = report_io.to_json(ReportSequence(torch.arange(20) * 0.5, reports))
    again = report_io.from_json(written, 3)
    assert again.position is None
    labelled = report_io.from_json(report_io.to_json(ReportSequence(torch.zeros(20), reports, places)), 3)
    assert torch.equal(labelled.position, places)
    assert again.time.tolist() == [0.5 * n for n in range(20)]
    for name, value in vars(reports).items():
        assert torch.allclose(getattr(again.reports, name).double(), value.double(), rtol=1e-6, atol=1e-9), name


def test_a_silent_report_is_not_written():
    timeline = report_io.from_json(json.dumps(GOOD).encode(), 4)
    silent = type(timeline.reports)(**{**vars(timeline.reports), "heard": torch.zeros(2, 4, dtype=torch.bool)})
    with pytest.raises(UelError, match="without a cell"):
        report_io.to_json(ReportSequence(timeline.time, silent))
