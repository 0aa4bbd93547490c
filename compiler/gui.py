"""`dstc-gui`: xDSL's interactive terminal app with our dialects and passes.

In: an MLIR file and a pipeline to begin with, both optional. Out: the app; it needs the extra
`gui`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..backend.isa.errors import DstcError
from .cli.common import guarded
from .opt import expanded

if TYPE_CHECKING:
    from xdsl.interactive.app import InputApp


def build_app(file: str | None = None, passes: str = "") -> InputApp:
    """The app on `file` (default: an example), with `passes` chosen. Raises `DstcError`."""
    try:
        from xdsl.interactive.app import InputApp
    except ImportError as e:
        raise DstcError(f"dstc-gui needs the package {e.name}: pip install 'dstc[gui]'") from e
    from xdsl.universe import Universe

    from .driver import make_pass

    everything = Universe.get_multiverse()
    text = None
    if file is not None:
        try:
            text = Path(file).read_text()
        except UnicodeDecodeError as e:
            raise DstcError(f"{file}: not UTF-8 text; give MLIR text") from e
    chosen: Any = tuple(make_pass(spec) for spec in expanded(passes))
    return InputApp(
        tuple(everything.all_dialects.items()),
        tuple((name, load()) for name, load in sorted(everything.all_passes.items())),
        file,
        text,
        chosen,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run `dstc-gui`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="dstc-gui", description="Put a pipeline together in the terminal and see the IR."
    )
    parser.add_argument("file", nargs="?", metavar="FILE.mlir", help="IR to begin with")
    parser.add_argument("-p", "--passes", default="", help="passes to begin with, as for dstc-opt")
    args = parser.parse_args(argv)

    def run() -> int:
        build_app(args.file, args.passes).run()
        return 0

    return guarded("dstc-gui", run, debug=False)
