"""Materials of ITU-R P.2040 at the carrier's frequency, within the bands that the Recommendation has, or beyond."""

import math

import mitsuba as mi
import sionna.rt as rt
from sionna.rt.radio_materials.itu import ITU_MATERIALS_PROPERTIES

from uel.errors import UelError

Band = tuple[float, float]


def set_frequency(scene: rt.Scene, frequency: float, extrapolate: bool) -> dict[str, Band]:
    """Set the frequency (Hz) of a scene and of its materials.

    A class has ε_r = a f^b and σ = c f^d with constants of its band (ITU-R P.2040-4, annex 1, table 3); most bands
    begin at 1 GHz, those of ground end at 10 GHz. With `extrapolate` the constants of the nearest band are used beyond
    it.

    Returns the bands (GHz) of the materials beyond theirs, by the materials' names.

    Raises `UelError` for such materials without `extrapolate`.

    Example:
        >>> import sim_bridge.simulator  # finds a usable LLVM
        >>> import sionna.rt as rt
        >>> from sim_bridge.scene.material_frequency import set_frequency
        >>> scene = rt.load_scene(rt.scene.simple_reflector)
        >>> set_frequency(scene, 3.5e9, extrapolate=False)
        {}
        >>> set_frequency(scene, 0.7e9, extrapolate=True)
        {'metal': (1.0, 100.0)}
    """
    beyond = {}
    for name, material in scene.radio_materials.items():
        if not isinstance(material, rt.ITURadioMaterial):  # others have values of their own
            continue
        bands = ITU_MATERIALS_PROPERTIES[material.itu_type]
        if any(low <= frequency / 1e9 <= high for low, high in bands):
            continue
        nearest = min(bands, key=lambda band: min(abs(math.log(frequency / 1e9 / end)) for end in band))
        if not extrapolate:
            raise UelError(
                f"ITU-R P.2040 does not define {material.itu_type} at this frequency (material {name})",
                got=f"{frequency / 1e9:g} GHz, nearest band {nearest[0]:g}-{nearest[1]:g} GHz",
                do="choose a carrier in the band, give the material values of its own, or use that band's formula "
                "beyond it: --tracing.material-extrapolation (TracingConfig.material_extrapolation)",
            )
        beyond[name] = nearest
        material.frequency_update_callback = _formula(*bands[nearest])
    scene.frequency = frequency
    return beyond


def _formula(a: float, b: float, c: float, d: float):
    """Properties by frequency, as Sionna asks for them: beyond the band that a, b, c, d are of."""
    return lambda frequency: (
        mi.Float(a * mi.Float(frequency / 1e9) ** b),
        mi.Float(c * mi.Float(frequency / 1e9) ** d),
    )
