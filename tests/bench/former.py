"""Queries of an atlas by this checkout and by a former one, in turn: CPU time, gains and gradients.

    python -m tests.bench.former FOLDER    # of the former checkout

Each answers in a process of its own with one thread, the same places one right after the other, so that a busy machine
slows both alike.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

PLACES, TURNS, WARM_TURNS, RAYS, MASTS, DEPTH = 128, 6, 2, 30_000, 8, 5
HERE = Path(__file__).parents[2]


def compare(former: Path) -> None:
    """Print CPU time a link of both, and how their answers differ."""
    with TemporaryDirectory() as folder:
        answers = {name: Path(folder) / name for name in ("former", "new")}
        children = {name: _start(root, answers[name]) for name, root in (("former", former), ("new", HERE))}
        for turn in range(TURNS):
            for child in children.values() if turn % 2 else reversed(children.values()):
                assert child.stdin is not None
                assert child.stdout is not None
                child.stdin.write(f"{turn}\n")
                child.stdin.flush()
                child.stdout.readline()
        for child in children.values():
            child.communicate()
        known = [[torch.load(answers[name] / f"{turn}.pt") for name in answers] for turn in range(TURNS)]
    for turn, (old, new) in enumerate(known):
        print(turn, {"former_ms": old["ms"], "new_ms": new["ms"], **_difference(old, new)})
    ratios = [new["ms"] / old["ms"] for old, new in known[WARM_TURNS:]]
    print(f"new over former, the median: {statistics.median(ratios):.3f}")


def _start(root: Path, folder: Path) -> subprocess.Popen:
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(root)}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, __file__, str(folder)], cwd=root, env=environment, **pipes)


def _difference(old: dict[str, Any], new: dict[str, Any]) -> dict[str, float]:
    both, shift = (old["gain"] > 0) & (new["gain"] > 0), new["gradient"] - old["gradient"]
    return {
        "links_former": int((old["gain"] > 0).sum()),
        "links_new": int((new["gain"] > 0).sum()),
        "equal_share": float((old["gain"] == new["gain"]).float().mean()),
        "gain_median": float((new["gain"] / old["gain"] - 1)[both].abs().median()),
        "gradient_median": float((shift.norm(dim=1) / old["gradient"].norm(dim=1)).median()),
    }


def answer(folder: Path) -> None:
    """Answer the turns that come by standard input into files."""
    import scenes
    import sim_bridge
    from sim_bridge.backend.runtime import limit_threads
    from sim_bridge.chains.config import AtlasConfig

    limit_threads(1)
    torch.set_num_threads(1)
    tile = scenes.build("florence", folder / "tile", center=(0.0, 100.0), progress=False)
    tracing = sim_bridge.TracingConfig(max_depth=DEPTH, samples=20_000, scattering=0.3, max_paths=1_000_000, memory=2.0)
    sim = sim_bridge.open(tile, scenes.place(tile, MASTS, seed=1), tracing, backend="sionna")
    sim.build_atlas(AtlasConfig(rays=RAYS, depth=DEPTH, audit=0))
    flat = (torch.rand(16 * PLACES * TURNS, 2, generator=torch.Generator().manual_seed(3)) - 0.5) * sim.bounds.size
    flat = flat[tile.is_outdoor(flat)]
    for line in sys.stdin:
        position = sim.at_height(flat[PLACES * int(line) :][:PLACES]).requires_grad_()
        start = time.process_time()
        gain = sim.path_gain(position)
        gain.clamp(min=1e-30).log().sum().backward()
        milliseconds = 1e3 * (time.process_time() - start) / gain.numel()
        torch.save({"ms": milliseconds, "gain": gain.detach(), "gradient": position.grad}, folder / f"{int(line)}.pt")
        print("done", flush=True)


if __name__ == "__main__":
    # As a module it compares; as a script, which is how it starts in either checkout, it answers.
    (compare if __spec__ else answer)(Path(sys.argv[1]).resolve())
