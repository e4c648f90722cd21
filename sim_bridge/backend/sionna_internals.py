"""Everything that touches Sionna RT's private names, written for version 2.2.0 (`runtime.load_sionna` refuses others);
for radio maps `map_fields`.

Paths are found in three steps, on Sionna's own parts but not in the order of its `PathSolver`:

1. candidates: chains of primitives worth trying, by Sionna's search (`search`) or from an atlas (`candidate_buffers`);
2. `resolve`: the image method without gradients decides which candidates are paths; those are kept, each once;
3. `image_method.turning_points` and `evaluate`: where those few turn, in PyTorch, and their fields, with gradients.

What differs from stock Sionna, and why:

* the search's duplicates are dropped: walls of several triangles that are not quite coplanar make stock Sionna count
  one reflection up to three times (up to 23 % of a scene's total power in munich);
* the geometry is attached in PyTorch: Sionna's image method, differentiated in Dr.Jit's evaluated loops, took half of
  a call's time, and stock Sionna detaches the direct path's directions, which makes the gradient of gain through a
  synthetic array wrong (0.067 instead of 0.320 dB/m in one measured case);
* buffers come in a few sizes: Dr.Jit writes their length into the kernels of the backward pass, so stock Sionna
  compiles those anew for every batch (7 s without and 20-27 s with diffraction, against 0.05 s cached);
* end points are arrays: nothing is recompiled when the number of receivers changes.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar

import drjit as dr
import mitsuba as mi
import numpy as np
import sionna.rt as rt
from sionna.rt.constants import InteractionType
from sionna.rt.path_solvers.image_method import ImageMethod
from sionna.rt.path_solvers.paths_buffer import PathsBuffer
from sionna.rt.path_solvers.sb_deterministic import SBDeterministicCandidateGenerator

from sim_bridge.backend.candidate_buffers import joined
from sim_bridge.backend.path_buffers import to_numpy, unique_paths
from sim_bridge.backend.path_fields import PathFields, PathWedges

# Rows of a buffer: few lengths, so few kernels; more of them where rows cost more than kernels.
BUFFER_SIZES = (1024, 4096, 16384, *(32768 * 2**k for k in range(16)))
NONE, SPECULAR_REFLECTION, DIFFUSE_REFLECTION, REFRACTION, DIFFRACTION = (
    InteractionType.NONE,
    InteractionType.SPECULAR,
    InteractionType.DIFFUSE,
    InteractionType.REFRACTION,
    InteractionType.DIFFRACTION,
)


@dataclass(frozen=True)
class PathSearch:
    """Limits of Sionna's search for candidates."""

    max_depth: int
    samples: int
    max_paths: int
    """candidates per cell"""
    sources_at_once: int
    diffraction: bool
    scattering: bool
    seed: int


@dataclass(frozen=True)
class DrJitEndpoints:
    """Starts (`cell`) and ends (`n`) of paths: positions in metres, orientations in Sionna's angles in radians."""

    source: mi.Point3f
    source_orientation: mi.Point3f
    target: mi.Point3f
    target_orientation: mi.Point3f


def search(scene: rt.Scene, endpoints: DrJitEndpoints, limits: PathSearch) -> PathsBuffer:
    """Candidates of every source and target, by Sionna's bit-stable search.

    It is made for `sources_at_once` sources after each other, with the results of a single search.
    """
    count = dr.width(endpoints.source)
    parts = []
    for first in range(0, count, limits.sources_at_once):
        index = dr.arange(mi.UInt, first, min(first + limits.sources_at_once, count))
        generator = SBDeterministicCandidateGenerator()
        generator._sampler = _LaneSampler(limits.samples * first)
        paths = generator(
            mi_scene=scene.mi_scene,
            src_positions=dr.gather(mi.Point3f, endpoints.source, index),
            tgt_positions=endpoints.target,
            samples_per_src=limits.samples,
            max_num_paths_per_src=limits.max_paths,
            max_depth=limits.max_depth,
            los=True,
            specular_reflection=True,
            diffuse_reflection=limits.scattering,
            refraction=True,
            diffraction=limits.diffraction,
            edge_diffraction=False,
            seed=limits.seed,
        )
        paths.schedule()
        dr.eval()
        paths.shrink()
        if paths.buffer_size:  # Dr.Jit does not calculate with empty arrays
            paths._src_indices += first
        parts.append(paths)
    return reduce(joined, parts)


class _LaneSampler:
    """Mitsuba's independent sampler whose lanes are some of a longer row, `first` being the number of the first."""

    DRJIT_STRUCT: ClassVar = {"random": mi.PCG32}

    def __init__(self, first: int = 0) -> None:
        self.first, self.random = first, mi.PCG32()

    def seed(self, seed: int, lanes: int) -> None:
        """As Mitsuba seeds the lanes (Tzeng and Wei's tiny encryption algorithm, HPG 2008)."""
        lane = dr.arange(mi.UInt, lanes) + dr.opaque(mi.UInt, self.first)
        self.random.seed(*(mi.UInt64(word) for word in mi.sample_tea_32(dr.opaque(mi.UInt, seed), lane)))

    def next_1d(self, active: mi.Bool = True) -> mi.Float:
        """A number from 0 to 1 for every lane."""
        return self.random.next_float32(active)

    def next_2d(self, active: mi.Bool = True) -> mi.Point2f:
        """Two of them."""
        first = self.random.next_float32(active)
        return mi.Point2f(first, self.random.next_float32(active))


def is_truncated(paths: PathsBuffer, sources: int, limits: PathSearch) -> bool:
    """Whether some source had more candidates than the buffer holds: paths were lost then."""
    count = np.bincount(to_numpy(paths.source_indices), minlength=sources)
    return bool((count >= limits.max_paths).any())


