"""A second device, emulated on the CPU: its tensors are wrapped, compute as on the CPU, and do not mix with others.

What runs on it is what runs on a GPU, as far as tensors are concerned: numpy cannot read them, and an operation between
one of them and a tensor of the CPU is refused, unless that one is a scalar or an index. PyTorch knows the device by the
name of one that holds no data otherwise, `meta`.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_map_only

from tests.helpers.source_code import PACKAGES

EMULATED = torch.device("meta")
_FROM_VALUES = (torch.tensor, torch.as_tensor, torch.asarray)
_INDEXING = ("aten.index.", "aten.index_put", "aten._index_put", "aten._to_copy", "aten.copy_")


class EmulatedTensor(torch.Tensor):
    """A tensor of the emulated device around the one on the CPU that holds its values."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "EmulatedTensor":
        options = {"dtype": held.dtype, "device": EMULATED, "strides": held.stride()}
        tensor = torch.Tensor._make_wrapper_subclass(cls, held.shape, **options, requires_grad=held.requires_grad)
        tensor.held = held.detach()
        return tensor

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _run(function, args, kwargs or {})

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"emulated {self.held!r}"

    def tolist(self) -> Any:
        return self.held.tolist()

    __torch_function__ = torch._C._disabled_torch_function_impl  # as a plain tensor above autograd


@contextmanager
def emulated_device() -> Iterator[None]:
    """Within it, tensors made on `EMULATED` or moved there hold values, and none may be made without a device."""
    with _Operations(), _Factories():
        yield


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _run(function, args, kwargs or {})


def _run(function: Any, args: tuple, kwargs: dict) -> Any:
    tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
    emulated = [tensor for tensor in tensors if isinstance(tensor, EmulatedTensor)]
    asked = kwargs.get("device")
    inputs, options = tree_map_only(EmulatedTensor, lambda tensor: tensor.held, (args, kwargs))
    if asked is not None:
        options = {**options, "device": torch.device("cpu")}
    plain = [tensor for tensor in tensors if not isinstance(tensor, EmulatedTensor) and tensor.ndim]
    if emulated and plain and not str(function).startswith(_INDEXING):
        raise RuntimeError(f"{function}: tensors of the emulated device and of the CPU, {[t.shape for t in tensors]}")
    result = function(*inputs, **options)
    on_device = torch.device(asked) == EMULATED if asked is not None else bool(emulated)
    if not on_device or str(function) == "aten._local_scalar_dense.default":
        return result
    mutated = {id(tensor.held): tensor for tensor in emulated}  # in place: the wrapper that was given
    return tree_map(
        lambda value: mutated.get(id(value), EmulatedTensor(value)) if isinstance(value, Tensor) else value, result
    )


class _Factories(TorchFunctionMode):
    """A tensor that one of this repository's packages makes without a `device` would be on torch's default device."""

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = dict(kwargs or {})
        if function in _device_constructors():
            device = kwargs.get("device")
            if device is None and _is_ours():
                raise AssertionError(f"torch.{function.__name__} without device=")
            if function in _FROM_VALUES and device is not None and torch.device(device) == EMULATED:
                return function(*args, **{**kwargs, "device": "cpu"}).to(EMULATED)  # `meta` would drop the values
        return function(*args, **kwargs)


def _is_ours() -> bool:
    """Whether the call comes from one of this repository's packages."""
    frame = sys._getframe(2)
    return frame.f_globals.get("__name__", "").split(".")[0] in PACKAGES
