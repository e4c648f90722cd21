"""The volume that buildings share, computed from all pairs."""

import numpy as np
import shapely

from scenes.osm.map_features import Building


def shared_volume(buildings: tuple[Building, ...]) -> float:
    """Cubic metres that any two of the buildings share, summed over all pairs."""
    plans = np.array([building.footprint for building in buildings], dtype=object)
    a, b = shapely.STRtree(plans).query(plans, predicate="intersects")
    a, b = a[a < b], b[a < b]
    low, top = (np.array([getattr(building, end) for building in buildings]) for end in ("base", "top"))
    tall = np.clip(np.minimum(top[a], top[b]) - np.maximum(low[a], low[b]), 0, None)
    return float((shapely.area(shapely.intersection(plans[a], plans[b])) * tall).sum())
