"""Maps of a district from its list of cells and its rasters, and posteriors of phones on them: no level is labelled."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from uel.core.display.short_repr import ShortRepr
from uel.core.io import replace_torch_file
from uel.core.outside.weight_files import read_weights, require_finite_weights
from uel.errors import UelError
from uel.measurement.measured_network import MeasuredNetwork
from uel.models.config import EvidenceNetworkConfig, LinkNetworkConfig
from uel.prediction.learned_maps.candidates import Candidates
from uel.prediction.learned_maps.evidence import PaddedReports
from uel.prediction.learned_maps.evidence_network import EvidenceNetwork, place_surroundings
from uel.prediction.learned_maps.link_network import LinkEnsemble, LinkNetwork, LinkPrediction
from uel.prediction.learned_maps.surroundings import Surroundings
from uel.prediction.square_posterior import Squares

SCHEMA = "uel-level-maps-2"
LEVEL_MAPS_FILE = "level_maps.pt"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PredictedDistrict(ShortRepr):
    """Maps of the cells of a district at the places where a phone may be."""

    places: Candidates
    maps: LinkPrediction
    """(cell, place)"""
    surroundings: Float[Tensor, "place channel"]

    @staticmethod
    def of(links: LinkEnsemble, network: MeasuredNetwork, squares: Squares) -> "PredictedDistrict":
        """Predict the maps of a network whose cells are listed and named by its reports.

        Raises:
            UelError: where a cell's antenna is not known.
        """
        unlisted = (~network.cells.is_listed).nonzero()[:, 0].tolist()
        if unlisted:
            got = ", ".join(network.cells.cell_id[number] for number in unlisted[:5])
            do = "leave these cells out (`MeasuredNetwork.with_cells`)"
            raise UelError("the antennas of some cells are not known", got=got, do=do)
        return PredictedDistrict.with_maps(network, squares, links.predict_maps(network, Candidates.of(squares)))

    @staticmethod
    def with_maps(network: MeasuredNetwork, squares: Squares, maps: LinkPrediction) -> "PredictedDistrict":
        """A district whose maps were predicted before."""
        places = Candidates.of(squares)
        around = place_surroundings(Surroundings.of(network.rasters, network.grid), places)
        return PredictedDistrict(places=places, maps=maps, surroundings=around)


@dataclass(frozen=True, eq=False)
class MapPredictor:
    """The networks that predict maps and weigh what they say."""

    links: LinkEnsemble
    evidence: EvidenceNetwork

    @torch.no_grad()
    def log_posterior(
        self, district: PredictedDistrict, reports: PaddedReports, corrected: bool = True
    ) -> Float[Tensor, "batch place"]:
        """Log-probabilities of the places, by grid Bayes; `corrected` by the network that weighs the evidence."""
        if corrected:
            return self.evidence(district.maps, district.places, district.surroundings, reports)
        return self.evidence.grid_bayes(district.maps, district.places, reports)

    def save(self, folder: Path) -> None:
        """Write `level_maps.pt` (weights and configurations) into a folder."""
        content: dict[str, Any] = {"schema": SCHEMA}
        networks: dict[str, LinkNetwork | EvidenceNetwork] = {"evidence": self.evidence}
        for number, member in enumerate(self.links.members):
            assert isinstance(member, LinkNetwork), "an ensemble has networks for links"
            networks[f"links_{number}"] = member
        for name, network in networks.items():
            content[name] = {"config": asdict(network.config), "state": network.state_dict()}
        replace_torch_file(folder / LEVEL_MAPS_FILE, content)

    @staticmethod
    def load(folder: Path) -> "MapPredictor":
        """Read what `save` wrote; raises `UelError` where the file is missing, damaged or of another schema."""
        file, do = folder / LEVEL_MAPS_FILE, "train it: uel train-maps --data FOLDER"
        if not file.is_file():
            raise UelError("the folder has no learned maps", got=str(file), do=do)
        try:
            content: dict[str, Any] = read_weights(file)
            if content["schema"] != SCHEMA:
                raise ValueError(f"schema {content['schema']!r} instead of {SCHEMA!r}")
            links = []
            for name in sorted(name for name in content if name.startswith("links_")):
                links.append(LinkNetwork(LinkNetworkConfig(**content[name]["config"])))
                require_finite_weights(content[name]["state"], file)
                links[-1].load_state_dict(content[name]["state"])
            evidence = EvidenceNetwork(EvidenceNetworkConfig(**content["evidence"]["config"]))
            require_finite_weights(content["evidence"]["state"], file)
            evidence.load_state_dict(content["evidence"]["state"])
        except Exception as error:  # torch raises what its unpickler and zip reader raise
            raise UelError("these learned maps cannot be read", got=f"{file}: {error}", do=do) from error
        return MapPredictor(LinkEnsemble(links).eval(), evidence.eval())
