"""Everything of ours that xDSL's own tools can use (entry-point group `xdsl.universe`).

In: the tables of dialects and passes. Out: `UNIVERSE`, which stock `xdsl-opt` finds by itself.
"""

from __future__ import annotations

from xdsl.universe import Universe

from ..dialects.registry import get_all_dialects
from ..passes.registry import get_all_passes

UNIVERSE = Universe(all_dialects=get_all_dialects(), all_passes=get_all_passes())
