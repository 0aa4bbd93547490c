"""The profile of a run: the numbers that page, tables and notebooks show, typed.

In: the dictionary that `dstc run --json` writes. Out: a `Profile`: kernels with their stalls, use
of units, lines of assembly and operands' pictures; layers; other machines; advice. Every number is
the dictionary's, or follows from it here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ..backend.isa.errors import DstcError
from ..backend.isa.files import write_atomic
from ..runtime.formats import OHMMA_A, OHMMA_B
from ..runtime.pictures import Picture
from .run_facts import layer_of, on_machine
from .units import SECTOR_BYTES, UnitUse, uses_of

Row = dict[str, Any]
Level = Literal["layer", "kernel", "unit", "stall", "line"]


@dataclass(frozen=True)
class Line:
    """An instruction of a launch: its text, what it was made from, sub-core cycles it took.

    `issued`: how often it was issued; `stalls`: cycles that waited for it, by cause.
    """

    index: int
    text: str
    source: str
    issued: int
    stalls: Mapping[str, int]

    @property
    def stalled(self) -> int:
        """Cycles that waited for it."""
        return sum(self.stalls.values())

    @property
    def cycles(self) -> int:
        """Issue slots and waits."""
        return self.issued + self.stalled

    @property
    def cause(self) -> str | None:
        """What it waited for most."""
        return max(self.stalls, key=lambda c: self.stalls[c]) if self.stalls else None


@dataclass(frozen=True)
class KernelProfile:
    """One launch. `row`: its row of the JSON; `rates`: see `units.rates_of`; `code`: its kernel's
    facts, with texts and sources of the instructions if the run kept them."""

    row: Mapping[str, Any]
    rates: Mapping[str, Any]
    code: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The launch's name."""
        return self.row["name"]

    @property
    def layer(self) -> str:
        """The layer that it works for."""
        return layer_of(self.row)

    @property
    def engine(self) -> str | None:
        """That of a product."""
        return self.row["engine"]

    @property
    def cycles(self) -> int:
        """Cycles of the launch; 0 if it was not timed."""
        return self.row["cycles"]

    @property
    def time_us(self) -> float:
        """Microseconds, launch overhead included."""
        return self.row["time_us"]

    @property
    def busy_us(self) -> float:
        """Microseconds, without it."""
        return self.cycles / self.rates["clock_mhz"]

    @property
    def stalls(self) -> Mapping[str, int]:
        """Sub-core cycles by cause; they add up to `sub_core_cycles`."""
        return self.row["stalls"]

    @property
    def sub_core_cycles(self) -> int:
        """Cycles of all sub-cores of the chip."""
        return self.cycles * self.rates["sms"] * self.rates["sub_cores"]

    @property
    def counters(self) -> Mapping[str, int]:
        """Counters of the simulator."""
        return self.row["counters"]

    @property
    def limit(self) -> str | None:
        """What most of its sub-core cycles went to."""
        return self.row["limit"]

    @cached_property
    def units(self) -> tuple[UnitUse, ...]:
        """Use of the units, by the order of `units.UNITS`."""
        return uses_of(self.row, self.rates) if self.cycles else ()

    @property
    def top_unit(self) -> UnitUse | None:
        """The unit nearest to its speed of light."""
        return max(self.units, key=lambda u: u.share, default=None)

    def share_of(self, *causes: str) -> float:
        """Of the sub-core cycles, those of `causes`, 0 to 1."""
        return sum(self.stalls.get(c, 0) for c in causes) / (self.sub_core_cycles or 1)

    def unit(self, key: str) -> float:
        """Share of a unit's speed of light, 0 to 1; 0 if the machine has no such unit."""
        return next((u.share for u in self.units if u.key == key), 0.0)

    @property
    def waves(self) -> float:
        """CTAs by those that the chip holds at once."""
        return self.row["ctas"] / (self.rates["sms"] * max(1, self.row["occupancy"]))

    @property
    def effective_share(self) -> float | None:
        """Multiply-adds of two non-zeros, of all; None where nothing is multiplied."""
        macs = self.row["macs_dense"]
        return self.row["macs_effective"] / macs if macs else None

    @property
    def filled(self) -> float | None:
        """Of what the issued OHMMAs could multiply, what has two non-zeros."""
        slots = self.row["ohmma_issued"] * OHMMA_A * OHMMA_B
        return self.row["macs_effective"] / slots if slots else None

    @property
    def skipped_share(self) -> float | None:
        """Of the OHMMAs of the dense product, those skipped."""
        issued, skipped = self.row["ohmma_issued"], self.row["ohmma_skipped"]
        return skipped / (issued + skipped) if issued + skipped else None

    def tera(self, macs: float) -> float:
        """10^12 operations a second, two a multiply-add, without the launch overhead."""
        return 2 * macs / self.busy_us / 1e6 if self.cycles else 0.0

    @property
    def intensity(self) -> float | None:
        """Operations of the dense product by bytes of DRAM traffic; None without either."""
        macs, moved = self.row["macs_dense"], self.counters["dram_bytes"]
        return 2 * macs / moved if macs and moved else None

    @property
    def l2_intensity(self) -> float | None:
        """Operations of the dense product by bytes of L2 traffic; None without either."""
        macs, moved = self.row["macs_dense"], SECTOR_BYTES * self.counters["l2_accesses"]
        return 2 * macs / moved if macs and moved else None

    @cached_property
    def pictures(self) -> tuple[Picture, Picture] | None:
        """Of the operands, if the run kept them."""
        found = self.row.get("pictures")
        return (Picture.of_json(found[0]), Picture.of_json(found[1])) if found else None

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """The instructions, if the run kept them. Their `issued` add up to the launch's warp
        instructions, their stalls to the launch's, but for `no_warp`."""
        if "pc_issued" not in self.row or "text" not in self.code:
            return ()
        stalls: dict[int, dict[str, int]] = {}
        for cause, pairs in self.row["pc_stalled"].items():
            for at, cycles in pairs:
                stalls.setdefault(at, {})[cause] = cycles
        sources: Sequence[str] = self.code["sources"] or [""] * len(self.code["text"])
        columns = zip(self.code["text"], sources, self.row["pc_issued"], strict=True)
        return tuple(
            Line(i, text, source, issued, stalls.get(i, {}))
            for i, (text, source, issued) in enumerate(columns)
        )

    def hottest(self, count: int = 12) -> list[Line]:
        """The lines that took most cycles."""
        return sorted(self.lines, key=lambda line: (-line.cycles, line.index))[:count]

    @cached_property
    def advice(self) -> tuple[Advice, ...]:
        """What limits it and which option to try, most telling first."""
        from .advice import advise

        return tuple(advise(self))

    def to_row(self) -> Row:
        """Flat, for a table."""
        flat = str | int | float | None
        row = {k: v for k, v in self.row.items() if isinstance(v, flat) and k != "pictures"}
        row["layer"] = self.layer
        row |= {f"{u.key}_share": u.share for u in self.units}
        return row


