"""`dstc reduce`: a small module that still fails, from a large one that does.

In: a module, its constants, a test that says whether a module still fails. Out: the module after
all single changes that keep it failing: functions and kernels away, @main cut short from either
end, ops erased in halves, quarters ... down to one by one, values replaced by operands, attributes
away, constants zeroed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from xdsl.dialects.builtin import FunctionType, ModuleOp
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Operation
from xdsl.traits import IsTerminator
from xdsl.utils.exceptions import VerifyException

from ..backend.isa.errors import DstcError
from ..dialects.constants import ConstantPool
from ..dialects.dstc import ConstantOp
from .instruments import count_ops, symbol

Test = Callable[[ModuleOp, ConstantPool], bool]
"""Whether a module (with its constants) still fails in the way that matters."""
Edit = Callable[[ModuleOp], bool]
"""Changes a copy of the module; false if there is nothing to change."""


@dataclass
class Reducer:
    """Reduces `module`. `tests`: how often the test ran; at most `limit` times."""

    module: ModuleOp
    pool: ConstantPool
    test: Test
    limit: int = 2000
    tests: int = 0
    log: list[str] = field(default_factory=list[str])

    def run(self) -> ModuleOp:
        """The reduced module. Raises `DstcError` if the module does not fail to begin with."""
        if not self._fails(self.module, self.pool):
            raise DstcError("the module does not fail the test; there is nothing to reduce")
        size = -1
        while size != (size := count_ops(self.module)) and self.tests < self.limit:
            for name, step in _STEPS.items():
                before = count_ops(self.module)
                step(self)
                after = count_ops(self.module)
                if after != before:
                    self.log.append(f"{name}: {before} ops to {after}")
        self._zero_constants()
        return self.module

    def attempt(self, edit: Edit) -> bool:
        """Keep the change that `edit` makes if the module still fails."""
        if self.tests >= self.limit:
            return False
        copy = self.module.clone()
        try:
            if not edit(copy):
                return False
            copy.verify()
        except (VerifyException, ValueError):
            return False
        if not self._fails(copy, self.pool):
            return False
        self.module = copy
        return True

    def _fails(self, module: ModuleOp, pool: ConstantPool) -> bool:
        self.tests += 1
        return self.test(module, pool)

    def _zero_constants(self) -> None:
        """Constants that nothing needs leave the pool; others become zeros where that is enough."""
        ops = [op for op in self.module.walk() if isinstance(op, ConstantOp)]
        names = {op.constant.data for op in ops}
        used = ConstantPool({n: self.pool[n] for n in self.pool.names() if n in names})
        if self._fails(self.module, used):
            self.pool = used
        for name in self.pool.names():
            arrays = {n: self.pool[n] for n in self.pool.names()}
            if self.tests >= self.limit or not arrays[name].any():
                continue
            zeroed = ConstantPool({**arrays, name: np.zeros_like(arrays[name])})
            if self._fails(self.module, zeroed):
                self.pool = zeroed


def _blocks(module: ModuleOp) -> Iterator[Block]:
    """All blocks, in one order for all copies of a module; the module's own first."""
    for op in module.walk():
        for region in op.regions:
            yield from region.blocks


def _block(module: ModuleOp, index: int) -> Block:
    return next(b for i, b in enumerate(_blocks(module)) if i == index)


def _erasable(op: Operation) -> bool:
    return not op.has_trait(IsTerminator) and not any(r.first_use for r in op.results)


def _erase(ops: Iterable[Operation]) -> bool:
    """Erase those that nothing uses, last first."""
    found = False
    for op in reversed(list(ops)):
        if _erasable(op):
            op.detach()
            op.erase()
            found = True
    return found


def _in_chunks(
    reducer: Reducer, count: Callable[[], int], edit: Callable[[int, int], Edit]
) -> None:
    """Delta debugging: try edits of `size` neighbours from the end, with ever smaller sizes."""
    size = count()
    while size >= 1:
        end = count()
        while end > 0:
            start = max(0, end - size)
            reducer.attempt(edit(start, end))
            end = start
        size //= 2


def _drop_symbols(reducer: Reducer) -> None:
    """Functions and kernels one by one; what refers to them must go with them or keep it."""
    for name in [symbol(op) for op in reducer.module.body.block.ops]:
        reducer.attempt(
            lambda m, name=name: _erase(o for o in m.body.block.ops if symbol(o) == name)
        )


def _drop_ops(reducer: Reducer) -> None:
    """Ops whose results nothing uses, block by block."""
    index = 1
    while index < sum(1 for _ in _blocks(reducer.module)):

        def count(index: int = index) -> int:
            blocks = list(_blocks(reducer.module))
            return len(blocks[index].ops) if index < len(blocks) else 0

        def edit(start: int, end: int, index: int = index) -> Edit:
            return lambda m: _erase(list(_block(m, index).ops)[start:end])

        _in_chunks(reducer, count, edit)
        index += 1


