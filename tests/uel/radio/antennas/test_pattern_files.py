"""Measured antenna patterns: files in, the measured gain out, in both cuts and over the sphere."""

import json
import math
from pathlib import Path

import pytest
import torch

from uel.errors import UelError
from uel.radio.antennas.measured_pattern import MeasuredPattern, mean_gain_db
from uel.radio.antennas.pattern_files import read_pattern
from uel.radio.sites import Array, Cell, Site, network_to_json, sites_from_json


def loss(angle: int, width: float, limit: float = 25.0) -> float:
    return min(12 * (min(angle % 360, -angle % 360) / width) ** 2, limit)


def across(angle: int) -> float:
    return loss(angle, 65.0)


def down(angle: int) -> float:
    """A vertical cut with an electrical tilt of 6°."""
    return loss(angle - 6, 12.0)


def msi(gain: str = "15.5 dBi", horizontal=across, vertical=down, head: str = "TILT 6\n") -> str:
    cuts = {"HORIZONTAL": horizontal, "VERTICAL": vertical}
    body = "".join(f"{name} 360\n" + "".join(f"{a}\t{cut(a):.3f}\n" for a in range(360)) for name, cut in cuts.items())
    return f"NAME 742215\nMAKE TEST\nFREQUENCY 1855\nGAIN {gain}\n{head}{body}"


def written(folder: Path, text: str, name: str = "a.msi") -> Path:
    (folder / name).write_text(text)
    return folder / name


def at(pattern: MeasuredPattern, azimuth_deg: float, elevation_deg: float) -> float:
    angles = (torch.tensor(math.radians(a), dtype=torch.float64) for a in (azimuth_deg, elevation_deg))
    return float(pattern.gain_dbi(*angles))


@pytest.mark.parametrize("name", ["a.msi", "a.pln", "A.PLN"])
def test_the_measured_gain_comes_back_in_both_cuts(tmp_path: Path, name: str) -> None:
    pattern = read_pattern(written(tmp_path, msi(), name))
    assert (pattern.name, pattern.max_gain_dbi, pattern.electrical_tilt_deg) == ("742215", 15.5, 6.0)
    for angle in range(0, 360, 7):
        below = -angle if angle <= 90 else angle - 180 if angle <= 270 else 360 - angle  # elevation
        azimuth = 180.0 if 90 < angle <= 270 else 0.0
        assert at(pattern, azimuth, below) == pytest.approx(15.5 - down(angle), abs=2e-3), angle
    ratio = at(pattern, 0, -6) - at(pattern, 40, -6)
    assert ratio == pytest.approx(across(320), abs=0.2)  # to the left is anticlockwise
    assert at(pattern, 0.0, -6.5) == pytest.approx(15.5 - 12 * (0.5 / 12) ** 2, abs=0.05)  # between two angles


def test_clockwise_is_to_the_right(tmp_path: Path) -> None:
    pattern = read_pattern(written(tmp_path, msi(horizontal=lambda a: 3.0 if a == 90 else across(a))))
    assert at(pattern, -90, -6) > at(pattern, 90, -6) + 5


@pytest.mark.parametrize(
    ("gain", "dbi"), [("15.5 dBi", 15.5), ("13.35 dBd", 15.5), ("13.35", 15.5), ("15,5 dbi", 15.5), ("15.5dBi", 15.5)]
)
def test_units_of_gain(tmp_path: Path, gain: str, dbi: float) -> None:
    assert read_pattern(written(tmp_path, msi(gain))).max_gain_dbi == pytest.approx(dbi)


def test_a_vertical_cut_that_counts_upwards_is_turned_round(tmp_path: Path) -> None:
    upwards = read_pattern(written(tmp_path, msi(vertical=lambda a: down(-a))))
    assert upwards == read_pattern(written(tmp_path, msi()))


def test_coarse_and_negative_rows_are_read(tmp_path: Path) -> None:
    text = "NAME X\nGAIN 10 dBi\n" + "".join(
        f"{cut} 72\n" + "".join(f"{a}.0 {-loss(a, 65):.2f}\n" for a in range(0, 360, 5))
        for cut in ("HORIZONTAL", "VERTICAL")
    )
    pattern = read_pattern(written(tmp_path, text))
    assert at(pattern, 20, 0) == pytest.approx(10 - loss(20, 65), abs=0.01)


