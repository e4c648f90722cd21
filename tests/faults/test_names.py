"""Names that become folders are words, wherever they come from: option, configuration, tile, survey, record."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.surveys import made
from tests.helpers.toy_city import toy_tile
from uel.core.files.folder_names import fit_for_name, folder_in, is_folder_name, require_folder_name
from uel.core.outside.checksums import json_with_checksum
from uel.errors import UelError
from uel.geo.tile import Tile
from uel.survey.dataset import Survey

UNFIT_NAMES = {
    "parent": "..",
    "here": ".",
    "empty": "",
    "absolute": "/tmp/uel-evil",
    "inside parent": "../evil",
    "parent inside": "a/../../evil",
    "two folders up": "../../evil",
    "home": "~evil",
    "newline": "a\nb",
    "carriage return": "a\rb",
    "null": "a\0b",
    "escape": "\x1b[31mred",
    "percent": "50%",
    "space at the end": "paris ",
    "space at the beginning": " paris",
    "dot at the end": "paris.",
    "hidden": ".paris",
    "option": "-rf",
    "quote": "it's",
    "double quote": 'say "a"',
    "dollar": "$HOME",
    "backtick": "`id`",
    "semicolon": "a;reboot",
    "pipe": "a|b",
    "star": "*",
    "backslash": "a\\b",
    "drive": "C:evil",
    "device": "con",
    "device with suffix": "NUL.txt",
    "300 letters": "x" * 300,
    "300 bytes": "市" * 90,
    "right to left mark": "\u202eevil",
    "zero width": "pa\u200bris",
    "lone surrogate": "a\ud800",
}
FIT_NAMES = ("demo", "paris_9e", "München", "ベルリン", "दिल्ली", "munich+0-150", "rate=1e-3,ema=0.9", "a b (2)", "_x")
LINES = {name: text for name, text in UNFIT_NAMES.items() if "\ud800" not in text and "\0" not in text}


@pytest.mark.parametrize("name", UNFIT_NAMES.values(), ids=UNFIT_NAMES)
def test_an_unfit_name_is_refused(name: str) -> None:
    assert not is_folder_name(name)
    with pytest.raises(UelError, match="not fit for a folder's name") as refusal:
        folder_in(Path("runs"), name, "--run")
    assert str(refusal.value).isascii(), "no control character reaches the terminal"


@pytest.mark.parametrize("name", FIT_NAMES)
def test_a_word_is_a_folder_below_the_root(name: str, tmp_path: Path) -> None:
    folder = folder_in(tmp_path, name, "--run")
    folder.mkdir()
    assert folder.resolve().parent == tmp_path.resolve()


@pytest.mark.parametrize("value", [None, 3, ["a"], {"a": 1}, True])
def test_what_is_no_text_is_no_name(value: object) -> None:
    with pytest.raises(UelError, match="not fit"):
        require_folder_name(value, "the tile's name")


@pytest.mark.parametrize("text", [*UNFIT_NAMES.values(), *FIT_NAMES])
def test_any_text_can_be_made_a_name(text: str) -> None:
    assert is_folder_name(fit_for_name(text))


# ---- the options of verbs --------------------------------------------------------------------------------


def _train(name: str) -> object:
    from training.commands.config import TrainConfig

    return TrainConfig(run=name)


def _demo(name: str) -> object:
    from training.commands.config import DemoConfig

    return DemoConfig(run=name)


def _calibrate(name: str) -> object:
    from training.calibration.config import CalibrateConfig

    return CalibrateConfig(run=name)


def _ablate(name: str) -> object:
    from training.ablation.config import AblateConfig

    return AblateConfig(run=name)


def _train_maps(name: str) -> object:
    from training.level_maps.config import TrainMapsConfig

    return TrainMapsConfig(data=Path("districts"), run=name)


def _eval(name: str) -> object:
    from training.evaluation.protocol import EvalConfig

    return EvalConfig(run=Path("runs/demo"), name=name)


@pytest.mark.parametrize("make", [_train, _demo, _calibrate, _ablate, _train_maps, _eval])
@pytest.mark.parametrize("name", UNFIT_NAMES.values(), ids=UNFIT_NAMES)
def test_no_verb_takes_an_unfit_name(make: Callable[[str], object], name: str) -> None:
    with pytest.raises(UelError, match="not fit for a folder's name"):
        make(name)


@pytest.mark.parametrize("name", LINES.values(), ids=LINES)
def test_no_tile_is_built_by_an_unfit_name(name: str, tmp_path: Path) -> None:
    from scenes.command import build_tiles
    from scenes.config import BuildConfig

    before = sorted(tmp_path.parent.iterdir())
    config = BuildConfig(sources=("etoile",), out=tmp_path / "tiles", name=name)
    ((_, result, _),) = build_tiles(config, lambda tile, report: ({}, {}))
    assert isinstance(result, UelError)
    assert "not fit for a folder's name" in str(result)
    assert not (tmp_path / "tiles").exists()
    assert sorted(tmp_path.parent.iterdir()) == before


def test_labels_of_a_sweep_stay_apart_and_below_their_run() -> None:
    from training.commands.sweep import folder_label

    values = [{"train": f"{'x' * 200}{end}"} for end in ("a", "b")] + [{"train": "../../evil"}, {"train": "a\nb"}]
    labels = [folder_label(value) for value in values]
    assert len(set(labels)) == len(labels)
    assert all(map(is_folder_name, labels))


# ---- names in files of others ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", LINES.values(), ids=LINES)
def test_a_tile_by_an_unfit_name_is_not_opened(name: str, tmp_path: Path) -> None:
    tile = toy_tile(tmp_path / "toy")
    file = tile.folder / "tile.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "name": name}))
    with pytest.raises(UelError, match="tile"):
        Tile.open(tile.folder)


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    return made(tmp_path_factory.mktemp("names") / "survey")


@pytest.mark.parametrize("name", LINES.values(), ids=LINES)
def test_a_survey_of_a_tile_by_an_unfit_name_is_not_opened(name: str, survey: Survey, tmp_path: Path) -> None:
    stored = json.loads((survey.folder / "survey.json").read_text())
    stored["tiles"] = {name: next(iter(stored["tiles"].values()))}
    (tmp_path / "survey.json").write_bytes(json_with_checksum(stored))
    with pytest.raises(UelError, match="manifest cannot be read"):
        Survey.open(tmp_path)


@pytest.mark.parametrize("file", ["../../victim/x.bin", "/etc/hostname", "other.zarr/c/0", "{tile}.zarr/../../x", ""])
def test_a_record_that_names_a_file_elsewhere_is_no_record(file: str, survey: Survey) -> None:
    unit = survey.manifest.units[0]
    path = survey.folder / "units" / f"{unit.name}.json"
    whole = path.read_text()
    try:
        path.write_text(json.dumps({**json.loads(whole), "files": {file.format(tile=unit.tile): [1, "0"]}}))
        assert survey.record(unit) is None
        assert unit in survey.unfinished_units()
        assert survey.verify() == {}, "nothing outside is read"
    finally:
        path.write_text(whole)


def test_a_record_of_another_unit_removes_nothing_elsewhere(survey: Survey, tmp_path: Path) -> None:
    unit = survey.manifest.units[0]
    path = survey.folder / "units" / f"{unit.name}.json"
    whole = path.read_text()
    try:
        path.write_text(json.dumps({**json.loads(whole), "unit": "../../../precious"}))
        assert survey.record(unit) is None
        survey.discard(survey.verify())
        assert path.is_file()
    finally:
        path.write_text(whole)
