"""Rules that say in a sentence what limits a kernel, and in one which option to try.

In: kernels of a profile. Out: `Advice`, each from one rule of a table; nothing here is measured
anew. `gain_us` is the time that the named cause takes at most, never a promise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import ceil, floor

from .profile import Advice, KernelProfile, Profile
from .run_facts import count, limit_text, percent

Rule = Callable[[KernelProfile], Advice | None]

MOST = 3
"""Sentences on one kernel."""
HIGH = 0.6
"""A unit beyond this share of its speed of light is called the limit."""


def _advice(k: KernelProfile, rule: str, share: float, what: str, option: str = "") -> Advice:
    return Advice(rule, what, option, share * k.busy_us)


def tensor(k: KernelProfile) -> Advice | None:
    """The tensor core is near its speed of light."""
    used = k.unit("tensor")
    if used < HIGH:
        return None
    what = f"The tensor cores are busy {percent(used)} of the time: this is their limit."
    effective = k.effective_share
    if k.filled is not None:
        option = (
            f"Its OHMMAs are filled to {percent(k.filled)}; a window of 64 fills them better: "
            "--machine dstc-plus."
            if k.filled < HIGH and "window_64" not in k.rates["features"]
            else ""
        )
    elif effective is not None and effective < 0.5:
        where = "--engine dual" if "dual_side" in k.rates["features"] else "--machine dstc"
        option = f"Only {percent(effective)} of its multiply-adds have two non-zeros: {where}."
    else:
        option = "Fewer multiply-adds are the way: prune, say with --prune 2:4 on v100-nm."
    return _advice(k, "tensor", used, what, option)


def dram(k: KernelProfile) -> Advice | None:
    """DRAM is near its speed of light."""
    used = k.unit("dram")
    if used < HIGH:
        return None
    moved = f"{count(k.counters['dram_bytes'])} bytes"
    return _advice(
        k, "dram", used, f"DRAM is busy {percent(used)} of the time, moving {moved}.",
        "Encoded weights are smaller (--engine dual); a larger batch uses them more often "
        "(--dim batch=N).",
    )  # fmt: skip


def l2(k: KernelProfile) -> Advice | None:
    """L2 is near its speed of light."""
    used = k.unit("l2")
    if used < HIGH:
        return None
    return _advice(
        k, "l2", used, f"L2 serves {percent(used)} of what it can: operands are fetched again "
        "and again by different SMs.", "Larger CTA tiles share more: --tune 8 measures them.",
    )  # fmt: skip


def l1(k: KernelProfile) -> Advice | None:
    """L1 is near its speed of light, or accesses queue before it."""
    used, queued = k.unit("l1"), k.share_of("global_queue")
    if used < HIGH and queued < 0.25:
        return None
    return _advice(
        k, "l1", max(used, queued), f"L1 works at {percent(used)} of its rate, and issue waits "
        f"for room before it {percent(queued)} of the time.",
        "Wider or fewer accesses help: --tune 8 tries other tiles." if k.engine else "",
    )  # fmt: skip


def shared(k: KernelProfile) -> Advice | None:
    """Shared memory is near its speed of light, or its banks conflict."""
    used = k.unit("shared")
    waves = k.counters["shared_wavefronts"]
    lost = k.counters["shared_conflicts"] / waves if waves else 0.0
    if used < HIGH and (lost < 0.2 or used < 0.2):
        return None
    what = f"Shared memory passes {percent(used)} of the wavefronts that it can"
    what += f", {percent(lost)} of them for bank conflicts." if lost >= 0.01 else "."
    option = "Larger warp tiles read each operand less often: --tune 8." if k.engine else ""
    return _advice(k, "shared", used, what, option)


def accumulators(k: KernelProfile) -> Advice | None:
    """Warps wait for accumulators."""
    waits, port = k.share_of("accumulator"), k.unit("accumulator")
    if waits < 0.15 and port < HIGH:
        return None
    return _advice(
        k, "accumulator", max(waits, port), f"Warps wait {percent(waits)} of the time for the "
        f"accumulation buffer; its port moves {percent(port)} of the rows that it can.",
        "More rows a cycle: --set accumulator.rows_per_cycle=2; more tiles: --machine dstc-plus.",
    )  # fmt: skip


def issue(k: KernelProfile) -> Advice | None:
    """Issue slots are used up."""
    used = k.unit("issue")
    if used < 0.5:
        return None
    what = f"Instructions are issued in {percent(used)} of all slots"
    macs = k.row["macs_dense"]
    if not macs:
        return _advice(k, "issue", used, what + ".")
    what += f": {k.row['warp_instructions'] * 128 / macs:.2f} for each 128 multiply-adds."
    option = "Larger warp tiles need fewer loads for a product: --tune 8."
    if k.row["ohmma_issued"] and "sequencer" not in k.rates["features"]:
        option = "A sequencer issues OHMMAs by itself: --machine dstc."
    return _advice(k, "issue", used, what, option)


def pipes(k: KernelProfile) -> Advice | None:
    """ALU, FMA or MUFU is near its speed of light."""
    unit = max((u for u in k.units if u.key in ("alu", "fma", "mufu")), key=lambda u: u.share)
    if unit.share < HIGH:
        return None
    what = f"The {unit.label} pipes are busy {percent(unit.share)} of the time"
    what += ": finding addresses, or work on elements." if unit.key != "mufu" else "."
    return _advice(k, "pipes", unit.share, what)


def grid(k: KernelProfile) -> Advice | None:
    """SMs, or places on them, stay empty."""
    idle = k.share_of("no_warp")
    ctas, sms, held = k.row["ctas"], k.rates["sms"], k.row["occupancy"]
    if idle < 0.25:
        return None
    if ctas < sms:
        what = f"{count(ctas)} CTAs for {sms} SMs: {sms - ctas} SMs have nothing to do."
        option = "A larger batch (--dim batch=N) or smaller tiles, split along k (--tune 8)."
    elif k.waves > 1 and k.waves - floor(k.waves) > 0:
        last = k.waves - floor(k.waves)
        what = (
            f"{count(ctas)} CTAs, {sms * held} at a time, are {ceil(k.waves)} waves, the last "
            f"{percent(last)} full: sub-cores have no warp {percent(idle)} of the time."
        )
        option = "Other tiles divide better: --tune 8."
    else:
        what = (
            f"Sub-cores have no warp {percent(idle)} of the time: {k.cycles:,} cycles are mostly "
            "start and end."
        )
        option = "A larger batch makes it longer: --dim batch=N."
    return _advice(k, "grid", idle, what, option if k.engine else option.split(",")[0])


_LATENCY = {
    "dram": ("scoreboard_dram", "data from DRAM"),
    "l2": ("scoreboard_l2", "data from L2"),
    "l1": ("scoreboard_l1", "data from L1"),
    "shared": ("scoreboard_shared", "data from shared memory"),
    "alu": ("scoreboard_alu", "results of ALU and FMA"),
    "mufu": ("scoreboard_mufu", "results of the special function unit"),
    "tensor": ("scoreboard_tensor", "results of the tensor core"),
}


def latency(k: KernelProfile) -> Advice | None:
    """Warps wait for results, while no unit is busy."""
    top = k.top_unit
    if top is None or top.share >= HIGH:
        return None
    found = {unit: k.share_of(cause) for unit, (cause, _) in _LATENCY.items()}
    worst = max(found, key=lambda unit: found[unit])
    share = found[worst]
    if share < 0.15:
        return None
    resident = k.code.get("warps", 1) * k.row["occupancy"]
    what = (
        f"Warps wait {percent(share)} of the time for {_LATENCY[worst][1]}, a latency: no unit is "
        f"busier than {percent(top.share)}, and an SM holds {resident} of "
        f"{k.rates['max_warps']} warps."
    )
    limits: dict[str, int] = k.row["occupancy_limits"]
    scarce = min(limits, key=lambda what: limits[what]) if limits else ""
    option = f"What bounds the CTAs of an SM is {scarce}" if k.waves >= 1 and scarce else ""
    option += (": smaller tiles (--tune 8)." if k.engine else ".") if option else ""
    return _advice(k, "latency", share, what, option)


def barrier(k: KernelProfile) -> Advice | None:
    """Warps wait for each other."""
    share = k.share_of("barrier")
    if share < 0.15:
        return None
    return _advice(
        k, "barrier", share, f"Warps wait {percent(share)} of the time for the others of their "
        "CTA at barriers.", "CTAs of fewer warps wait less: --tune 8." if k.engine else "",
    )  # fmt: skip


def launch(k: KernelProfile) -> Advice | None:
    """Launching takes longer than running."""
    overhead = k.rates["overhead_us"]
    if k.busy_us > overhead:
        return None
    what = f"It runs for {k.busy_us:.1f} us; launching it takes {overhead:g} us."
    return Advice("launch", what, "A larger batch: --dim batch=N.", overhead)


RULES: tuple[Rule, ...] = (
    tensor, dram, l2, l1, shared, accumulators, issue, pipes, grid, latency, barrier, launch,
)  # fmt: skip


def advise(k: KernelProfile) -> list[Advice]:
    """What limits a launch; at least one sentence if it was timed, what costs most first."""
    if not k.cycles:
        return []
    found = [advice for rule in RULES if (advice := rule(k)) is not None]
    running = [a for a in found if a.rule != "launch"]
    if not running:
        top = k.top_unit
        busiest = f"; the busiest unit is {top.label} at {percent(top.share)}" if top else ""
        what = f"Nothing stands out: most cycles go to {limit_text(k.limit)}{busiest}."
        running = [Advice("even", what, "")]
    running.sort(key=lambda a: -a.gain_us)
    return [*running[:MOST], *(a for a in found if a.rule == "launch")]


def advise_run(profile: Profile, most: int = 6) -> list[tuple[KernelProfile | None, Advice]]:
    """On the run as a whole (no kernel), then on the launches that could gain most."""
    if not profile.timed:
        return []
    found: list[tuple[KernelProfile | None, Advice]] = []
    overhead = sum(k.time_us - k.busy_us for k in profile.kernels)
    if overhead > profile.time_us / 3:
        what = (
            f"{overhead:.1f} of {profile.time_us:.1f} us are {len(profile.kernels)} launches of "
            f"{profile.rates['overhead_us']:g} us each, before anything runs."
        )
        found.append((None, Advice("launches", what, "A larger batch shares them: --dim batch=N.",
                                   overhead)))  # fmt: skip
    encoding = [k for k in profile.kernels if k.row["op"].startswith("encode")]
    spent = sum(k.time_us for k in encoding)
    if spent > profile.time_us / 10:
        what = (
            f"{spent:.1f} us go to {len(encoding)} kernels that only encode activations for the "
            "dual-side engine."
        )
        option = "--engine auto takes that engine only where it is predicted to pay."
        found.append((None, Advice("encode", what, option, spent)))
    # the first sentence on a launch, weighed by the launch's time
    kernels = sorted(profile.kernels, key=lambda k: -k.cycles)
    found += [(k, replace(k.advice[0], gain_us=k.busy_us)) for k in kernels if k.advice]
    return found[:most]
