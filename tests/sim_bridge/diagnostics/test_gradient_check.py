"""The table of gradients: right where it says so, and able to say that something is wrong."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sim_bridge.diagnostics import gradient_check
from sim_bridge.diagnostics.gradient_scenes import ENDPOINT_PARAMETERS, GRADIENT_SCENES, MATERIAL_PARAMETERS
from sim_bridge.paths.path_set import PathSet
from tests.helpers.ray_traced_scenes import bundled, mast
from uel.errors import UelError

QUICK = ("RX position", "TX height", "TX azimuth", "RX orientation")


def rows(scene: str, *parameters: str, count: int = 20) -> list[gradient_check.GradientRow]:
    return gradient_check.gradient_table(count, scenes={scene: replace(GRADIENT_SCENES[scene], parameters=parameters)})


MIRROR = ("RX position", "conductivity", "object position")


@pytest.mark.parametrize(
    ("scene", "parameters", "count"),
    [
        ("free space", QUICK, 6),
        pytest.param("free space", QUICK, 20, marks=pytest.mark.slow),
        pytest.param("mirror", MIRROR, 20, marks=pytest.mark.slow),
    ],
)
def test_every_derivative_is_right(scene: str, parameters: tuple[str, ...], count: int) -> None:
    found = rows(scene, *parameters, count=count)
    assert gradient_check.all_passed(found), [row for row in found if row.status.startswith("WRONG")]
    assert {row.parameter for row in found} == set(parameters)
    gain = [row for row in found if row.quantity == "path gain" and row.parameter != "RX orientation"]
    assert all(
        row.status == "ok" and row.error is not None and row.error < gradient_check.MAX_MEDIAN_ERROR for row in gain
    )


# Configurations of a line: `uel doctor --gradients` draws 100. Those of a city take a minute each.
CONFIGURATIONS_PER_LINE = {"free space": 20, "mirror": 20}
CONFIGURATIONS_PER_CITY_LINE = 16  # a median of four is off by more than the limit, 1.1 % where sixteen give 0.35 %


@pytest.mark.slow
@pytest.mark.parametrize("scene", list(GRADIENT_SCENES))
def test_the_whole_table(scene: str) -> None:
    count = CONFIGURATIONS_PER_LINE.get(scene, CONFIGURATIONS_PER_CITY_LINE)
    found = gradient_check.gradient_table(count, scenes={scene: GRADIENT_SCENES[scene]})
    assert gradient_check.all_passed(found), [row for row in found if row.status.startswith("WRONG")]
    assert set(ENDPOINT_PARAMETERS) | set(MATERIAL_PARAMETERS) >= {row.parameter for row in found} - {
        "object position",
        "everything else",
    }


def test_a_detached_quantity_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    detached = {**gradient_check.PATH_QUANTITIES, "path gain": lambda p: p.gain().detach().log() + 0 * p.gain()}
    monkeypatch.setattr(gradient_check, "PATH_QUANTITIES", detached)
    found = {row.quantity: row.status for row in rows("free space", "RX position")}
    assert found["path gain"] == "WRONG"
    assert found["ToA"] == "ok"


def test_the_table_in_words_and_as_json(tmp_path: Path) -> None:
    found = [
        gradient_check.GradientRow("a", "paths", "p", "path gain", "ok", 2.3e-4, 100),
        gradient_check.GradientRow("b", "paths", "p", "path gain", "ok", 4.2e-3, 100),
        gradient_check.GradientRow("a", "paths", "p", "ToA", "zero", None, 100),
        gradient_check.GradientRow("a", "map", "q", "all", "refused"),
    ]
    text = gradient_check.markdown_table(found)
    assert "| paths | p | 4e-3 | 0 | – |" in text
    assert "| map | q | refused | refused |" in text
    gradient_check.write_rows(found, tmp_path / "new" / "table.json")
    assert json.loads((tmp_path / "new" / "table.json").read_text())[1]["error"] == 4.2e-3


def test_what_cannot_be_right_is_refused() -> None:
    sim = bundled("simple_street_canyon", mast((-30.0, 2.0, 12.0)), scattering=0.3, max_depth=1)
    name, position = "material/marble/scattering_coefficient", torch.tensor([[25.0, -3.0, 1.5]])
    value = torch.tensor(0.3, requires_grad=True)
    frozen = sim.freeze(position)
    for ask in (lambda: sim.trace(position, **{name: value}), lambda: frozen.trace(**{name: value})):
        with pytest.raises(UelError, match=r"drawn by the scattering coefficient[\s\S]*do:  switch scattering off"):
            ask()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("material/marbel/conductivity", torch.tensor(1.0), "perhaps you meant 'material/marble/conductivity'"),
        ("azimut_deg", torch.zeros(1), "perhaps you meant 'azimuth_deg'"),
        ("azimuth_deg", torch.zeros(3), r"give a tensor of shape \(1,\)"),
        ("object/floor/position", torch.zeros(2), r"give a tensor of shape \(3,\)"),
    ],
)
def test_parameters_that_are_not_there_or_of_another_shape(name: str, value: torch.Tensor, message: str) -> None:
    sim = bundled("simple_street_canyon", mast((-30.0, 2.0, 12.0)), apart=True)
    with pytest.raises(UelError, match=message):
        sim.trace(torch.tensor([[25.0, -3.0, 1.5]]), **{name: value})


def test_the_scene_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a question with another material and a moved wall, and after one that failed."""
    sim = bundled("simple_street_canyon", mast((-30.0, 2.0, 12.0)), apart=True, max_depth=1)
    position = torch.tensor([[25.0, -3.0, 1.5]])
    before = sim.path_gain(position)
    wall = torch.tensor([float(c[0]) for c in sim.scene.objects["building_4"].position])
    other = {"object/building_4/position": wall + 1.0, "material/marble/conductivity": torch.tensor(50.0)}
    assert not torch.equal(sim.trace(position, **other).gain(), before)
    assert torch.equal(sim.path_gain(position), before)

    def fail(*_: object) -> PathSet:
        raise KeyError("inside")

    monkeypatch.setattr("sim_bridge.backend.sionna_internals.evaluate", fail)
    with pytest.raises(KeyError, match="inside"):
        sim.trace(position, **other)
    monkeypatch.undo()
    assert torch.equal(sim.path_gain(position), before)
