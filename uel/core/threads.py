"""How the threads of PyTorch wait for each other: asleep, so that a busy neighbour costs its share and no more.

OpenMP's threads meet at a barrier after every operation. By default they spin there for milliseconds: where a core has
other work too, they spend the time in which the thread that they wait for could run. Asleep they wait as short.
"""

import logging
import os
import sys

WAIT_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""environment variables by which a user says how threads wait, in any OpenMP or in GNU's and LLVM's own"""

log = logging.getLogger(__name__)


def wait_asleep() -> None:
    """Let threads sleep at barriers, in this process and those it starts, unless the user has chosen.

    OpenMP reads its environment once, when `torch` is imported: this process has to import `uel` before.
    """
    if any(name in os.environ for name in WAIT_VARIABLES):
        return
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    if "torch" in sys.modules:
        log.info("threads of torch spin where they wait: import uel before torch, or set OMP_WAIT_POLICY=PASSIVE")
