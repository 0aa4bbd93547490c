"""Which schedule a product gets: every candidate predicted, the best few measured if asked. Not a
pass.

In: a product, a machine, what encoding its operands costs, perhaps a way to measure. Out: `Choice`:
candidates from the best on, with predicted (and measured) cycles and what limits each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, isfinite
from typing import Any

from xdsl.context import Context

from ..backend.isa.errors import DstcError
from ..backend.isa.table import TILE_M
from ..dialects.dstc import Engine, ScheduleAttr
from ..runtime.machine import Machine
from .candidates import AUTO, candidates
from .cost import ScheduledProduct
from .cost_chip import Chip, Prediction
from .cost_operands import Operands
from .plain_schedule import Schedule

Measure = Callable[[ScheduledProduct, Sequence[ScheduleAttr], Machine], list[int]]
"""Cycles of a product with each of some schedules, on the simulator: what the compiler provides."""

Counted = Callable[[ScheduledProduct, Chip], Operands]
"""Popcounts of a scheduled product's operands."""

ALIKE = 0.02
"""Predictions this near each other do not decide: parts of a split product that stay in L2 are the
next kernel's to write back, so that fewer are better; of as many, what keeps L2 less busy."""
BUSY_L2 = 0.8
"""Share of the predicted cycles from which on L2's counts there: its queues are hard to predict."""

SPLIT_TOO_FAR = 1.5
"""A schedule is not split further once that takes this many times what its best split does: adding
up more parts takes ever longer."""


@dataclass(frozen=True)
class Candidate:
    """One schedule of a product: its prediction, what encoding for it takes, measured cycles."""

    product: ScheduledProduct
    prediction: Prediction
    encoding: float = 0.0
    measured: int | None = None

    @property
    def schedule(self) -> ScheduleAttr:
        """The schedule, as an attribute."""
        return self.product.schedule.attr

    @property
    def engine(self) -> Engine:
        """Its engine."""
        return self.product.schedule.engine

    @property
    def cycles(self) -> float:
        """Cycles of the product and of encoding for it, the product's measured if they are."""
        return self.encoding + (self.prediction.cycles if self.measured is None else self.measured)

    def to_json(self) -> dict[str, Any]:
        """The row of `--explain`."""
        return {
            **schedule_facts(self.schedule),
            "cycles": round(self.cycles),
            "predicted": round(self.prediction.cycles),
            "measured": self.measured,
            "encoding": round(self.encoding),
            "limit": self.prediction.limit,
            "parts": {name: round(c, 1) for name, c in self.prediction.parts.items()},
        }


@dataclass(frozen=True)
class Choice:
    """The candidates of a product, the chosen one first; `seconds`: what predicting them took."""

    candidates: tuple[Candidate, ...]
    seconds: float = 0.0
    source: tuple[str, ...] = ()

    @property
    def best(self) -> Candidate:
        """The chosen one."""
        return self.candidates[0]

    def best_of_each(self) -> list[Candidate]:
        """The best candidate of each engine, the chosen one first."""
        found: dict[Engine, Candidate] = {}
        for candidate in self.candidates:
            found.setdefault(candidate.engine, candidate)
        return list(found.values())

    def shown(self, most: int = 8) -> list[Candidate]:
        """The first `most` candidates, and the best of each engine that is not among them."""
        first = list(self.candidates[:most])
        return first + [c for c in self.best_of_each() if c not in first]

    def why(self) -> str:
        """In a line, why the chosen one and not the next, nor another engine."""
        best, rest = self.best, self.candidates[1:]
        how = "predicted" if best.measured is None else "measured"
        text = f"{describe(best.schedule)}: {_cycles(best)} {how}, limited by {_limit(best)}"
        others = [c for c in self.best_of_each() if c.engine != best.engine]
        for other in others:
            part = f", {other.encoding:,.0f} of them to encode operands" if other.encoding else ""
            text += (
                f"; the best of {other.engine} ({describe(other.schedule, engine=False)}) takes "
                f"{other.cycles / best.cycles:.2f} times as long ({_limit(other)}{part})"
            )
        near = [c for c in rest if c not in others]
        if near:
            longer = near[0].cycles / best.cycles - 1
            text += f"; the next ({describe(near[0].schedule)}) {abs(longer):.1%} " + (
                f"longer ({_limit(near[0])})"
                if longer >= 0
                else "shorter, but in more parts, more of L2, or not as the next kernel takes it"
            )
        return text

    def to_json(self, most: int = 8) -> dict[str, Any]:
        """The facts of `--explain`."""
        product = self.best.product
        m, n, k = product.sizes
        return {
            "source": list(self.source),
            "m": m,
            "n": n,
            "k": k,
            "a_density": product.densities[0],
            "b_density": product.densities[1],
            "considered": len(self.candidates),
            "measured": sum(c.measured is not None for c in self.candidates),
            "milliseconds": 1e3 * self.seconds,
            "why": self.why(),
            "candidates": [c.to_json() for c in self.shown(most)],
        }


def _cycles(candidate: Candidate) -> str:
    return f"{candidate.cycles:,.0f} cycles"


def _limit(candidate: Candidate) -> str:
    return candidate.prediction.limit.replace("_", " ")


def schedule_facts(schedule: ScheduleAttr) -> dict[str, Any]:
    """A schedule as plain values."""
    return {
        "engine": schedule.engine.data,
        "cta": list(schedule.cta_tile),
        "warp": list(schedule.warp_tile),
        "stages": int(schedule.stages.value.data),
        "swap": schedule.swapped,
        "split": schedule.parts,
        "window": schedule.vectors,
        "ctas": schedule.persistent,
        "cut": schedule.cut_tiles,
        "skip": schedule.skips,
    }


