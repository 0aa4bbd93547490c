"""PyTorch modules, by way of ONNX (extra `torch`).

In: an `nn.Module` and example inputs. Out: the same as ONNX, and `from_torch`: compiled. PyTorch is
loaded when it is needed, and not before.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from onnx import ModelProto

from ...backend.isa.errors import DstcError

if TYPE_CHECKING:
    from ..api import Compiled


def export(module: Any, example: Any) -> ModelProto:
    """An `nn.Module` as ONNX, for inference, with the shapes of the example.

    `example`: a tensor, a sequence of arguments, or arguments by name. Raises `DstcError` if
    PyTorch is not there or cannot export the module.
    """
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as e:
        raise DstcError("PyTorch is not installed; pip install 'dstc[torch]'") from e
    torch_: Any = torch
    arguments, named = _arguments(example)
    training = bool(module.training)
    module.eval()
    try:
        with torch_.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch_.onnx.export(
                module, arguments, kwargs=named, dynamo=True, verbose=False
            )
        stream = io.BytesIO()
        program.save(stream)
    except Exception as e:
        text = " ".join(str(e.__cause__ or e).split())[:300]
        raise DstcError(f"{type(module).__name__}: PyTorch cannot export it: {text}") from e
    finally:
        module.train(training)
    proto = ModelProto()
    proto.ParseFromString(stream.getvalue())
    proto.graph.name = type(module).__name__
    return proto


def _arguments(example: Any) -> tuple[tuple[Any, ...], dict[str, Any] | None]:
    """(by position, by name)."""
    if isinstance(example, Mapping):
        return (), dict(cast("Mapping[str, Any]", example))
    if isinstance(example, Sequence) and not hasattr(cast("Any", example), "shape"):
        return tuple(cast("Sequence[Any]", example)), None
    return (cast("Any", example),), None


def from_torch(module: Any, example: Any, **options: Any) -> Compiled:
    """Compile an `nn.Module` for the shapes of example inputs; `options` as of `compile_model`."""
    from ..api import compile_model

    return compile_model(export(module, example), **options)
