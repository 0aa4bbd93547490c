"""Progress on the terminal for what may take longer than a second.

In: callbacks from the driver, the executor and the device. Out: one live line on stderr, nothing
when stderr is no terminal.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ...backend.isa.program import Launch

if TYPE_CHECKING:
    from ...backend.isa.program import Program
    from ...runtime.device import Device

Callback = Callable[[int, int, str], None]


@contextmanager
def _shown(title: str) -> Generator[Callback, None, None]:
    if not sys.stderr.isatty():
        yield lambda index, count, name: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn(title), BarColumn(), TextColumn("{task.description}"),
               TimeElapsedColumn())  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)

        def show(index: int, count: int, name: str) -> None:
            label = name.split("{")[0]
            progress.update(task, completed=index, total=count, description=label)

        yield show


passes_shown = _shown
"""Progress by pass; gives the driver's callback."""
steps_shown = _shown
"""Progress by kernel; gives the executor's callback."""


@contextmanager
def simulation_shown(title: str, program: Program, device: Device) -> Generator[Callback]:
    """Progress by kernel and CTA with the remaining time; gives the executor's callback.

    A kernel counts by its CTAs and instructions: the time told is a guess until it is the last's.
    """
    assert program.plan is not None
    if not sys.stderr.isatty():
        yield lambda index, count, name: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    weights = [
        math.prod(s.grid) * len(program.kernels[s.kernel].code) if isinstance(s, Launch) else 1
        for s in program.plan.steps
    ]
    columns = (TextColumn(title), BarColumn(), TextColumn("{task.percentage:3.0f} %"),
               TextColumn("{task.description}"), TimeElapsedColumn(), TextColumn("left"),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=sum(weights))
        at = (0, "")

        def show(index: int, _count: int, name: str) -> None:
            nonlocal at
            at = index, name
            progress.update(task, completed=sum(weights[:index]), description=name)

        def ctas(done: int, of: int) -> None:
            index, name = at
            part = weights[index] * done / of
            text = f"{name}, CTA {done:,} of {of:,}"
            progress.update(task, completed=sum(weights[:index]) + part, description=text)

        device.on_ctas = ctas
        try:
            yield show
        finally:
            device.on_ctas = None
