"""What help and shell completion know of each verb beside its docstring: its configuration, and commands to copy."""

from dataclasses import dataclass
from importlib import import_module


@dataclass(frozen=True)
class VerbEntry:
    """The configuration of a verb, and examples of it."""

    schema: str
    """`module:class` of the dataclass that the verb's options fill; the module imports no framework"""
    examples: tuple[str, ...]
    """commands, each with a comment after two spaces and `#`"""

    def load_schema(self) -> type:
        """Import the module, and return the dataclass."""
        module, _, name = self.schema.partition(":")
        return getattr(import_module(module), name)


VERB_ENTRIES = {
    "demo": VerbEntry(
        "training.commands.config:DemoConfig",
        ("uel demo  # ten minutes on two cores", "uel demo --config demo/quick  # a small one"),
    ),
    "build": VerbEntry(
        "scenes.config:BuildConfig",
        (
            "uel build paris.osm.gz  # a map file: .osm, .pbf, .geojson, .parquet, .shp",
            "uel build munich florence  # bundled cities, which need no network",
            "uel build canyon.xml --origin 48.137 11.575  # a scene of Sionna or Mitsuba",
            "uel build heights.tif --dem terrain.tif  # rasters of heights",
        ),
    ),
    "network": VerbEntry(
        "scenes.measured_networks.config:NetworkConfig",
        ("uel network districts/north  # an operator's list, heights and a table of levels become a tile",),
    ),
    "place": VerbEntry(
        "scenes.config:PlaceConfig",
        (
            "uel place data/tiles/paris --kind farthest  # rooftop sites, far from each other",
            "uel place data/tiles/paris --kind custom --file cells.csv  # an operator's list of cells",
        ),
    ),
    "map": VerbEntry(
        "sim_bridge.commands.config:RadioMapConfig",
        (
            "uel map data/tiles/paris  # one map a carrier, with error bars",
            "uel map data/tiles/paris --tracing.backend free-space  # without buildings, at once",
        ),
    ),
    "survey": VerbEntry(
        "sim_bridge.commands.config:SurveyConfig",
        (
            "uel survey data/tiles/paris --tracks 1000 --out data/surveys/paris",
            "uel survey data/tiles/paris --out data/surveys/paris --engine processes  # the same bytes, sooner",
        ),
    ),
    "train": VerbEntry(
        "training.commands.config:TrainConfig",
        ("uel train --run mine --train data/tiles/paris", "uel train --config train/small  # a locator of many tiles"),
    ),
    "train-maps": VerbEntry(
        "training.level_maps.config:TrainMapsConfig",
        ("uel train-maps --data districts  # folders of measured networks",),
    ),
    "eval": VerbEntry(
        "training.evaluation.protocol:EvalConfig",
        (
            "uel eval runs/demo --tiles data/tiles/paris --protocol quick  # beside the limit and all baselines",
            "uel eval runs/demo --tile data/tiles/paris --log drive.csv  # on reports whose positions are known",
        ),
    ),
    "ablate": VerbEntry(
        "training.ablation.config:AblateConfig",
        ("uel ablate --quick --tile data/tiles/paris  # minutes, for a first look",),
    ),
    "locate": VerbEntry(
        "uel.inference.config:LocateConfig",
        (
            "uel locate runs/demo log.csv --tile data/tiles/paris --out fixes.geojson",
            "uel locate runs/demo log.csv --labelled-reports drive.csv  # correct the map first",
        ),
    ),
    "export": VerbEntry(
        "uel.inference.config:ExportConfig",
        ("uel export runs/demo --tile data/tiles/paris  # a program of torch.export",),
    ),
    "convert": VerbEntry(
        "uel.verbs.config:ConvertConfig",
        (
            "uel convert data/maps/paris-3.5GHz --to geotiff  # for QGIS",
            "uel convert data/tiles/paris --to deepmimo  # paths, as DeepMIMO 4 loads them",
        ),
    ),
    "verify": VerbEntry("uel.verbs.config:VerifyConfig", ("uel verify data runs  # every artefact in these folders",)),
    "calibrate": VerbEntry(
        "training.calibration.config:CalibrateConfig",
        ("uel calibrate --config calibrate/quick  # materials that are known, as a test",),
    ),
    "antennas": VerbEntry(
        "training.antennas.config:AntennasConfig", ("uel antennas districts/north  # azimuths and tilts, from levels",)
    ),
    "residuals": VerbEntry(
        "training.residuals.config:ResidualsConfig",
        ("uel residuals data/tiles/north  # measured levels around the tile's radio map",),
    ),
    "explore": VerbEntry(
        "explorer.app.config:ExploreConfig", ("uel explore runs/demo", "uel explore data/tiles/paris --port 8502")
    ),
    "doctor": VerbEntry(
        "sim_bridge.diagnostics.doctor:DoctorConfig",
        ("uel doctor", "uel doctor --gradients  # every derivative against differences: an hour"),
    ),
}
"""by the verb's name"""
