"""One scoring core: errors of positions, densities and credible levels at true positions are computed in
`uel.estimation.scoring`, and summarised there."""

import ast

import pytest

from tests.helpers.source_code import modules, tree_of

HOME = "uel.estimation.scoring"
METRIC_NAMES = {"p50_m", "p67_m", "p95_m", "mean_m", "nll"}
SCORING_CALLS = {"position_error", "grid_hpd_level", "hpd_level"}
STATISTICS = {"quantile", "median", "percentile", "nanmedian"}
# Modules that compute something of the kind and are no second loop over methods, each with its reason.
READERS = {
    "uel.estimation.estimates": "an estimate tells its own credible level",
    "uel.estimation.robust_bayes": "tunes a number of neighbours by the mean error",
    "training.evaluation.track_methods": "tunes the likelihood of tracks by the mean error",
    "training.locator.callbacks": "writes the whole distribution of errors, nineteen quantiles",
    "uel.estimation.refinement": "a refined fix tells its own credible level",
    "uel.results.evaluation": "reads stored estimates, and resamples their percentiles",
    "uel.prediction.square_posterior": "an estimate tells its own credible level",
    "training.measured_networks.runner": "hands scores on to a file, by name",
    "training.antennas.experiment": "errors of angles, and of fixes with each set of antennas resampled together",
    "explorer.analysis.district": "errors of the phones of a page",
    "explorer.app.views.district": "the median of errors on a page",
    "explorer.figures.evaluation": "marks the median in a picture",
    "explorer.reports.evaluation_refinement": "compares percentiles of stored errors",
    "explorer.analysis.tables": "percentiles of stored errors",
    "explorer.analysis.accuracy.charts": "draws the distribution of stored errors",
    "explorer.analysis.accuracy.comparison": "percentiles of stored errors of two methods, resampled together",
    "explorer.analysis.accuracy.scenarios": "percentiles of stored errors, by scenario",
    "explorer.app.views.analysis": "compares medians of errors on a page",
    "training.calibration.result": "errors of levels, in dB",
    "explorer.reports.calibration": "errors of levels, in dB",
    "sim_bridge.commands.radio_map": "relative errors of a map",
    "sim_bridge.radio_maps.solver": "relative errors of a map",
}


def scoring_in(tree: ast.AST) -> list[str]:
    """What a module computes that belongs to scoring, with line numbers."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _computes_score(node):
            found.append(f"{node.lineno}: {ast.unparse(node)}")
        elif isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            found += [f"{node.lineno}: {ast.unparse(key)}" for key, value in pairs if key and _is_metric(key, value)]
        elif isinstance(node, ast.Assign):
            keys = [target.slice for target in node.targets if isinstance(target, ast.Subscript)]
            found += [f"{node.lineno}: {ast.unparse(key)}" for key in keys if _is_metric(key, node.value)]
    return found


def _computes_score(call: ast.Call) -> bool:
    name = getattr(call.func, "id", "") or getattr(call.func, "attr", "")
    of_errors = any("error" in getattr(leaf, "id", getattr(leaf, "attr", "")) for leaf in ast.walk(call))
    return name in SCORING_CALLS or (name in STATISTICS and of_errors)


def _is_metric(key: ast.expr, value: ast.expr) -> bool:
    """Whether a metric is given a value of its own; handing on one that was read under the same name is none."""
    is_metric = isinstance(key, ast.Constant) and key.value in METRIC_NAMES
    return is_metric and not (isinstance(value, ast.Subscript) and ast.unparse(value.slice) == ast.unparse(key))


def test_methods_are_scored_in_one_place():
    found = {name: lines for name, file in modules().items() if (lines := scoring_in(tree_of(file)))}
    assert {name: lines for name, lines in found.items() if name not in {HOME, *READERS}} == {}
    assert set(READERS) & set(modules()) <= set(found)  # a reader that computes nothing any more is struck off


SECOND_LOOP = """
def evaluate(method, reports, truth):
    errors = []
    for part in reports.split(64):
        errors.append({line})
"""


@pytest.mark.parametrize(
    "line",
    [
        "position_error(method(part).position, truth)",
        "scoring.position_error(method(part).position, truth)",
        "method(part).hpd_level(truth, generator)",
        "float(errors[-1].quantile(0.5))",
        "np.percentile(position_errors, 95)",
        "{'p50_m': middle(part)}",
        "{'nll': -method(part).log_density(truth)}",
    ],
)
def test_a_second_loop_is_found(line):
    assert scoring_in(ast.parse(SECOND_LOOP.replace("{line}", line)))


@pytest.mark.parametrize("line", ["{'p50_m': row['p50_m']}", "model.log_density(part)", "gain.quantile(0.5)"])
def test_other_statistics_are_no_scores(line):
    assert not scoring_in(ast.parse(SECOND_LOOP.replace("{line}", line).replace("errors", "values")))
