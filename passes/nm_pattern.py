"""Which operands of a product are n:m sparse, and where one is not. Not a pass.

In: a `dstc.matmul`, the constant pool. Out: the patterns of its operands, as stated on the op or as
a constant keeps them; for a refusal, the position that breaks one.
"""

from __future__ import annotations

from ..backend.isa.errors import DstcError
from ..dialects.constants import ConstantPool
from ..dialects.dstc import MatmulOp, NmType, source_of
from ..runtime.nm_format import PATTERNS, Pattern, pattern_of, violation
from .known_counts import constant_operand, stored_side

Patterns = tuple[Pattern | None, Pattern | None]


def patterns_of(op: MatmulOp, pool: ConstantPool) -> Patterns:
    """(left's, right's) pattern; of a constant the sparsest that it keeps."""
    found: list[Pattern | None] = []
    for which, stated in enumerate((op.a_pattern, op.b_pattern)):
        type_ = (op.lhs, op.rhs)[which].type
        name = constant_operand(op, which, pool)
        if isinstance(type_, NmType):
            found.append(type_.pattern)
        elif stated is not None:
            found.append(Pattern.parse(stated.data))
        else:
            found.append(None if name is None else pattern_of(pool[name], stored_side(op, which)))
    return found[0], found[1]


def refusal(op: MatmulOp, pool: ConstantPool) -> DstcError:
    """Why the nm engine cannot take a product, in one line."""
    source = source_of(op)
    where = f"node {source[0]!r}" if source else op.name
    for which in range(2):
        name = constant_operand(op, which, pool)
        if name is not None:
            broken = [
                f"not {p}: {violation(pool[name], p, stored_side(op, which))}" for p in PATTERNS
            ]
            return DstcError(
                f"{where}: constant {name!r} is {'; '.join(broken)}; prune it "
                "(runtime/nm_format.py) or use another engine"
            )
    return DstcError(
        f"{where}: neither operand is known to be n:m sparse; the nm engine takes constants that "
        "are, or use another engine"
    )