@dataclass(frozen=True)
class Advice:
    """A sentence on what limits a kernel, and one on what to try (perhaps empty).

    `gain_us`: at most what could be had, in microseconds: for the order of advice on a run.
    """

    rule: str
    what: str
    option: str
    gain_us: float = 0.0


@dataclass(frozen=True)
class Profile:
    """A run. `facts`: the JSON of the run.

    >>> from dstc.compiler.profile import Profile
    >>> profile = Profile.load("out/demo.json")          # doctest: +SKIP
    >>> pandas.DataFrame(profile.to_rows("kernel"))      # doctest: +SKIP
    """

    facts: Mapping[str, Any] = field(repr=False)
    kernels: tuple[KernelProfile, ...]

    @staticmethod
    def of(facts: Mapping[str, Any]) -> Profile:
        """The profile of the dictionary that `dstc run --json` writes.

        Raises `DstcError` if a launch's stalls do not add up to its cycles.
        """
        if "rates" not in facts:
            raise DstcError("no profile: the JSON is of an older dstc, or of --mode estimate")
        codes: Mapping[str, Any] = facts["code"]
        profiles = tuple(
            KernelProfile(k, facts["rates"], codes.get(k["kernel"], {})) for k in facts["kernels"]
        )
        for kernel in profiles:
            if sum(kernel.stalls.values()) != kernel.sub_core_cycles:
                raise DstcError(
                    f"kernel {kernel.name}: its stalls add up to {sum(kernel.stalls.values())} "
                    f"sub-core cycles, it took {kernel.sub_core_cycles}"
                )
        return Profile(facts, profiles)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Profile:
        """The profile of a file that `dstc run --json` wrote."""
        try:
            return Profile.of(json.loads(Path(path).read_text()))
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise DstcError(f"{path}: not the JSON of a run: {e}") from e

    @property
    def title(self) -> str:
        """Model and machine."""
        return f"{Path(self.facts['model']).name} on {on_machine(self.facts)}"

    @property
    def cycles(self) -> int:
        """Cycles of all launches."""
        return self.facts["cycles"]

    @property
    def time_us(self) -> float:
        """Microseconds of all launches, overheads included."""
        return self.facts["time_us"]

    @property
    def timed(self) -> bool:
        """Whether there are cycles to show."""
        return self.cycles > 0

    @property
    def rates(self) -> Mapping[str, Any]:
        """Of the machine; see `units.rates_of`."""
        return self.facts["rates"]

    @property
    def layers(self) -> Sequence[Mapping[str, Any]]:
        """Layers, as in the JSON."""
        return self.facts["layers"]

    @cached_property
    def stalls(self) -> dict[str, int]:
        """Sub-core cycles of all launches by cause."""
        total: dict[str, int] = {}
        for kernel in self.kernels:
            for cause, cycles in kernel.stalls.items():
                total[cause] = total.get(cause, 0) + cycles
        return total

    @cached_property
    def advice(self) -> list[tuple[KernelProfile | None, Advice]]:
        """On the run as a whole (None) and on kernels; what could gain most first."""
        from .advice import advise_run

        return advise_run(self)

    def to_rows(self, level: Level = "kernel") -> list[Row]:
        """Flat records, such as `pandas.DataFrame` takes.

        `level`: one a layer, a kernel (launch), or a kernel and unit, cause of stalls, or line of
        its assembly (if the run kept lines).
        """
        if level == "layer":
            return [dict(row) for row in self.layers]
        if level == "kernel":
            return [k.to_row() for k in self.kernels]
        rows: list[Row] = []
        for k in self.kernels:
            if level == "unit":
                found = [vars(u) | {"share": u.share} for u in k.units]
            elif level == "stall":
                found = [{"cause": c, "sub_core_cycles": n} for c, n in k.stalls.items()]
            else:
                found = [
                    {"index": i.index, "text": i.text, "source": i.source, "issued": i.issued,
                     "stalled": i.stalled, "cause": i.cause}
                    for i in k.lines
                ]  # fmt: skip
            rows += [{"kernel": k.name, **row} for row in found]
        return rows

    def html(self) -> str:
        """The page of `dstc run --report`."""
        from .report import render_report

        return render_report(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page."""
        write_atomic(Path(path), self.html().encode())

    def _repr_html_(self) -> str:
        from .notebook import profile_table

        return profile_table(self)
