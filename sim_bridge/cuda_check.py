"""Check the ray tracer on a GPU, in a few minutes: `python -m sim_bridge.cuda_check`.

A line for all that can go wrong there and not on a CPU. On a machine without a GPU the same lines run on LLVM, but for
those that say that they need one. Exits with 0 when no line failed.
"""

import sys


def main() -> int:
    """Print every line as it is found, and what to do about those that failed."""
    from sim_bridge.diagnostics.gpu_check import gpu_checks

    failed = 0
    for check in gpu_checks():
        print(f"{'ok' if check.ok else 'FAILED':6}  {check.name}: {check.value}", flush=True)
        failed += not check.ok
    print(f"{failed} lines failed: report this with the whole table" if failed else "all is well")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
