"""Fields of paths: Sionna's, but for diffraction, which is ours (`utd`).

Around two edges in a row the coefficients multiply. The wave that meets the second edge has two radii of curvature, the
distance from the first edge and that from the source (ITU-R P.526-15, section 4.4, is the case of parallel edges):
Balanis, Advanced Engineering Electromagnetics, 2012, equations 13-100 to 13-103. A face along which a wave goes from
one edge to the other takes no part: at grazing incidence its reflection would cancel the wave, and leave a flat roof
without any, where a row of knife edges has one.

As `sionna_internals` it touches private names of version 2.2.0.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import drjit as dr
import mitsuba as mi
import numpy as np
import sionna.rt as rt
from sionna.rt.constants import InteractionType
from sionna.rt.path_solvers.field_calculator import FieldCalculator
from sionna.rt.path_solvers.paths_buffer import PathsBuffer
from sionna.rt.utils import WedgeGeometry

from sim_bridge.backend import utd

GRAZING_SINE = 1e-3  # between a face and a wave that goes along it
MIN_LEG = 1e-4  # m from an edge to an end of a path: nearer, there is no direction


@dataclass(frozen=True)
class PathWedges:
    """The wedge that each path of a buffer meets, and the materials of its faces, by their numbers."""

    geometry: WedgeGeometry
    first: mi.UInt
    second: mi.UInt

    @staticmethod
    def of_faces(geometry: WedgeGeometry, first: np.ndarray, second: np.ndarray) -> "PathWedges":
        """With material numbers of both faces (`utd.material_numbers`)."""
        return PathWedges(geometry, *(mi.UInt(numbers.astype(np.uint32)) for numbers in (first, second)))

    def gather(self, index: mi.UInt) -> "PathWedges":
        """Some of the wedges."""
        geometry = dr.gather(WedgeGeometry, self.geometry, index)
        return PathWedges(geometry, *(dr.gather(mi.UInt, numbers, index) for numbers in (self.first, self.second)))

    def lanes(self, materials: utd.FaceMaterials) -> utd.WedgeLanes:
        """For `utd.diffracted`."""
        edge = self.geometry
        return utd.WedgeLanes(
            mi.Vector3f(edge.e_hat),
            (mi.Vector3f(edge.n0), mi.Vector3f(edge.nn)),
            (materials.gather(self.first), materials.gather(self.second)),
        )


class PathFields(FieldCalculator):
    """Sionna's calculator, with the diffraction of `utd`, and with derivatives around edges that are numbers.

    Stock Sionna's lengths before and behind an edge go over what lies after a path's last interaction, too, of no
    length: right, but the derivative of that norm is no number.
    """

    def __init__(self, scene: rt.Scene, wedges: Sequence[PathWedges], edge_levels: Collection[int]) -> None:
        """`wedges` are those that paths meet first and second, `edge_levels` the numbers, from 1, of the interactions
        at which any path meets one: diffraction is computed nowhere else."""
        super().__init__()
        self._edge_levels, self._level = edge_levels, 0
        self.loop_mode = "evaluated"  # symbolic loops raise on backward
        self._wavelength = mi.Float(scene.wavelength)
        materials = utd.FaceMaterials.of_scene(scene) if wedges else None
        self._wedges = [edges.lanes(materials) for edges in wedges]

    def _diffraction_compute_s_s_prime(  # Sionna's name
        self, paths: PathsBuffer, src_positions: mi.Point3f, tgt_positions: mi.Point3f
    ) -> tuple[mi.Float, mi.Float]:
        """From the (first) edge to the target and from the source to the edge along each path, in metres."""
        zero = dr.zeros(mi.Float, paths.buffer_size)
        legs, edges, point = [zero, zero, zero], dr.zeros(mi.UInt, paths.buffer_size), src_positions
        for level in range(1, paths.max_depth + 2):
            if level > paths.max_depth:
                kind, real, vertex = mi.UInt(InteractionType.NONE), mi.Bool(True), tgt_positions
            else:
                depth = mi.UInt(level)
                kind = paths.get_interaction_type(depth, True)
                real = kind != InteractionType.NONE
                vertex = dr.select(real, paths.get_vertex(depth, True), point)
            length = dr.select(real, dr.norm(dr.select(real, vertex - point, mi.Vector3f(1, 0, 0))), 0.0)
            legs = [leg + dr.select(edges == number, length, 0.0) for number, leg in enumerate(legs)]
            edges, point = edges + dr.select(kind == InteractionType.DIFFRACTION, mi.UInt(1), mi.UInt(0)), vertex
        self._legs, self._twice = legs, edges == 2
        return dr.maximum(legs[1] + legs[2], MIN_LEG), dr.maximum(legs[0], MIN_LEG)

    def _update_field(  # Sionna's name
        self, shape, paths, depth, diffraction_enabled, interaction_type, ki_world, ko_world, e_fields, solid_angle,
        s, s_prime, active,
    ):  # fmt: skip
        """Fields after an interaction: at a wall Sionna's, at an edge those of `utd`. An evaluated loop calls this once
        for each level."""
        self._level += 1
        diffracts = self._level in self._edge_levels
        at_edge = active & (interaction_type == InteractionType.DIFFRACTION) if diffracts else mi.Bool(False)
        after, solid_angle = super()._update_field(
            shape, paths, depth, False, interaction_type, ki_world, ko_world, e_fields, solid_angle,
            s, s_prime, active & ~at_edge,
        )  # fmt: skip
        if not diffracts:
            return after, solid_angle
        behind = mi.Bool(False)
        if len(self._wedges) > 1:
            behind = at_edge & self._twice & (depth == 2)
        # Lanes that are not at an edge have directions that may lie along it: they get an edge of no matter.
        apart = at_edge & (s > MIN_LEG) & (s_prime > MIN_LEG)
        into, out = (dr.select(apart, k, mi.Vector3f(1, 0, 0)) for k in (ki_world, ko_world))
        wedge, distance, spread = self._wedges[0], s * s_prime / dr.maximum(s + s_prime, 1e-6), mi.Float(1)
        if len(self._wedges) > 1:
            wedge, distance, spread = self._of_two(behind, into)
            wedge = _without_grazed_faces(wedge, dr.select(behind, into, out), self._twice)
        screen = replace(wedge, direction=mi.Vector3f(0, 1, 0), normals=(mi.Vector3f(0, 0, 1), mi.Vector3f(0, 0, -1)))
        wedge, distance = wedge.select(apart, screen), dr.select(apart, distance, 1.0)
        spread = dr.select(apart, spread, 0.0)
        return [
            dr.select(at_edge, utd.diffracted(wedge, into, out, distance, self._wavelength, before) * spread, field)
            for before, field in zip(e_fields, after, strict=True)
        ], solid_angle

    def _of_two(self, behind: mi.Bool, into: mi.Vector3f) -> tuple[utd.WedgeLanes, mi.Float, mi.Float]:
        """The wedge of each lane, `behind` the second one of its path, the length of its transition functions (m), and
        its spreading over that of a single edge, which Sionna puts in."""
        near, middle, far = (dr.maximum(leg, 1e-6) for leg in self._legs)
        straight = near + middle
        # Between the planes of each edge and the wave from one to the other.
        way = dr.select(behind, into, mi.Vector3f(1, 0, 0))
        across = (
            dr.normalize(dr.cross(way, dr.select(behind, edges.direction, mi.Vector3f(0, 1, 0))))
            for edges in self._wedges
        )
        turn = dr.square(dr.dot(*across))
        radius = dr.rcp(turn / straight + (1 - turn) / middle)
        second = far * (radius + far) * middle * straight / (radius * (middle + far) * (straight + far))
        pair, single = (
            radius / (far * (radius + far) * near * middle * straight),
            (middle + far) * near * (straight + far),
        )
        return (
            self._wedges[0].select(~behind, self._wedges[1]),
            dr.select(behind, second, near * middle / straight),
            dr.select(behind, dr.sqrt(dr.select(behind, pair * single, 1.0)), 1.0),
        )


def _without_grazed_faces(wedge: utd.WedgeLanes, between: mi.Vector3f, active: mi.Bool) -> utd.WedgeLanes:
    """Wedges whose faces along the way to the other edge reflect nothing."""
    faces = []
    for normal, material in zip(wedge.normals, wedge.materials, strict=True):
        grazed = active & (dr.abs(dr.dot(normal, between)) < GRAZING_SINE)
        faces.append(replace(material, specular=dr.select(grazed, 0.0, material.specular)))
    return replace(wedge, materials=tuple(faces))
