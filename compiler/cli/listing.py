"""`dstc passes` and `dstc pipelines`: reference from the tables that the compiler runs on.

In: the registry of passes, the table of pipelines. Out: tables on the terminal, or JSON.
"""

from __future__ import annotations

import argparse
import difflib
import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ...backend.isa.errors import DstcError
from .common import add_options, write_json

if TYPE_CHECKING:
    from xdsl.passes import ModulePass


def add_parsers(subparsers: Any) -> None:
    """Add the subcommands `passes` and `pipelines`."""
    p = subparsers.add_parser(
        "passes", help="list the passes", description="List the passes, or tell all about one."
    )
    p.add_argument("name", nargs="?", metavar="NAME", help="one pass, with its options")
    add_options(p, "json")
    p.set_defaults(run=passes)
    p = subparsers.add_parser(
        "pipelines",
        help="list the pass pipelines",
        description="List the pass pipelines. One pipeline is printed as `dstc-opt -p` takes it.",
    )
    p.add_argument("name", nargs="?", metavar="NAME", help="one pipeline")
    add_options(p, "machine", "engine", "json")
    p.set_defaults(run=pipelines)


def passes(args: argparse.Namespace) -> int:
    """`dstc passes [NAME]`: name, summary and options of every pass or of one."""
    from ...passes.registry import get_all_passes

    table = get_all_passes()
    names = _chosen(args.name, table, "pass", "dstc passes")
    facts = {name: _facts(table[name]()) for name in names}
    if args.json:
        write_json(args.json, {"schema": 1, "passes": list(facts.values())})
    if args.json == "-":
        return 0
    if args.name:
        _print_pass(facts[args.name])
    else:
        _print_columns((f["name"], f["summary"]) for f in facts.values())
    return 0


def pipelines(args: argparse.Namespace) -> int:
    """`dstc pipelines [NAME]`: the passes of every pipeline or of one, with their options."""
    from ..pipelines import PIPELINES, pipeline

    names = _chosen(args.name, PIPELINES, "pipeline", "dstc pipelines")
    specs = {n: pipeline(n, machine=args.machine, engine=args.engine) for n in names}
    if args.json:
        rows = [{"name": name, "passes": specs[name]} for name in names]
        write_json(args.json, {"schema": 1, "pipelines": rows})
    if args.json == "-":
        return 0
    if args.name:
        print(",".join(specs[args.name]))
        return 0
    for name in names:
        print(name)
        for spec in specs[name]:
            print(f"  {spec}")
    return 0


def _chosen(name: str | None, table: Iterable[str], what: str, command: str) -> list[str]:
    names = list(table)
    if name is None:
        return names
    if name in names:
        return [name]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"see `{command}`"
    raise DstcError(f"{name}: no such {what}; {hint}")


def _facts(cls: type[ModulePass]) -> dict[str, Any]:
    from xdsl.passes import get_pass_option_infos

    text = inspect.cleandoc(cls.__doc__ or "")
    options = [
        {
            "name": o.name.replace("_", "-"),
            "type": o.expected_type.strip("'"),
            "default": o.default_value,
        }
        for o in get_pass_option_infos(cls)
    ]
    return {
        "name": cls.name,
        "summary": " ".join(text.split("\n\n")[0].split()),
        "description": text,
        "options": options,
    }


def _print_pass(facts: dict[str, Any]) -> None:
    print(f"{facts['name']}\n\n{facts['description']}")
    if facts["options"]:
        print("\noptions")
        _print_columns(
            (f"  {o['name']}", o["type"], "required" if o["default"] is None else o["default"])
            for o in facts["options"]
        )


def _print_columns(rows: Iterable[tuple[str, ...]]) -> None:
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        print("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())
