"""Where operations come from: locations that rewrites carry along.

In: a new operation and those that it stands for. Out: the new operation, and what is inside it, at
their location; of several, at all of them (`loc(fused[...])`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from xdsl.dialects.builtin import (
    UNKNOWN_LOC,
    ArrayAttr,
    FileLineColLoc,
    FusedLoc,
    LocationAttr,
    NameLoc,
    NoneAttr,
)
from xdsl.ir import Attribute, Operation


def locate(target: Operation, *origins: Operation) -> None:
    """Put `target` and the ops in it that have no location where `origins` are."""
    where = fused(*(op.location for op in origins))
    if where == UNKNOWN_LOC:
        return
    for op in target.walk():
        if op.location == UNKNOWN_LOC:
            op.location = where


def fused(*locations: LocationAttr) -> LocationAttr:
    """One location for all, each once."""
    flat = dict.fromkeys(part for loc in locations for part in parts(loc))
    if not flat:
        return UNKNOWN_LOC
    if len(flat) == 1:
        return next(iter(flat))
    return FusedLoc(ArrayAttr[Attribute](list(flat)), NoneAttr())


def parts(location: LocationAttr) -> Iterator[FileLineColLoc | NameLoc]:
    """The places that a location names; none if it is unknown."""
    if isinstance(location, FileLineColLoc | NameLoc):
        yield location
    elif isinstance(location, FusedLoc):
        inner = cast("ArrayAttr[Attribute]", location.locations)
        for part in inner.data:
            yield from parts(cast("LocationAttr", part))
