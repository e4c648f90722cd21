"""Everything that touches Sionna RT's private names, written for version 2.2.0 (`runtime.load` refuses others).

Three things are changed:

* receivers are arrays: a scene holds a fixed number of placeholder receivers and `set_receivers` puts an array
  of positions in their place, so that nothing is recompiled from call to call;
* the line of sight's direction is attached to the positions: stock Sionna detaches it, which makes the gradient
  of gain through a synthetic array wrong (0.067 instead of 0.320 dB/m in one measured case);
* candidate buffers come in a few sizes: Dr.Jit writes their length into the kernels of the backward pass, so stock
  Sionna compiles those anew for every batch (7 s without and 20–27 s with diffraction, against 0.25 s cached).
"""

import drjit as dr
import mitsuba as mi
import sionna.rt as rt
from sionna.rt.path_solvers.image_method import ImageMethod
from sionna.rt.path_solvers.sb_deterministic import SBDeterministicCandidateGenerator

SMALLEST_BUFFER = 8192  # rows: most batches of a training run fit, so most of them share their kernels


class _PaddedCandidates(SBDeterministicCandidateGenerator):
    """Bit-stable candidates in a buffer whose length is a power of two, `SMALLEST_BUFFER` at least."""

    def __call__(self, **kwargs):  # type: ignore[override]
        paths = super().__call__(**kwargs)
        found = int(dr.minimum(dr.max(paths._paths_counter), paths.buffer_size)[0])
        length = max(1 << max(found - 1, 0).bit_length(), SMALLEST_BUFFER)
        paths._paths_counter = mi.UInt(min(length, paths.buffer_size))  # what `shrink` keeps
        paths.found = found
        return paths


class _AttachedImageMethod(ImageMethod):
    """The image method: no path comes of padding, and directions of direct paths follow their end points."""

    def __call__(self, scene, paths, diffraction, diffraction_lit_region, src_positions, tgt_positions, **kwargs):  # type: ignore[override]
        paths = super().__call__(
            scene, paths, diffraction, diffraction_lit_region, src_positions, tgt_positions, **kwargs
        )
        paths.valid &= dr.arange(mi.UInt, paths.buffer_size) < dr.opaque(mi.UInt, paths.found)
        direct = paths.valid & (paths.num_interactions() == 0)
        source = dr.gather(mi.Point3f, src_positions, paths.source_indices, direct)
        target = dr.gather(mi.Point3f, tgt_positions, paths.target_indices, direct)
        # Zero-length vectors have no direction and no gradient: keep other paths' lanes away from them.
        direction = dr.normalize(dr.select(direct, target - source, mi.Vector3f(1, 0, 0)))
        paths.set_k_tx(direction, direct)
        paths.set_k_rx(-direction, direct)
        return paths


def path_solver() -> rt.PathSolver:
    """A bit-stable path solver whose gains can be differentiated with respect to positions."""
    solver = rt.PathSolver()
    solver._candidate_generator = _PaddedCandidates()
    solver._image_method = _AttachedImageMethod()
    solver.loop_mode = "evaluated"  # symbolic loops raise on backward
    return solver


def reserve_receivers(scene: rt.Scene, count: int) -> None:
    """Give the scene `count` placeholder receivers, the fixed width of every later call."""
    for index in range(count):
        scene.add(rt.Receiver(f"rx-{index}", position=mi.Point3f(0, 0, 0)))


def set_receivers(scene: rt.Scene, position: mi.Point3f) -> None:
    """Put the reserved receivers at an array of positions of the same width, keeping its gradient."""
    count = len(scene.receivers)
    assert dr.width(position) == count, "positions must fill the reserved receivers"
    zero = dr.zeros(mi.Point3f, count)
    offsets = dr.zeros(mi.Point3f, count * scene.rx_array.array_size)
    # Shadows the method on this one scene: `PathSolver` asks the scene for its targets.
    scene.targets = lambda synthetic_array, return_velocities: (position, zero, offsets, dr.zeros(mi.Vector3f, count))
