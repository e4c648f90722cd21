"""Losses over knife edges by ITU-R P.526, and how two edges are traced."""

import math

import scipy.special

from uel.core.constants import SPEED_OF_LIGHT

WAVELENGTH = SPEED_OF_LIGHT / 3.5e9
TWICE = {"max_depth": 2, "diffraction": True, "diffraction_order": 2, "size": 512.0}


def knife_edge_db(near: float, far: float, height: float) -> float:
    """Loss J(ν) of ITU-R P.526-15, equations 26 to 30, of an edge `height` above the line between its ends (m)."""
    sine, cosine = scipy.special.fresnel(height * math.sqrt(2 / WAVELENGTH * (1 / near + 1 / far)))
    return -10 * math.log10(((0.5 - cosine) ** 2 + (0.5 - sine) ** 2) / 2)


def epstein_peterson_db(points: list[tuple[float, float]]) -> float:
    """Loss over two edges by ITU-R P.526-15, section 4.4.1: x and z of the ends and of the edges between them."""
    x0, x1, x2, x3 = (x for x, _ in points)

    def above(a, b, c):
        return b[1] - (a[1] + (c[1] - a[1]) * (b[0] - a[0]) / (c[0] - a[0]))

    a, b, c = x1 - x0, x2 - x1, x3 - x2
    one = knife_edge_db(a, b, above(points[0], points[1], points[2]))
    two = knife_edge_db(b, c, above(points[1], points[2], points[3]))
    return one + two + 10 * math.log10((a + b) * (b + c) / (b * (a + b + c)))
