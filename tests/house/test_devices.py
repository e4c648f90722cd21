"""Every tensor says where it is made: none is left to torch's default device, which a caller may have set to a GPU."""

import ast

from torch.utils._device import _device_constructors

from tests.helpers.source_code import modules, tree_of

PACKAGES = ("sim_bridge", "uel", "training")
FACTORIES = {function.__name__ for function in _device_constructors()} | {"scalar_tensor", "asarray"}


def made_without_device(tree: ast.Module) -> list[int]:
    """Lines of calls of a torch factory that name no device and pass on no keywords."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    return [
        call.lineno
        for call in calls
        if ast.unparse(call.func.value) == "torch"
        and call.func.attr in FACTORIES
        and not any(keyword.arg in ("device", None) for keyword in call.keywords)
    ]


def test_every_factory_names_its_device():
    lines = {name: made_without_device(tree_of(file)) for name, file in modules().items()}
    assert {name: found for name, found in lines.items() if found and name.split(".")[0] in PACKAGES} == {}


def test_a_factory_without_a_device_is_seen():
    source = "torch.zeros(3)\ntorch.ones(3, device=x.device)\ntorch.arange(3, **options)\nx.new_zeros(3)\n"
    assert made_without_device(ast.parse(source)) == [1]
