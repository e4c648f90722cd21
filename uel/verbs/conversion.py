"""`uel convert`: tiles, radio maps and traced paths in the formats of other programs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from uel.errors import UelError

if TYPE_CHECKING:
    from uel.verbs.config import ConvertConfig


def convert(args: Sequence[str]) -> int:
    """Write a tile or a radio map as GeoTIFF, GeoPackage, KML, CF Zarr, or its paths for DeepMIMO."""
    from uel.config import load
    from uel.verbs.config import ConvertConfig

    config = load(ConvertConfig, "convert", args)
    from uel.core.files.write_errors import require_writable, require_writable_file
    from uel.radio.radio_map_io import FOLDER_NAME

    (require_writable if config.to in ("zarr", "deepmimo") else require_writable_file)(config.target)
    if (config.source / FOLDER_NAME).is_dir():
        _convert_radio_map(config)
    elif (config.source / "tile.json").is_file():
        _convert_tile(config)
    else:
        do = "give the folder of a tile (uel build) or of a radio map (uel map)"
        raise UelError("this folder holds neither a tile nor a radio map", got=str(config.source), do=do)
    print(config.target)
    return 0


def _convert_tile(config: "ConvertConfig") -> None:
    from uel.geo.tile import Tile

    tile = Tile.open(config.source)
    if config.to == "deepmimo":
        from sim_bridge.deepmimo.scenario import write_scenario

        write_scenario(tile, config.target, config.deepmimo)
        return
    from scenes.export import geotiff, vector_layers

    writers = {
        "geotiff": geotiff.write_tile_geotiff,
        "geopackage": vector_layers.write_geopackage,
        "kml": vector_layers.write_kml,
    }
    if config.to not in writers:
        do = f"give --to {', '.join(writers)} or deepmimo, or the folder of a radio map"
        raise UelError(f"a tile has no {config.to}", got=str(config.source), do=do)
    writers[config.to](config.target, tile)


def _convert_radio_map(config: "ConvertConfig") -> None:
    from scenes.export.cf_zarr import write_cf_zarr
    from scenes.export.geotiff import write_radio_geotiff
    from uel.conversion.layers import layers_of
    from uel.inference.deployment import open_map_of_tile
    from uel.radio.radio_map_io import read_service

    if config.to not in ("geotiff", "zarr"):
        do = "give --to geotiff or --to zarr, or the folder of a tile"
        raise UelError(f"a radio map has no {config.to}", got=str(config.source), do=do)
    tile, radio = open_map_of_tile(config.source, config.tile)
    service = read_service(config.source)
    if config.to == "zarr":
        write_cf_zarr(config.target, tile, radio, layers_of(radio, service))
    else:
        write_radio_geotiff(config.target, tile, radio, layers_of(radio, service, (config.layer,))[0])
