"""Single rewrites of the passes that are made of patterns: pattern, op, before and after.

In: passes that run while `Rewrites` watches. Out: for each pass what each pattern did, as text.
Ops within kernels and ops with regions are left out: their passes rewrite whole kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, Region
from xdsl.pattern_rewriter import (
    GreedyRewritePatternApplier,
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
)

from ..dialects.dstc import source_of
from .instruments import Instrument

_MOST = 2000
"""Rewrites of a pass that are kept."""


@dataclass(frozen=True)
class Rewrite:
    """One application of a pattern; `after` has the new and the changed ops, a line each."""

    pattern: str
    op: str
    source: tuple[str, ...]
    before: str
    after: tuple[str, ...]


@dataclass
class Rewrites(Instrument):
    """`by_pass[i]`: the rewrites of pass i."""

    by_pass: dict[int, list[Rewrite]] = field(default_factory=dict[int, list[Rewrite]])
    _usual: Callable[..., Any] | None = None

    def before(self, index: int, module: ModuleOp) -> None:
        """Have xDSL's walker tell."""
        found = self.by_pass.setdefault(index, [])
        usual = self._usual = PatternRewriteWalker.rewrite_region

        def rewrite_region(self: PatternRewriteWalker, region: Region) -> bool:
            pattern = self.pattern
            self.pattern = _told(pattern, found)
            try:
                return usual(self, region)
            finally:
                self.pattern = pattern

        PatternRewriteWalker.rewrite_region = rewrite_region

    def after(self, index: int, module: ModuleOp) -> None:
        """Stop."""
        self.close()

    def close(self) -> None:
        """Leave xDSL's walker as it was."""
        if self._usual is not None:
            PatternRewriteWalker.rewrite_region = self._usual
            self._usual = None


def _told(pattern: RewritePattern, found: list[Rewrite]) -> RewritePattern:
    """The pattern, or each of those it applies, with a note of what it does."""
    if isinstance(pattern, GreedyRewritePatternApplier):
        return GreedyRewritePatternApplier(
            [_told(p, found) for p in pattern.rewrite_patterns],
            ctx=pattern.ctx,
            folding_enabled=pattern.folding_enabled,
            dce_enabled=pattern.dce_enabled,
        )
    return _Told(pattern, found)


@dataclass
class _Told(RewritePattern):
    pattern: RewritePattern
    found: list[Rewrite]

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        """As the pattern; if it does something, that is noted."""
        if op.regions or len(self.found) >= _MOST:
            self.pattern.match_and_rewrite(op, rewriter)
            return
        before, name, source = str(op), op.name, source_of(op)
        made: list[Operation] = []
        handlers = rewriter.operation_insertion_handler
        rewriter.operation_insertion_handler = [*handlers, made.append]
        acted = rewriter.has_done_action
        rewriter.has_done_action = False
        try:
            self.pattern.match_and_rewrite(op, rewriter)
        finally:
            rewriter.operation_insertion_handler = handlers
            did = rewriter.has_done_action
            rewriter.has_done_action = did or acted
        if did:
            left = [o for o in made if o.parent is not None]
            if not left and op.parent is not None:
                left = [op]
            self.found.append(
                Rewrite(type(self.pattern).__name__.lstrip("_"), name, source, before,
                        tuple(str(o) if not o.regions else _head(o) for o in left))
            )  # fmt: skip


def _head(op: Operation) -> str:
    """The first line of an op with regions."""
    return str(op).split("\n")[0] + " … }"
