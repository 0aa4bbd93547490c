"""IR of our own in a file, as input of `dstc compile` and `dstc run`.

In: an MLIR file whose @main has operations of the dialect `dstc` (level 1 or 2), and
`constants.npz` beside it, as `--ir-dir` leaves it. Out: module and context; names and types of its
inputs.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, cast

from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, IntegerType, ModuleOp, StringAttr

from ..dialects.constants import ConstantPool, attach
from ..dialects.dstc import ConstantOp
from .driver import new_context
from .frontends.mlir_import import is_mlir
from .frontends.mlir_reader import text_of
from .ir_folder import CONSTANTS_FILE
from .locations import read_module, source_error
from .reference import main_of

_OURS = re.compile(r'^\s*(?:%[\w$.]+ = )?"?dstc\.\w', re.MULTILINE)


def is_ours(model: object) -> bool:
    """An MLIR file with operations of the dialect `dstc`."""
    return is_mlir(model) and _OURS.search(text_of(Path(os.fspath(model)))) is not None


def read_ours(path: str | os.PathLike[str]) -> tuple[Context, ModuleOp]:
    """The module, and a context with its constants. Raises `SourceError`."""
    file, ctx = Path(path), new_context()
    beside = file.parent / CONSTANTS_FILE
    pool = ConstantPool.load(beside) if beside.is_file() else ConstantPool()
    attach(ctx, pool)
    module = read_module(ctx, file)
    main_of(module)
    for op in module.walk():
        if isinstance(op, ConstantOp) and op.constant.data not in pool:
            raise source_error(
                f"the values of constant {op.constant.data!r} are not in {beside}; put them there",
                op,
            )
    return ctx, module


def input_types(path: str | os.PathLike[str]) -> dict[str, str]:
    """Name -> dtype of what @main takes."""
    _, module = read_ours(path)
    main = main_of(module)
    given = main.attributes.get("dstc.inputs")
    names = (
        [a.data for a in cast("ArrayAttr[StringAttr]", given).data]
        if isinstance(given, ArrayAttr)
        else [f"arg{i}" for i in range(len(main.args))]
    )
    return {
        name: "int32" if isinstance(cast("Any", arg.type).element_type, IntegerType) else "float32"
        for name, arg in zip(names, main.args, strict=True)
    }
