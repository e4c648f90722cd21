"""`uel verify`: whether artefacts are as they were made."""

from collections.abc import Sequence


def verify(args: Sequence[str]) -> int:
    """Read tiles, radio maps, surveys, runs and other artefacts whole, and say which files are damaged."""
    from uel.config import load
    from uel.verbs.config import VerifyConfig

    config = load(VerifyConfig, "verify", args)
    from uel.verbs.artefact_checks import check_artefacts

    damaged = 0
    for check in check_artefacts(config.paths):
        print(f"{check.folder}: {check.kind}, {'damaged' if check.faults else 'as it was made'}")
        print("".join(f"  ! {fault}\n" for fault in check.faults), end="")
        if check.faults:
            print(f"  make it again: {check.command}")
        damaged += bool(check.faults)
    return 1 if damaged else 0
