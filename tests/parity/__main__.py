"""Compare: `python -m tests.parity FRESH`, with what `sionna_tf.py` has just written. Called by `make parity`."""

import os
import sys
from pathlib import Path

from rich.console import Console

from tests.parity import chain, compare


def main(fresh: Path) -> int:
    """0 if the chain is within its limits of Sionna, and the committed values are still what Sionna says."""
    console, golden = Console(width=120), compare.read(fresh)
    found = chain.ours()
    console.print(compare.table(found, golden))
    far = compare.missed(found, golden)
    stale = compare.missed(compare.read(compare.GOLDEN), golden)
    if fresh.read_bytes() == compare.GOLDEN.read_bytes():
        console.print(f"{compare.GOLDEN.name}, committed, says the same to the last digit")
    elif not stale:
        console.print(f"{compare.GOLDEN.name}, committed, says the same within the limits")
    else:
        console.print(f"{compare.GOLDEN.name}, committed, DIFFERS in {', '.join(stale)}; if that is meant:")
        console.print(f"  cp {fresh} {os.path.relpath(compare.GOLDEN)}")
    return int(bool(far or stale))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
