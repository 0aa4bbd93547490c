"""The generated pages of docs/, and the generated parts of docs/architecture.md.

In: the tables that the tools run on. Out: `python -m dstc.compiler.docs` writes all pages that are
stale, `... docs PAGE` prints one.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

from ..backend.isa.files import write_atomic

DOCS = Path(__file__).parents[1] / "docs"

_PART = re.compile(r"(<!-- generated: (\w+) -->\n```\w*\n).*?(```\n<!-- end -->)", re.DOTALL)


def _isa() -> str:
    from ..backend.isa.reference import document

    return document()


def _dialects() -> str:
    from .dialect_reference import document

    return document()


def _passes() -> str:
    from .pass_reference import document

    return document()


def _reference(page: str) -> Callable[[], str]:
    def text() -> str:
        from . import page_reference

        return getattr(page_reference, page)()

    return text


def _architecture() -> str:
    from .walkthrough import excerpts

    parts = excerpts()
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    return _PART.sub(lambda m: f"{m[1]}{parts[m[2]]}\n{m[3]}", text)


PAGES: dict[str, Callable[[], str]] = {
    "isa": _isa,
    "dialects": _dialects,
    "passes": _passes,
    "cli": _reference("cli"),
    "parameters": _reference("parameters"),
    "python": _reference("python"),
    "architecture": _architecture,
}
"""Page of docs/ -> its text."""


def main(argv: list[str] | None = None) -> int:
    """Write the stale pages of docs/, or print the one that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m dstc.compiler.docs", description=main.__doc__)
    parser.add_argument("page", nargs="?", choices=list(PAGES), help="print this page")
    page = parser.parse_args(argv).page
    if page:
        sys.stdout.write(PAGES[page]())
        return 0
    for name, make in PAGES.items():
        file, text = DOCS / f"{name}.md", make()
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            write_atomic(file, text.encode())
            print(f"wrote docs/{name}.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
