"""docs/dialects.md."""

from dstc.compiler.dialect_reference import document
from dstc.dialects.dstc_isa import IsaOp
from dstc.dialects.registry import get_all_dialects


def test_the_reference_is_up_to_date(root):
    assert (root / "docs/dialects.md").read_text(encoding="utf-8") == document(), (
        "run `python -m dstc.compiler.dialect_reference > docs/dialects.md`"
    )


def test_the_reference_has_every_operation():
    text = document()
    for load in get_all_dialects().values():
        for op in load().operations:
            short = f"`{op.name.split('.')[1]}`"
            assert (short if issubclass(op, IsaOp) else f"\n### {op.name}\n") in text
