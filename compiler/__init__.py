"""The compiler: front ends, pipelines, driver and command line.

In: a model (ONNX) or MLIR. Out: a program for the simulator, or IR at any level.
Names load on first use, so that importing stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .api import Compiled, compile_model
    from .frontends.torch_export import from_torch

__all__ = ["Compiled", "compile_model", "from_torch"]

_HOME = {
    "compile_model": ".api", "Compiled": ".api", "from_torch": ".frontends.torch_export",
}  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name], __name__), name)


def __dir__() -> list[str]:
    return __all__
