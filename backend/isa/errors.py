"""Errors meant for users, shared by all rooms.

In: what is wrong, where, what to do. Out: one line for the command line and its exit code.
"""

from __future__ import annotations

from collections.abc import Callable


class DstcError(Exception):
    """A one-line message for the user; `exit_code` 2: bad input or usage."""

    exit_code = 2
    note: Callable[[], str] | None = None
    """What the command line says behind the message; made when it is asked for."""


class SourceError(DstcError):
    """An error in a file of the user's: `file:line:col: error: ...`, the source line, a caret."""


class CheckFailed(DstcError):
    """The work was done, but a check failed."""

    exit_code = 1


class Trap(DstcError):
    """The simulated program trapped. The message names pc, source op, CTA, warp and lane."""

    exit_code = 3
