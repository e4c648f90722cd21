"""The explorer's view of ablations and calibrations: what is there, what is damaged, what makes what is missing."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from PIL import Image

from explorer.analysis import study_index
from uel.results.ablation import AblationRow, write_ablation_table

pytest.importorskip("streamlit.testing.v1")
from streamlit.testing.v1 import AppTest

PARAMETER = {"parameter": "azimuth_deg", "of": "cell 0", "unit": "°", "believed": 0.0, "found": 4.2, "width": 0.3}


def row(loss: str) -> AblationRow:
    """One training."""
    numbers = torch.arange(6).double().tolist()
    medians = dict.fromkeys(("p50_los_m", "p50_nlos_m", "p50_cells12_m", "p50_cells34_m", "p50_cells5_m"), 9.0)
    return AblationRow(
        loss=loss, features="rsrp", rt_fraction=0.1, labels=500, seed=1, map="exact", budget="steps", p50_m=numbers[5],
        p95_m=50.0, r50=1.2, train_cpu_s=30.0, rt_cpu_s=3.0, evidence="skip", truth="map", steps=100, rt_batches=10,
        cell="a", **medians,
    )  # fmt: skip


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """An ablation, a calibration, and a damaged one of either."""
    write_ablation_table(_folder(tmp_path / "runs/ablate/tiny") / "table.csv", [row("none"), row("map")])
    (_folder(tmp_path / "runs/ablate/cut") / "table.csv").write_text("loss\nmap\n")
    told = {"parameters": [PARAMETER | {"verdict": "identified"}]}
    (_folder(tmp_path / "runs/walls") / "calibration.json").write_text(json.dumps(told))
    (_folder(tmp_path / "runs/torn") / "calibration.json").write_text("{")
    Image.new("RGB", (8, 8)).save(_folder(tmp_path / "runs/walls/figures") / "found.png")
    return tmp_path / "runs"


def _folder(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def page(runs: Path) -> AppTest:
    call = f"show_studies(Path({str(runs)!r}))"
    script = f"from pathlib import Path\nfrom explorer.app.views.studies import show_studies\n{call}"
    return AppTest.from_string(script, default_timeout=120).run()


def test_studies_are_found_and_damaged_ones_are_told(runs: Path) -> None:
    (ablation,), problems = study_index.find_ablations(runs)
    assert [told["loss"] for told in ablation.rows] == ["none", "map"]
    assert ablation.rows[0]["p50_m"] == asdict(row("none"))["p50_m"]
    assert "cut" in problems[0]
    (calibration,), problems = study_index.find_calibrations(runs)
    assert calibration.rows[0]["verdict"] == "identified"
    assert [picture.name for picture in calibration.pictures] == ["found.png"]
    assert "torn" in problems[0]


def test_the_page_shows_both_with_their_tables(runs: Path) -> None:
    shown = page(runs)
    assert not shown.exception
    assert len(shown.warning) == 2
    tables = " ".join(element.proto.body for element in shown.get("html"))
    assert "azimuth_deg" in tables
    assert "rsrp" in tables


def test_where_there_are_none_the_page_says_what_makes_them(tmp_path: Path) -> None:
    said = " ".join(box.value for box in page(tmp_path).info)
    assert "uel ablate" in said
    assert "uel calibrate" in said
