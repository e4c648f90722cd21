"""The contract of the bridge, in one function: tensors that PyTorch may pass to Dr.Jit, and tensors that it returns.

Dr.Jit's `dr.wrap` is fast and unforgiving: it aborts the process on an empty tensor, loses the gradient of an
`nn.Parameter`, refuses half precision, aliases its inputs, and answers a second backward pass with the first
one's gradient. `call_drjit` stands between the two.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import drjit as dr
import mitsuba as mi
import torch
from torch import Tensor

from uel.core.precision import full_precision
from uel.errors import UelError

# Where Dr.Jit takes torch's tensors from: the first GPU that the process sees, in every thread.
DRJIT_DEVICE = torch.device("cuda", 0) if str(mi.variant()).startswith("cuda") else torch.device("cpu")
_PROCESS = os.getpid()
LOCK = threading.RLock()  # Dr.Jit's scenes are changed in place: one call at a time


def require_own_process() -> None:
    """Raise `UelError` in a process that was forked after Dr.Jit had started: its threads are gone, it would hang."""
    if os.getpid() != _PROCESS:
        raise UelError(
            "Dr.Jit does not survive a fork",
            got=f"process {os.getpid()}, forked from {_PROCESS} where the ray tracer had been started",
            do="start workers with the spawn method (multiprocessing_context='spawn'), or open the simulator in them",
        )


def call_drjit(
    function: Callable, inputs: Sequence[Tensor], within: Callable[[], AbstractContextManager] = nullcontext
) -> list[Tensor]:
    """Call `function`, written in Dr.Jit, on torch tensors: floats in, a list of floats out, first gradients back.

    Inputs may be parameters, views, of any float type, on any device, inside autocast or `no_grad`: `function` sees
    float32 copies on its own device, and gradients return in the inputs' type. Outputs are copies, on the first
    input's device. Exceptions of `function` pass through and leave nothing behind. `within` makes the context in which
    both passes run: Dr.Jit reads the scene again in the backward pass.

    Raises `UelError` for inputs that are empty or not floats, in a second backward pass through one call, and when
    the backward pass itself is to be differentiated.
    """
    for tensor in inputs:
        if not tensor.is_floating_point() or not tensor.numel():
            raise UelError(
                "an input of the ray tracer is empty or not of floats",
                got=f"{tensor.dtype} of shape {tuple(tensor.shape)}",
                do="convert with .float(), and pass no empty tensor",
            )
    device = inputs[0].device
    with full_precision():
        copies = [tensor.to(DRJIT_DEVICE, torch.float32) for tensor in inputs]
        outputs = _DrJitCall.apply(function, within, *copies)
    return [output.to(device) for output in outputs]


class _DrJitCall(torch.autograd.Function):
    """One call, and one backward pass through it.

    Both hold `LOCK`: Dr.Jit runs the materials' code again in the backward pass, and reads what the scene holds then,
    which another thread's call may just have set. On a GPU both wait for it before and after Dr.Jit works, and before
    memory that was Dr.Jit's goes back to it: Dr.Jit has a stream for every thread, which is ordered with the default
    stream and no other, and takes tensors without asking on which stream they are made.
    """

    @staticmethod
    def forward(
        ctx, function: Callable, within: Callable[[], AbstractContextManager], *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        needed = ctx.needs_input_grad[2:]
        # Copies, so that writing into the inputs does not reach Dr.Jit.
        copies = [
            tensor.detach().clone(memory_format=torch.contiguous_format).requires_grad_(needs)
            for tensor, needs in zip(tensors, needed, strict=True)
        ]
        with torch.set_grad_enabled(any(needed)), LOCK, within(), _ordered():
            outputs = dr.wrap(source="torch", target="drjit")(function)(*copies)
        ctx.copies, ctx.outputs, ctx.used, ctx.within = copies, outputs, False, within
        with _ordered():
            return tuple(output.detach().clone() for output in outputs)

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        if torch.is_grad_enabled():  # create_graph=True
            raise UelError(
                "ray-traced values have first derivatives only",
                got="a backward pass with create_graph=True",
                do="leave create_graph out; for curvature take differences of gradients",
            )
        if ctx.used:  # Dr.Jit repeats the first pass's gradients, silently
            raise UelError(
                "ray-traced values can be differentiated once",
                got="a second backward pass through the same call",
                do="call again for each backward pass, without retain_graph",
            )
        copies, outputs, ctx.used = ctx.copies, ctx.outputs, True
        ctx.copies = ctx.outputs = None
        learned = [copy for copy in copies if copy.requires_grad]
        with LOCK, ctx.within(), _ordered():
            found = torch.autograd.grad(outputs, learned, gradients, allow_unused=True)
        with _ordered():
            result = iter([gradient if gradient is None else gradient.clone() for gradient in found])
        return None, None, *(next(result) if copy.requires_grad else None for copy in copies)


@contextmanager
def _ordered() -> Iterator[None]:
    """A GPU has done all that was asked of it before, and all that is asked of it here."""
    wait_for_device()
    yield
    wait_for_device()


def wait_for_device() -> None:
    """Wait until Dr.Jit's GPU has nothing left to do, on any stream."""
    if DRJIT_DEVICE.type == "cuda":
        torch.cuda.synchronize(DRJIT_DEVICE)
