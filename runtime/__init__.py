"""The runtime: sparse formats, devices, launches and the simulator.

In: an assembled program and numpy arrays. Out: outputs, cycles and profiles.
Names load on first use, so that importing stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..backend.isa.program import Program
    from .device import Device
    from .machine import Machine

__all__ = ["Device", "Machine", "Program"]

_HOME = {"Device": ".device", "Machine": ".machine", "Program": "..backend.isa.program"}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name], __name__), name)


def __dir__() -> list[str]:
    return __all__