def resolve(
    scene: rt.Scene, base: np.ndarray, paths: PathsBuffer, endpoints: DrJitEndpoints, diffraction: bool
) -> tuple[PathsBuffer, int]:
    """The candidates that are paths, each once, in a buffer of one of `BUFFER_SIZES`, and how many there are.

    `base` is that of the scene's `Facets`: it puts paths in an order of their own.
    """
    with dr.suspend_grad():
        paths.detach_geometry()
        scattered = mi.Bool(paths.valid)  # a copy: the image method writes into its own
        method = ImageMethod()
        paths = method(scene.mi_scene, paths, diffraction, True, *_detached(endpoints))
        rows = dr.compress(paths.valid)
        paths.valid = scattered  # scattered paths are no candidates
        paths = paths.gather(rows)
        paths.schedule()
        dr.eval()
        index = unique_paths(paths, base)
        return padded(paths, index), len(index)


def padded(paths: PathsBuffer, index: np.ndarray) -> PathsBuffer:
    """Some rows, in a buffer of one of `BUFFER_SIZES` that the last one fills."""
    count = len(index)
    if not count:
        return paths.gather(dr.zeros(mi.UInt, 0))
    size = next(size for size in BUFFER_SIZES if size >= count)
    rows = paths.gather(mi.UInt(np.concatenate([index, np.full(size - count, index[-1])]).astype(np.uint32)))
    rows.schedule()
    dr.eval()
    return rows


def paths_of_sources(paths: PathsBuffer, rows: np.ndarray, number: np.ndarray) -> PathsBuffer:
    """Some rows of resolved paths, in a buffer of one of `BUFFER_SIZES`, with other numbers for their sources."""
    with dr.suspend_grad():
        part = padded(paths, rows)
        part._src_indices = dr.gather(mi.UInt, mi.UInt(number.astype(np.uint32)), part.source_indices)
        dr.eval(part._src_indices)
    return part


def drop_targets(paths: PathsBuffer, count: int) -> None:
    """Leave out candidates of receivers from `count` on, which only fill a width."""
    if paths.buffer_size:
        kept = dr.compress(paths.target_indices < count)
        paths.__dict__.update(paths.gather(kept).__dict__)


def as_candidates(paths: PathsBuffer, count: int) -> PathsBuffer:
    """Paths as candidates for other endpoints, or for walls that have moved.

    Reflecting planes take their point from their triangle. Stock Sionna takes the point that the search met, which
    stays behind. Scattered paths keep their points: what comes before the last scattering is not solved again.
    """
    paths = paths.gather(dr.arange(mi.UInt, count))  # a copy: the image method writes into it
    levels = [dr.opaque(mi.UInt, depth) for depth in range(1, paths.depth_dim_size + 1)]
    kinds = [paths.get_interaction_type(level, True) for level in levels]
    scattered = mi.Bool(False)
    for kind in kinds:
        scattered |= kind == DIFFUSE_REFLECTION
    for level, kind in zip(levels, kinds, strict=True):
        reflects = (kind == SPECULAR_REFLECTION) & ~scattered
        corner, *_ = paths.get_primitive_props(level, return_normal=False, return_vertices=True, active=reflects)
        paths.set_vertex(level, corner, reflects)
    return paths


def evaluate(
    scene: rt.Scene,
    resolved: PathsBuffer,
    count: int,
    endpoints: DrJitEndpoints,
    vertex: list[mi.Float],
    limits: PathSearch,
    wedges: Sequence[PathWedges],
    edge_levels: Collection[int],
) -> list[mi.TensorXf]:
    """Fields of resolved paths, differentiable in endpoints, materials and turning points.

    `vertex` are the coordinates of the turning points (3, row × depth) in metres, `wedges` those that the rows
    meet first and second, where any row goes around that many, at interactions of the numbers `edge_levels`, from 1.
    Returns arrays over the rows of the
    buffer: real and imaginary parts (receive × transmit pattern, row), Doppler shift by moving objects. Rows
    from `count` on are padding.
    """
    paths = resolved.gather(dr.arange(mi.UInt, resolved.buffer_size))  # what follows writes into its buffer
    for axis, values in zip("xyz", vertex, strict=True):
        setattr(paths, f"_vertices_{axis}", mi.TensorXf(values, shape=(paths.buffer_size, paths.depth_dim_size)))
    paths.valid = dr.arange(mi.UInt, paths.buffer_size) < dr.opaque(mi.UInt, count)
    paths = PathFields(scene, wedges, edge_levels)(
        wavelength=scene.wavelength,
        paths=paths,
        samples_per_src=limits.samples,
        diffraction=bool(edge_levels),
        src_positions=endpoints.source,
        tgt_positions=endpoints.target,
        src_orientations=endpoints.source_orientation,
        tgt_orientations=endpoints.target_orientation,
        src_antenna_patterns=scene.tx_array.antenna_pattern.patterns,
        tgt_antenna_patterns=scene.rx_array.antenna_pattern.patterns,
    )

    def valid_only(value):
        return dr.select(paths.valid, value, 0)

    flat = [coefficient for row in paths.a for coefficient in row]
    columns = [[a.real for a in flat], [a.imag for a in flat], [paths.doppler]]
    return [mi.TensorXf(_joined([valid_only(v) for v in column])) for column in columns]


def _joined(columns: list[mi.Float]) -> mi.Float:
    return columns[0] if len(columns) == 1 else dr.concat(columns)


def _detached(endpoints: DrJitEndpoints) -> tuple[mi.Point3f, mi.Point3f]:
    return dr.detach(endpoints.source), dr.detach(endpoints.target)
