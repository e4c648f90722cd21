"""What crowns of trees take from paths."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from sim_bridge.backend.canopy import lengths_in_canopy
from sim_bridge.paths.effects.object_motion import PathLine
from sim_bridge.scene.foliage import Foliage


def foliage_gain(
    foliage: Foliage,
    given: Mapping[str, Tensor],
    line: PathLine,
) -> Float[Tensor, " row"]:
    """Factor of each path's power by the metres that all its legs have inside crowns.

    `line` are the paths' starts, turning points and ends in metres; points behind the last one repeat it.
    """
    points = torch.cat([line[0][:, None], line[1], line[2][:, None]], 1)
    legs = points[:, :-1].reshape(-1, 3), points[:, 1:].reshape(-1, 3)
    real = ((legs[1] - legs[0]).detach().abs() > 0).any(1).nonzero()[:, 0]
    length = lengths_in_canopy(foliage.canopy, legs[0][real], legs[1][real])
    whole = torch.zeros_like(legs[0][:, 0]).index_add(0, real, length)
    return foliage.gain(whole.view(len(points), -1).sum(1), given)
