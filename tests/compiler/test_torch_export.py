"""`from_torch` without PyTorch: what it hands over, and what it says when it is not there."""

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from dstc.backend.isa.errors import DstcError
from dstc.compiler import from_torch

from .onnx_models import model, node


class Module:
    """Stands for an `nn.Module` in training."""

    training = True

    def eval(self) -> None:
        self.training = False

    def train(self, mode: bool) -> None:
        self.training = mode


def test_without_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(DstcError, match=r"PyTorch is not installed; pip install 'dstc\[torch\]'"):
        from_torch(Module(), np.zeros(1))


@pytest.mark.parametrize(
    ("example", "arguments", "named"),
    [
        (X := np.zeros((2, 3), np.float32), 1, None),
        ((X, X), 2, None),
        ({"x": X}, 0, {"x": X}),
    ],
)
def test_export(example: Any, arguments: int, named: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def export(module: Module, given: tuple[Any, ...], *, kwargs: Any, **_: Any) -> Any:
        assert not module.training and len(given) == arguments and kwargs == named
        proto = model([node("Relu", ["x"])], {"x": [2, 3]})
        return SimpleNamespace(save=lambda stream: stream.write(proto.SerializeToString()))

    fake = SimpleNamespace(
        no_grad=lambda: pytest.MonkeyPatch.context(), onnx=SimpleNamespace(export=export)
    )
    monkeypatch.setitem(sys.modules, "torch", fake)
    module = Module()
    compiled = from_torch(module, example, machine="v100")
    assert module.training and compiled.graph is not None and compiled.graph.name == "Module"
    with pytest.raises(DstcError, match="Module: PyTorch cannot export it: no"):
        fake.onnx.export = lambda *a, **k: (_ for _ in ()).throw(ValueError("no"))
        from_torch(module, example)