def describe(schedule: ScheduleAttr, *, engine: bool = True) -> str:
    """A schedule in a few words: `dual 128x128/64x64 swap /4`."""
    return in_words(schedule_facts(schedule), engine=engine)


def in_words(facts: Mapping[str, Any], *, engine: bool = True) -> str:
    """As `describe`, from the plain values of a schedule."""
    cta, warp = ("x".join(map(str, facts[name])) for name in ("cta", "warp"))
    return (
        (f"{facts['engine']} " if engine else "")
        + f"{cta}/{warp}"
        + (" swap" if facts["swap"] else "")
        + (f" /{facts['split']}" if facts["split"] > 1 else "")
        + (" skip" if facts["skip"] else "")
        + (" in turn" if facts["ctas"] else "")
        + (f" cut {facts['cut']}" if facts["cut"] else "")
        + (f" w{facts['window']}" if facts["window"] != TILE_M else "")
    )


def choose(
    product: ScheduledProduct,
    machine: Machine,
    engine: str = AUTO,
    *,
    encoding: float = 0.0,
    image_encoding: float | None = None,
    counted: Counted | None = None,
    whole: bool = False,
) -> Choice:
    """Every candidate of a product, the one that is predicted fastest first.

    `product`: its schedule does not count; `encoding`: cycles that a bitmap engine needs before,
    `image_encoding` where its kernel forms windows itself, None if it does not;
    `counted`: popcounts of a schedule's operands, if any are known; `whole`: K is not split. Of
    the best engine's candidates within `ALIKE` of the best, the one of the fewest parts is first,
    and of these one that keeps L2 least busy.
    Raises `DstcError` if no candidate fits the machine.
    """
    started = time.perf_counter()
    chip = Chip.of(machine)
    operands: dict[int, Operands] = {}
    found: list[Candidate] = []
    least: dict[Schedule, float] = {}
    """By schedule without its split, cycles of its best so far."""
    for schedule in candidates(product.sizes, machine, engine):
        without = replace(schedule, parts=1)
        if (whole and schedule.parts > 1) or least.get(without, inf) == 0:
            continue
        scheduled = replace(product, schedule=schedule)
        if schedule.engine == Engine.NM and scheduled.pattern is None:
            continue  # that operand is not n:m sparse
        dual = schedule.engine == Engine.DUAL
        window, forms = schedule.vectors, [scheduled]
        if dual:
            forms = [scheduled.in_turn(chip), scheduled.skipping(chip)]
            if image_encoding is not None:
                if schedule.vectors != TILE_M:
                    continue
                scheduled = replace(scheduled, formed=True)
                forms = [scheduled]
            if window not in operands and counted is not None:
                operands[window] = counted(scheduled, chip)
            elif window not in operands and not any(product.occupied):
                operands[window] = scheduled.operands(chip)
        fastest = inf
        for form in forms:
            if form is None:
                continue
            prediction = form.predict(chip, operands.get(window) if dual else None)
            fastest = min(fastest, prediction.cycles)
            if isfinite(prediction.cycles):
                before = encoding if image_encoding is None else image_encoding
                found.append(Candidate(form, prediction, before if dual else 0.0))
        best = min(least.get(without, inf), fastest)
        hopeless = fastest > SPLIT_TOO_FAR * best or not isfinite(fastest)
        least[without] = 0 if hopeless else best
    if not found:
        m, n, k = product.sizes
        raise DstcError(
            f"{m} x {n} x {k}: no tile of engine {engine} fits the registers, shared memory and "
            f"accumulators of machine {machine.name}; give it more with --set, or another engine"
        )
    found.sort(key=lambda c: c.cycles)
    first = found[0]
    near = (c for c in found if c.cycles <= (1 + ALIKE) * first.cycles)
    alike = [c for c in near if c.engine == first.engine]
    best = min(alike, key=lambda c: (c.product.schedule.parts, _asked(c)))
    found.sort(key=lambda c: c is not best)
    return Choice(tuple(found), time.perf_counter() - started)


def _asked(candidate: Candidate) -> int:
    """Cycles of L2, where they are most of a candidate's."""
    l2 = candidate.prediction.parts.get("l2", 0.0)
    return round(l2) if l2 > BUSY_L2 * candidate.prediction.cycles else 0


def tuned(choice: Choice, machine: Machine, measure: Measure, most: int) -> Choice:
    """The `most` best candidates measured, and ranked anew by that; the others stay behind them."""
    first, rest = choice.candidates[:most], choice.candidates[most:]
    cycles = measure(choice.best.product, [c.schedule for c in first], machine)
    found = [replace(c, measured=n) for c, n in zip(first, cycles, strict=True)]
    found.sort(key=lambda c: c.cycles)
    return replace(choice, candidates=(*found, *rest))


@dataclass
class Chooser:
    """What a compilation attaches to its context: how to measure, and the choices, in order."""

    measure: Measure | None = None
    choices: list[Choice] = field(default_factory=list[Choice])


def attach_chooser(ctx: Context, chooser: Chooser) -> None:
    """Make `chooser` that of `ctx`."""
    ctx.__dict__["dstc_chooser"] = chooser


def chooser_of(ctx: Context) -> Chooser:
    """The chooser of `ctx`; one that cannot measure if none was attached."""
    found = ctx.__dict__.get("dstc_chooser")
    return found if isinstance(found, Chooser) else Chooser()
