"""Errors meant for users, shared by all rooms.

In: what is wrong, where, what to do. Out: one line for the command line and its exit code.
"""

from __future__ import annotations


class DstcError(Exception):
    """A one-line message for the user; `exit_code` 2: bad input or usage."""

    exit_code = 2


class CheckFailed(DstcError):
    """The work was done, but a check failed."""

    exit_code = 1


class Trap(DstcError):
    """The simulated program trapped. The message names pc, source op, CTA, warp and lane."""

    exit_code = 3
