"""Progress on the terminal for what may take longer than a second.

In: callbacks from the driver and the executor. Out: one live line on stderr, nothing when stderr
is no terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

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
