"""Configurations of evaluations. No framework is imported here."""

from dataclasses import dataclass

from uel.errors import UelError


@dataclass(frozen=True, kw_only=True)
class DemoEvaluationConfig:
    """How many phones the judgement rests on."""

    phones: int = 1000
    """reports drawn from the test tile's map"""
    fingerprints: int = 500
    """reports with known positions that kNN on a survey may use, of either truth"""

    def __post_init__(self) -> None:
        if min(self.phones, self.fingerprints) < 1:
            raise UelError("an evaluation needs phones and fingerprints", got=self, do="give at least one of each")
