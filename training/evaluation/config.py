"""Configurations of evaluations. No framework is imported here."""

from dataclasses import dataclass

from uel.errors import UelError


@dataclass(frozen=True, kw_only=True)
class DemoEvaluationConfig:
    """Numbers of phones and fingerprints of the evaluation of the demo."""

    phones: int = 1000
    """reports drawn from the test tile's map"""
    fingerprints: int = 500
    """reports with known positions for kNN on a survey, for either truth"""

    def __post_init__(self) -> None:
        for name in ("phones", "fingerprints"):
            if getattr(self, name) < 1:
                raise UelError(f"evaluation.{name} must be at least 1", got=getattr(self, name), do="give 1 or more")