def sphere(step: int = 10, phi_from: int = 0) -> str:
    rows = [
        f"{theta},{phi},{12 - loss(phi, 65) - loss(theta - 96, 30):.4f}"
        for theta in range(0, 181, step)
        for phi in range(phi_from, phi_from + 360, step)
    ]
    return "Theta,Phi,Gain_dBi\n" + "\n".join(rows) + "\n"


@pytest.mark.parametrize("phi_from", [0, -180])
def test_a_table_over_the_sphere(tmp_path: Path, phi_from: int) -> None:
    pattern = read_pattern(written(tmp_path, sphere(phi_from=phi_from), "a.csv"))
    for phi, theta in ((0, 100), (30, 90), (-30, 110), (180, 90), (-170, 20)):
        want = 12 - loss(phi, 65) - loss(theta - 96, 30)
        assert at(pattern, phi, 90 - theta) == pytest.approx(want, abs=2e-3)
    middle = (at(pattern, 30, -10) + at(pattern, 40, -10)) / 2
    assert at(pattern, 35, -10) == pytest.approx(middle, abs=1e-6)
    assert mean_gain_db(pattern) < 12


def test_cells_share_a_measured_pattern_in_the_file(tmp_path: Path) -> None:
    pattern = read_pattern(written(tmp_path, msi()))
    array = Array(pattern="measured", measured=pattern)
    sites = (Site(position=(0.0, 0.0, 20.0), cells=(Cell(array=array), Cell(azimuth_deg=120.0, array=array), Cell())),)
    text = json.dumps(network_to_json(sites))
    assert text.count("742215") == 1
    assert text.count(pattern.digest) == 1
    assert sites_from_json(json.loads(text)) == sites


BAD = [
    ("no horizontal cut", msi().replace("HORIZONTAL 360", "HORIZON 360"), "a.msi", "no HORIZONTAL cut"),
    ("cut too short", msi().replace("359\t", "", 1).replace("VERTICAL 360\n", "VERTICAL 400\n"), "a.msi", "line"),
    ("a word in a cut", msi().replace("\n7\t", "\nseven\t", 1), "a.msi", r"line 14 of a.msi is no row of angle"),
    ("no gain", msi().replace("GAIN", "GAINS"), "a.msi", "no readable GAIN"),
    ("gain in watts", msi("20 W"), "a.msi", "no readable GAIN"),
    ("gain of 155 dBi", msi("155 dBi"), "a.msi", "not -20 to 40 dBi"),
    ("attenuation of 300 dB", msi(horizontal=lambda a: 300.0 if a == 9 else 0.0), "a.msi", "line 16"),
    ("both signs", msi(horizontal=lambda a: 10.0 if a < 180 else -10.0), "a.msi", "both signs"),
    ("angles in radians", "GAIN 9\n" + "HORIZONTAL 4\n0 0\n1 1\n2 2\n3 3\n" * 1, "a.msi", "does not go around"),
    ("rows not said", msi().replace("HORIZONTAL 360", "HORIZONTAL"), "a.msi", "does not say how many rows"),
    ("unknown suffix", msi(), "a.pdf", "unknown type of antenna pattern"),
    ("no theta", sphere().replace("Theta", "T"), "a.csv", "no column theta"),
    ("half a sphere", "\n".join(sphere().splitlines()[:300]), "a.csv", "no even grid"),
    ("a hole", sphere().replace("90,50,", "90,60,"), "a.csv", "theta 90°, phi 50°|two gains"),
    (
        "boresight up",
        sphere().replace("\n0,0,", "\n0,0,30\n0,0,"),
        "a.csv",
        "points up",
    ),
    ("a word", sphere().replace("\n90,50,", "\n90,fifty,"), "a.csv", "line 331 of a.csv is no numbers"),
]


@pytest.mark.parametrize(("text", "name", "named"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_pattern_files_that_are_refused(tmp_path: Path, text: str, name: str, named: str) -> None:
    with pytest.raises(UelError, match=named):
        read_pattern(written(tmp_path, text, name))
