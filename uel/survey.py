"""Many tracks over one tile, in Zarr v3: the truth, to which realism is applied on read."""

import shutil
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from uel.errors import UelError
from uel.measurement import MeasurementModel
from uel.reports import Reports, Truth
from uel.sites import Site, reference_power_dbm, sites_from_json, sites_to_json

SCHEMA = "uel-survey-1"
UNITS = {"position": "m", "gain_db": "dB", "delay": "s", "azimuth_deg": "degree", "time": "s"}
_TRACKS_PER_CHUNK = 256


@dataclass(frozen=True, eq=False)
class Survey:
    """Ray-traced truth of tracks: `truth` has axes (track, report[, cell]); `time` (track, report) in seconds."""

    truth: Truth
    time: Float[Tensor, "track report"]
    sites: tuple[Site, ...]
    meta: dict[str, Any]
    """provenance: tile, fingerprint, seed"""

    def observe(self, model: MeasurementModel, seed: int) -> Reports:
        """Reports of all tracks under `model`, reproducible by seed; axes (track, report[, cell])."""
        generator = torch.Generator().manual_seed(seed)
        return model.for_traced.observe(self.truth, reference_power_dbm(self.sites), generator)

    def save(self, folder: str | Path) -> None:
        """Write a Zarr v3 group; a folder with this name is replaced only once the new one is whole."""
        import zarr
        from zarr.codecs import ZstdCodec

        folder = Path(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = folder.with_name(folder.name + ".part")
        shutil.rmtree(aside, ignore_errors=True)
        group = zarr.open_group(aside, mode="w", zarr_format=3)
        group.attrs.update({"schema": SCHEMA, "sites": sites_to_json(self.sites), **self.meta})
        for name, values in self._arrays().items():
            axes = ("track", "report", "cell" if name != "position" else "xy")[: values.ndim]
            array = group.create_array(
                name,
                data=values,
                chunks=(min(_TRACKS_PER_CHUNK, len(values)), *values.shape[1:]),
                dimension_names=axes,
                compressors=[ZstdCodec(level=3, checksum=True)],  # a flipped bit is noticed
                config={"write_empty_chunks": True},  # a missing chunk is damage, no block of zeros
            )
            array.attrs["units"] = UNITS.get(name, "1")
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)

    def _arrays(self) -> dict[str, np.ndarray]:
        tensors = {f.name: getattr(self.truth, f.name) for f in fields(Truth)} | {"time": self.time}
        return {name: tensor.numpy() for name, tensor in tensors.items()}

    @staticmethod
    def open(folder: str | Path) -> "Survey":
        """Read a survey. Raises `UelError` when it is absent, damaged, or not a survey of this schema."""
        import zarr

        try:
            group = zarr.open_group(Path(folder), mode="r", zarr_format=3)
            attrs = dict(group.attrs)
        except (OSError, ValueError, KeyError) as error:
            raise UelError("no readable survey here", got=f"{folder}: {error}", do="make it again") from error
        if attrs.get("schema") != SCHEMA:
            raise UelError(
                f"this Zarr group is not a survey of schema {SCHEMA!r}",
                got=f"schema {attrs.get('schema')!r} in {folder}",
                do="make the survey again with this version, or point to a survey",
            )
        names = [*(f.name for f in fields(Truth)), "time"]
        try:
            arrays = {name: torch.from_numpy(_read(group[name])) for name in names}
        except Exception as error:  # zarr's codecs raise what their compressor raises
            raise UelError("this survey is damaged", got=f"{folder}: {error}", do="make it again") from error
        time = arrays.pop("time")
        sites = sites_from_json(attrs.pop("sites"))  # type: ignore[arg-type]
        return Survey(Truth(**arrays), time, sites, {k: v for k, v in attrs.items() if k != "schema"})


def _read(array: Any) -> np.ndarray:
    """All values. Zarr takes an absent chunk for fill values, so the chunks are counted first."""
    if array.nchunks_initialized != array.nchunks:
        raise ValueError(f"{array.nchunks - array.nchunks_initialized} chunks of {array.path!r} are missing")
    return np.asarray(array[...])