def _functions(module: ModuleOp) -> list[FuncOp]:
    return [o for o in module.body.block.ops if isinstance(o, FuncOp) and o.body.blocks]


def _set_types(func: FuncOp) -> None:
    last = func.body.blocks[-1].last_op
    outputs = [v.type for v in last.operands] if last is not None else []
    inputs = [a.type for a in func.body.blocks[0].args]
    func.function_type = FunctionType.from_lists(inputs, outputs)


def _return_early(reducer: Reducer) -> None:
    """A function returns the results of an op in the middle, the earliest that will do."""
    for which in range(len(_functions(reducer.module))):
        for at in range(len(_functions(reducer.module)[which].body.blocks[0].ops)):

            def edit(m: ModuleOp, which: int = which, at: int = at) -> bool:
                func = _functions(m)[which]
                block = func.body.blocks[0]
                ops = list(block.ops)
                if at >= len(ops) - 2 or not ops[at].results:
                    return False
                for op in reversed(ops[at + 1 :]):
                    op.detach()
                    op.erase(safe_erase=False)
                block.add_op(ReturnOp(*ops[at].results))
                _drop_names(func, "outputs", "output_types")
                _set_types(func)
                return True

            if reducer.attempt(edit):
                break


def _start_late(reducer: Reducer) -> None:
    """The results of an op become arguments of the function, the latest that will do first."""
    for which in range(len(_functions(reducer.module))):
        at = len(_functions(reducer.module)[which].body.blocks[0].ops) - 2
        while at >= 0:

            def edit(m: ModuleOp, which: int = which, at: int = at) -> bool:
                func = _functions(m)[which]
                block = func.body.blocks[0]
                ops = list(block.ops)
                if at >= len(ops) or not ops[at].results or isinstance(ops[at], ConstantOp):
                    return False
                for result in ops[at].results:
                    arg = block.insert_arg(result.type, len(block.args))
                    arg.name_hint = result.name_hint
                    result.replace_all_uses_with(arg)
                _erase(list(block.ops)[: at + 1])
                for arg in reversed(block.args):
                    if arg.first_use is None:
                        block.erase_arg(arg)
                _drop_names(func, "inputs", "input_types")
                _set_types(func)
                return True

            reducer.attempt(edit)
            at -= 1


def _drop_names(func: FuncOp, *keys: str) -> None:
    """Names and types of ports that are there no longer."""
    for key in keys:
        func.attributes.pop(f"dstc.{key}", None)


def _bypass(reducer: Reducer) -> None:
    """An op gives way to an operand of its result's type."""
    count = count_ops(reducer.module)
    for at in range(count - 1, 0, -1):

        def edit(m: ModuleOp, at: int = at) -> bool:
            op = next((o for i, o in enumerate(m.walk()) if i == at), None)
            if op is None or len(op.results) != 1 or op.results[0].first_use is None:
                return False
            same = next((v for v in op.operands if v.type == op.results[0].type), None)
            if same is None:
                return False
            op.results[0].replace_all_uses_with(same)
            return _erase([op])

        reducer.attempt(edit)


def _drop_attributes(reducer: Reducer) -> None:
    """Discardable attributes, all of an op at once."""
    count = count_ops(reducer.module)
    for at in range(count):

        def edit(m: ModuleOp, at: int = at) -> bool:
            op = next((o for i, o in enumerate(m.walk()) if i == at), None)
            if op is None or not op.attributes:
                return False
            op.attributes.clear()
            return True

        reducer.attempt(edit)


_STEPS: dict[str, Callable[[Reducer], None]] = {
    "functions and kernels away": _drop_symbols,
    "returned early": _return_early,
    "started late": _start_late,
    "ops away": _drop_ops,
    "ops bypassed": _bypass,
    "attributes away": _drop_attributes,
}


def fails_check(specs: Sequence[str], seed: int, name: str | None) -> Test:
    """A test: `--check-each-pass` finds a pass that changes the result (`name`: this one).

    Anything else that goes wrong is another failure, and does not count.
    """
    from xdsl.utils.exceptions import DiagnosticException

    from ..dialects.constants import attach
    from .check_passes import CheckPasses, Inputs, PassChanged
    from .driver import new_context, run_pipeline

    def test(module: ModuleOp, pool: ConstantPool) -> bool:
        ctx = new_context()
        attach(ctx, ConstantPool({n: pool[n] for n in pool.names()}))
        check = CheckPasses(ctx, specs, Inputs({}, seed))
        try:
            run_pipeline(ctx, module.clone(), specs, instruments=[check])
        except PassChanged as e:
            return name is None or str(e).startswith((f"{name} ", f"{name}:"))
        except (DstcError, DiagnosticException, AssertionError, KeyError, IndexError, ValueError):
            return False
        return False

    return test
