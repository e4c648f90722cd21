"""Districts with labels: maps that they have corrected, and the other squares to locate.

Those squares lie in labelled blocks, too: a network that only sees phones in other blocks learns that nobody stands
where the error bars are small.
"""

from collections.abc import Sequence

from uel.measurement.measured_network import MeasuredNetwork, split_labels
from uel.prediction.config import PredictionParameters
from uel.prediction.learned_maps.labelled_maps import with_labels
from uel.prediction.learned_maps.predictor import PredictedDistrict
from uel.prediction.square_posterior import Squares


def labelled_cases(
    district: PredictedDistrict,
    squares: Squares,
    network: MeasuredNetwork,
    budgets: Sequence[int],
    parameters: PredictionParameters,
    seed: int,
) -> list[tuple[PredictedDistrict, MeasuredNetwork]]:
    """For each budget of which the labelled blocks have as many squares, the corrected maps and the squares of the
    district that can be judged and are no labels.

    Args:
        district: learned maps that have not seen the district.
        squares: where phones can be; the maps' places are blocks of them.
        network: the measured squares.
        budgets: numbers of labels.
        parameters: of levels around learned maps.
        seed: of the draw of blocks, another one for each budget.
    """
    cases = []
    for number, budget in enumerate(budgets):
        split = split_labels(network, seed + number)
        if budget <= len(split.labelled):
            chosen = split.labels(budget)
            is_asked = network.is_judged.index_fill(0, chosen, False)
            labels, asked = network.select(chosen), network.select(is_asked)
            cases.append((with_labels(district, squares, labels, parameters), asked))
    return cases
