"""What stands behind the pages: trials, refinement and logs, against the library asked directly."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from explorer.analysis import phone_trial, report_sources, single_fix
from uel.cli import main
from uel.estimation.config import RayRescoringConfig, RefinementConfig
from uel.estimation.ray_rescoring import rescore_with_rays
from uel.estimation.refinement import PatchSortedMap, refine_fix
from uel.inference.run_folder import Run
from uel.radio.simulator import FreeSpace


@pytest.mark.parametrize("refine", ["none", "map", "rt"])
def test_the_page_refines_as_the_verb_does(run, refine):
    """Against `uel.estimation.refinement` and `uel.estimation.ray_rescoring` asked directly; the locator's own fix
    stays what it was."""
    made = Run.open(run)
    maps, model = made.maps, made.locator.measurement
    report = phone_trial.draw_phones(made.deployment, model, 3, seed=5).reports[:1]
    fine, simulator = (
        PatchSortedMap.of(maps, made.locator.config.patches),
        FreeSpace(maps.radio.sites, size=made.tile.size),
    )
    asked = {"none": (), "map": (fine,), "rt": (fine, simulator)}[refine]
    found = single_fix.explain_report(made.locator, maps, report, model, *asked)
    with torch.no_grad():
        plain = expected = made.locator(report, maps)
        if refine != "none":
            expected = refine_fix(plain, report, fine, model, RefinementConfig(entropy=0.0)).fix
        if refine == "rt":
            expected = rescore_with_rays(expected, report, fine, maps, model, simulator, RayRescoringConfig())
    assert torch.equal(found.initial.fix.log_heatmap, plain.log_heatmap)
    torch.testing.assert_close(found.final.fix.log_heatmap, expected.log_heatmap)
    torch.testing.assert_close(found.final.position, expected.position[0].tolist())
    assert (found.refined is None) == (refine == "none")
    assert found.final.seconds > 0


def test_a_fix_outside_the_region_of_the_one_before_is_known(run):
    made = Run.open(run)
    report = phone_trial.draw_phones(made.deployment, made.locator.measurement, 1, seed=5).reports[:1]
    found = single_fix.explain_report(made.locator, made.maps, report, made.locator.measurement)
    assert (found.moved, found.is_outside) == (0.0, False)
    pixels, grid = found.initial.heatmap, found.initial.grid
    least = grid.centres().reshape(-1, 2)[pixels.flatten().argmin()]
    fix = found.initial.fix
    away = replace(fix, mean=least.expand_as(fix.mean).contiguous())
    moved = replace(found, refined=replace(found.initial, fix=away))
    assert moved.is_outside
    assert moved.moved == pytest.approx(float((least - torch.tensor(found.initial.position)).norm()), rel=1e-3)


def test_a_sample_log_is_read_as_it_was_written(run):
    made = Run.open(run)
    walk = report_sources.walk_source(made.deployment, made.locator.measurement, 3)
    content = report_sources.sample_log(walk).encode()
    source = report_sources.file_source(made.deployment, made.locator.measurement, "sample.csv", content)
    assert len(source) == len(walk)
    assert not source.is_drawn_on_map
    ours, theirs = source.timeline.reports, walk.timeline.reports
    assert torch.equal(ours.heard, theirs.heard)
    assert torch.equal(ours.serving, theirs.serving)
    torch.testing.assert_close(ours.rsrp_dbm, theirs.rsrp_dbm.round() * theirs.heard)
    torch.testing.assert_close(source.truth, walk.truth, atol=0.06, rtol=0)


def test_a_log_is_located_as_by_the_verb(run, tmp_path, capsys):
    """With two cells in a report at most, where the locator expects eight."""
    made = Run.open(run)
    rows = ["time,cell,rsrp", *(f"{report},{cell},{-80 - 7 * cell - report}" for report in range(3) for cell in (0, 1))]
    (tmp_path / "log.csv").write_text("\n".join(rows))
    command = ["locate", str(run), str(tmp_path / "log.csv"), "--refine", "none"]
    assert main([*command, "--rejected", str(tmp_path / "rejected.csv")]) == 0
    expected = torch.tensor([json.loads(line)["covariance"] for line in capsys.readouterr().out.splitlines()])
    content = (tmp_path / "log.csv").read_bytes()
    source = report_sources.file_source(made.deployment, made.locator.measurement, "log.csv", content)
    assert source.model.cells_max == 2
    for report, covariance in zip(range(3), expected, strict=True):
        asked = source.timeline.reports[report : report + 1], source.model
        fix = single_fix.explain_report(made.locator, made.maps, *asked).final.fix
        torch.testing.assert_close(fix.covariance[0], covariance, rtol=1e-3, atol=0.01)


# ---- what stands behind the pages ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def tried(run) -> phone_trial.PhoneTrial:
    cache = Run.open(run)
    phones = phone_trial.draw_phones(cache.deployment, cache.locator.measurement, 48, seed=3)
    return phone_trial.score_phones(cache.locator, cache.maps, phones, seed=3)


def test_an_untrained_locator_is_tried_like_grid_bayes(tried):
    assert len(tried.phones) == 48
    torch.testing.assert_close(tried.error, tried.limit_error, atol=6.0, rtol=0.2)
    assert (tried.heard >= 1).all()


def test_ranks_of_the_right_density_are_even(tried):
    """The limit's ranks are uniform: their mean has a standard deviation of 1/√(12·48)."""
    for rank in (tried.limit_rank, tried.rank):
        assert abs(float(rank.mean()) - 0.5) < 4 / (12 * 48) ** 0.5


def test_exchanged_features_keep_their_cell_and_cost_metres(tried, run):
    cache = Run.open(run)
    errors = phone_trial.permutation_importance(cache.locator, cache.maps, tried.phones, seed=0)
    assert errors.keys() == {"nothing", *phone_trial.PERMUTED_FEATURES}
    torch.testing.assert_close(errors["nothing"], tried.error, atol=1e-2, rtol=0)
    order = phone_trial._permutation_within(torch.tensor([0, 1, 0, 1, 2, 0]), torch.Generator().manual_seed(1))
    assert torch.equal(torch.tensor([0, 1, 0, 1, 2, 0])[order], torch.tensor([0, 1, 0, 1, 2, 0]))
    assert sorted(order.tolist()) == list(range(6))
    assert np.median(errors["azimuth"]) > np.median(errors["nothing"])


def test_attention_is_recomputed_as_torch_does_it():
    from explorer.analysis.attention import attention_weights
    from uel.models.equivariant_layers import Attention

    torch.manual_seed(0)
    layer, x, context = Attention(8, 1), torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    share = attention_weights(layer, x, context)
    torch.testing.assert_close(share.sum(-1), torch.ones(2, 3))
    value = layer.key_value(context).chunk(2, -1)[1]
    torch.testing.assert_close(layer.out(share @ value), layer(x, context))
