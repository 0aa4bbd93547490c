"""The table of dialects.

In: nothing. Out: dialect name -> loader; a dialect's file is imported when its loader is called.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xdsl.ir import Dialect

DIALECTS = {
    "dstc": "dstc:DSTC",
    "dstc_tile": "dstc_tile:DSTC_TILE",
    "dstc_isa": "dstc_isa:DSTC_ISA",
}
"""Dialect name -> module in this room and the `Dialect` object in it."""


def _load(place: str) -> Dialect:
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(f".{module}", __package__), attribute)


def get_all_dialects() -> dict[str, Callable[[], Dialect]]:
    """Loaders by dialect name, in the order of the levels of IR."""
    return {name: partial(_load, place) for name, place in DIALECTS.items()}
