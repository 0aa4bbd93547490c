"""The machine that passes compile for. Not a pass.

In: a context and the name in a pass's `machine` option. Out: the `Machine`: the one attached to the
context, changed parameters and own files included, else the shipped one or a file.
"""

from __future__ import annotations

from xdsl.context import Context

from ..runtime.machine import Machine

DEFAULT_MACHINE = "dstc"
"""What a pass compiles for when its `machine` option is not given."""


def attach_machine(ctx: Context, machine: Machine) -> None:
    """Make `machine` what its name means in `ctx`, changed parameters and own files included."""
    ctx.__dict__["dstc_machine"] = machine


def machine_of(ctx: Context, name: str) -> Machine:
    """The machine attached to `ctx` if it has that name, else the shipped one or the file `name`.

    Raises `DstcError` if there is none.
    """
    attached = ctx.__dict__.get("dstc_machine")
    if isinstance(attached, Machine) and attached.name == name:
        return attached
    return Machine.load(name)
