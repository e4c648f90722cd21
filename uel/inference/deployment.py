"""A deployment: a tile with one set of sites, its maps and its simulator; and reports of phones in it."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from uel.adaptation.mast_heights import MapFactory
from uel.core.io import data_folder, file_hash
from uel.core.tile_reference import TileReference, require_same_tile
from uel.errors import UelError, quoted
from uel.geo.similarity_transform import IDENTITY_TRANSFORM, SimilarityTransform
from uel.geo.tile import FINGERPRINT_LENGTH, Tile
from uel.geo.tile_maps import TileMaps, require_map_of_tile
from uel.measurement.model import ObservationModel
from uel.measurement.reports import Reports, rotate_to_assumed_azimuths
from uel.mobility.trajectories import draw_positions
from uel.radio import radio_map_io
from uel.radio.link_truth import LinkTruth
from uel.radio.radio_map import RadioMap
from uel.radio.simulator import Simulator
from uel.radio.sites import Site, sites_to_json, split_by_carrier
from uel.radio.tracing_config import RADIO_MAP_MODEL, TracingConfig
from uel.results.condition import EXACT_MAPS
from uel.survey.dataset import TileSurvey

PREFERRED_PIXEL = 4.0  # m, of a radio map that is traced for a locator
PLAUSIBLE_UE_HEIGHTS = (-2.0, 50.0)  # m above the ground, of a radio map that names no tile
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Deployment:
    """One tile with one set of sites: its true maps, the maps that are assumed of it, and its simulator.

    Training, evaluation, ablation, calibration, `uel locate` and the explorer all take this one.

    Raises:
        UelError: by `open`, for a folder without a tile or radio map; for a radio map or a survey of another tile, and
            for a survey of other sites than the radio map's.

    Example:
        >>> import tempfile, scenes, torch, uel
        >>> from uel.radio import radio_map_io
        >>> tile = scenes.build("etoile", tempfile.mkdtemp() + "/etoile", size=128.0, margin=0.0, progress=False)
        >>> simulator = uel.FreeSpace(scenes.place(tile, count=1, seed=0), size=128.0)
        >>> radio_folder = tempfile.mkdtemp()
        >>> radio_map_io.save(simulator.radio_map(tile.grid(8.0)), radio_folder)
        >>> deployment = uel.Deployment.open(tile.folder, radio_folder)
        >>> reports, position = deployment.reports_from_map(4, uel.ObservationModel(), torch.Generator().manual_seed(0))
        >>> reports.rsrp_dbm.shape, position.shape
        (torch.Size([4, 1]), torch.Size([4, 2]))
    """

    tile: Tile
    maps: TileMaps
    """the true maps; of a network in operation, the best that there are"""
    survey: TileSurvey | None = None
    """ray-traced link truth along tracks, in memory"""
    simulator: Simulator | None = None
    """of the true deployment, for live queries"""
    variants: Mapping[str, TileMaps] = field(default_factory=dict)
    """other maps of the same tile that a locator may be given, by map condition"""
    adapted_models: Mapping[str, ObservationModel] = field(default_factory=dict)
    """observation models fitted to labelled reports, which a locator is given with those maps, by map condition"""

    def __post_init__(self) -> None:
        require_map_of_tile(self.maps.radio.made_on, self.maps.radio.grid, self.tile)
        if self.survey is None:
            return
        do = f"survey this tile with these sites: uel survey {quoted(self.tile.folder)} --out FOLDER"
        require_same_tile("survey", self.survey.made_on, self.tile.reference, do)
        if self.survey.sites != self.sites:
            got = f"{len(self.survey.sites)} sites in the survey, {len(self.sites)} in the radio map"
            raise UelError("this survey has other sites than the radio map", got=got, do=do)

    @staticmethod
    def open(tile: str | Path, radio: str | Path) -> "Deployment":
        """The deployment of a tile's folder and the folder of a radio map of it (`uel map`).

        A map that names no tile is accepted where its sites and its ground fit this one.
        """
        opened, radio_map = open_map_of_tile(radio, Path(tile))
        return Deployment(opened, TileMaps.from_tile(opened, radio_map))

    @property
    def sites(self) -> tuple[Site, ...]:
        """The true sites."""
        return self.maps.radio.sites

    @property
    def backend(self) -> str:
        """Name of the simulator that made the radio map, by which live queries are answered, too."""
        return self.maps.radio.backend or TracingConfig().backend

    def assumed_maps(self, condition: str) -> TileMaps:
        """The maps that a locator is given under a map condition."""
        return self.maps if condition == EXACT_MAPS else self.variants[condition]

    def trace(self, position: Float[Tensor, "n 2"]) -> LinkTruth:
        """The link truth at positions in metres, by the simulator."""
        return self.require_simulator().paths(position)

    def require_simulator(self) -> Simulator:
        """The simulator. Raises `UelError` without one."""
        if self.simulator is None:
            do = "give Deployment(..., simulator=sim_bridge.open(tile, sites))"
            raise UelError("this deployment has no simulator", got=self.tile.name, do=do)
        return self.simulator

    def map_factory(self, condition: str) -> MapFactory:
        """A factory of more maps with the assumptions of a map condition.

        Raises `UelError` here: only a deployment that was made with a ray tracer has one.
        """
        do = "use training.pipeline.traced_deployment.traced_deployment"
        raise UelError("this deployment cannot trace maps anew", got=condition, do=do)

    def as_reported(
        self, reports: Reports, condition: str, similarity: SimilarityTransform = IDENTITY_TRANSFORM
    ) -> Reports:
        """Reports as a locator reads them that assumes the site azimuths of the maps of a condition."""
        true, assumed = self.maps.radio.sites, self.assumed_maps(condition).radio.sites
        if assumed == true:
            return reports
        return rotate_to_assumed_azimuths(reports, similarity.sites(true), similarity.sites(assumed))

    def reports_from_map(
        self,
        count: int,
        model: ObservationModel,
        generator: torch.Generator,
        similarity: SimilarityTransform = IDENTITY_TRANSFORM,
    ) -> tuple[Reports, Float[Tensor, "count 2"]]:
        """Reports drawn by lookup in the radio map, at uniform outdoor positions where a cell is heard, with these
        positions in metres.

        Position and fading are redrawn together until a cell is heard, so that the posterior under a uniform prior
        stays exact. Under a transform the pixels of the transformed map are looked up, which keeps it exact, too.
        """
        reports, positions, count_heard = [], [], 0
        maps = similarity.maps(self.maps)
        while count_heard < count:
            position = draw_positions(self.tile, self.maps.radio.sites, 2 * count, generator)
            if not similarity.is_identity:
                position = _outdoor_positions(similarity.position(position), maps)
            observed = model.observe(maps.radio.pixel_truth(position), maps.power_dbm, generator)
            audible = observed.heard.any(-1)
            reports.append(observed[audible])
            positions.append(position[audible])
            count_heard += int(audible.sum())
        return Reports.cat(reports)[:count], torch.cat(positions)[:count]

    def reports_from_survey(
        self,
        model: ObservationModel,
        generator: torch.Generator,
        count: int | None = None,
        similarity: SimilarityTransform = IDENTITY_TRANSFORM,
    ) -> tuple[Reports, Float[Tensor, "n 2"]]:
        """Reports on ray-traced truth with their positions: `count` drawn with repetition, or each of the survey once.

        Reports that hear no cell are left out, so fewer than `count` may be returned.
        """
        assert self.survey is not None, "this deployment has no survey"
        truth = self.survey.truth[self.survey.valid]
        if count is not None:
            truth = truth[torch.randint(len(truth), (count,), generator=generator, device=generator.device)]
        return self.reports_from_paths(truth, model, generator, similarity)

    def reports_from_paths(
        self,
        truth: LinkTruth,
        model: ObservationModel,
        generator: torch.Generator,
        similarity: SimilarityTransform = IDENTITY_TRANSFORM,
    ) -> tuple[Reports, Float[Tensor, "n 2"]]:
        """Reports on given ray-traced truth with their positions, of the phones that hear a cell and are on the
        (transformed) tile.
        """
        truth = truth if similarity.is_identity else similarity.truth(truth)
        truth = truth[self.maps.radio.grid.contains(truth.position)]
        observed = model.for_ray_tracing.observe(truth, self.maps.power_dbm, generator)
        audible = observed.heard.any(-1)
        return observed[audible], truth.position[audible]


def _outdoor_positions(position: Float[Tensor, "n 2"], maps: TileMaps) -> Float[Tensor, "m 2"]:
    """The positions on the tile and in pixels of nonzero prior: resampled maps have walls in other places than the
    tile.
    """
    position = position[maps.radio.grid.contains(position)]
    return position[maps.prior[maps.radio.grid.pixel_of(position)] > 0]


def open_map_of_tile(radio: str | Path, tile: Path | None = None) -> tuple[Tile, RadioMap]:
    """A tile and the radio map of it in a folder; without `tile` the tile in the data folder that the map names.

    Raises `UelError` for a map of another tile, and where no tile is given and the one that the map names is not there.
    """
    header = radio_map_io.read_header(radio)
    opened = Tile.open(tile) if tile is not None else _named_tile(radio, header.made_on)
    require_map_of_tile(header.made_on, header.grid, opened, f"radio map ({radio})")
    radio_map = radio_map_io.load(radio)
    if radio_map.made_on is None:
        _require_fit(radio_map, radio, opened)
    return opened, radio_map


def _named_tile(radio: str | Path, made_on: TileReference | None) -> Tile:
    """The tile in the data folder that a radio map was made on."""
    folders = [file.parent for file in sorted((data_folder() / "tiles").glob("*/tile.json"))]
    for folder in folders:
        if made_on is not None and file_hash(folder / "tile.json")[:FINGERPRINT_LENGTH] == made_on.fingerprint:
            return Tile.open(folder)
    named = made_on or "a tile that it does not name"
    got = f"{radio}: made on {named}, none of {len(folders)} tiles in {data_folder() / 'tiles'}"
    raise UelError("the tile of this radio map is not found", got=got, do="name its folder: --tile FOLDER")


def _require_fit(radio: RadioMap, folder: str | Path, tile: Tile) -> None:
    """Raise `UelError` unless a radio map that names no tile could be one of this tile: by its masts and its ground."""
    do = f"make a map of {tile.reference}: uel map {quoted(tile.folder)}"
    fault = "this radio map names no tile, and does not fit this one"
    try:
        tile.require_sites(radio.sites)
    except UelError as error:
        raise UelError(fault, got=f"{folder} with {tile.name}: {' '.join(str(error).split())}", do=do) from error
    height = radio.elevation - tile.ground(radio.grid.centres())
    low, high = float(height.min()), float(height.max())
    if not PLAUSIBLE_UE_HEIGHTS[0] <= low <= high <= PLAUSIBLE_UE_HEIGHTS[1]:
        got = f"{folder} with {tile.name}: phones at {low:.0f} to {high:.0f} m above the ground"
        raise UelError(fault, got=got, do=do)
    log.warning("%s names no tile: it is taken for a map of %s, whose size and sites fit", folder, tile.name)


def nesting_pixel(tile: Tile, patches: int) -> float:
    """The pixel in metres of a radio map that a locator of so many patches on a side can use, as near 4 m as can be.

    Raises `UelError` where no multiple of the tile's raster pixel divides its size into a multiple of the patches.
    """
    raster = tile.raster_grid
    fits = [raster.pixel * n for n in range(1, raster.count + 1) if raster.count % (n * patches) == 0]
    if not fits:
        side = f"{raster.count} raster pixels of {raster.pixel:g} m, {patches} patches"
        do = f"build the tile with --size of a multiple of {patches * raster.pixel:g} m"
        raise UelError("the locator's patches do not divide this tile", got=f"{tile.name}: {side}", do=do)
    return min(fits, key=lambda pixel: abs(pixel - PREFERRED_PIXEL))


def find_radio_map(tile: Tile, patches: int, root: Path, backend: str = TracingConfig().backend) -> Path | None:
    """The newest readable radio map in `root` of a tile and its sites (of one carrier) that a locator can use, or None.

    It is one of the simulator `backend`, computed as maps are now (`RADIO_MAP_MODEL`). `root` holds folders of radio
    maps, or folders of such folders.
    """
    networks = [json.loads(json.dumps(sites_to_json(sites))) for sites in split_by_carrier(tile.sites).values()]
    files = [file for depth in ("*", "*/*") for file in root.glob(f"{depth}/{radio_map_io.FOLDER_NAME}/zarr.json")]
    for file in sorted(files, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            made_from = radio_map_io.read_provenance(file.parent.parent)
        except UelError:
            continue
        is_usable = round(made_from["size"] / made_from["pixel"]) % patches == 0
        is_same_simulator = made_from.get("backend", TracingConfig().backend) == backend
        is_of_tile = made_from.get("fingerprint") == tile.fingerprint and made_from["sites"] in networks
        if not (is_of_tile and is_same_simulator and is_usable):
            continue
        if (model := made_from.get("radio_map_model", 1)) == RADIO_MAP_MODEL:
            return file.parent.parent
        told = "%s is not used: it was traced as by version %s of radio maps, which is now %d (uel map makes it again)"
        log.info(told, file.parent.parent, model, RADIO_MAP_MODEL)
    return None
