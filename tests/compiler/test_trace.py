"""Recordings, and the traces made of them: the run is the same, and nothing is lost or made up."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dstc.backend.isa.encoding import decode
from dstc.backend.isa.errors import DstcError
from dstc.backend.isa.program import Launch
from dstc.compiler.accelsim import INSTRUCTION_BYTES, SASS, AccelSimWriter
from dstc.compiler.api import Compiled, compile_model
from dstc.compiler.cli.main import main
from dstc.compiler.trace import FIRST_SM, PROGRAM, TraceWriter
from dstc.runtime.device import Device
from dstc.runtime.executor import KernelRun, RunResult
from dstc.runtime.machine import Machine
from dstc.runtime.sim.constants import Cause, E, Event
from dstc.runtime.sim.timeline import SAMPLED, Recording, Timeline

from .onnx_models import model, node, random

SMS = 3
RNG = np.random.default_rng(7)
X, V, W = random(RNG, 200, 64), random(RNG, 64, 96), random(RNG, 96, 40)
V[RNG.random(V.shape) < 0.7] = 0


class Keeper:
    """An observer that keeps the timelines."""

    def __init__(self, recording: Recording):
        self.recording = recording
        self.timelines: list[Timeline] = []

    def before(self, launch: Launch) -> Recording:
        assert launch.kernel
        return self.recording

    def after(self, run: KernelRun) -> None:
        assert run.result.timeline is not None
        self.timelines.append(run.result.timeline)


def compiled(engine: str) -> Compiled:
    nodes = [
        node("MatMul", ["x", "v"], "p"), node("Relu", ["p"], "r"), node("MatMul", ["r", "w"], "y"),
    ]  # fmt: skip
    return compile_model(
        model(nodes, {"x": X.shape}, constants={"v": V, "w": W}),
        machine=Machine.load("dstc", {"sm.count": SMS}),
        engine=engine,
    )


@pytest.fixture(scope="module")
def dual() -> tuple[Compiled, RunResult]:
    found = compiled("dual")
    return found, found.run(X)


@pytest.mark.parametrize("threads", [1, 2])
def test_recorded_runs_are_the_same(dual: tuple[Compiled, RunResult], threads: int) -> None:
    program, plain = dual
    keeper = Keeper(Recording(sms=None))
    device = Device(program.machine, threads=threads)
    again = program.run(X, device=device, observer=keeper)
    assert again.outputs["y"].tobytes() == plain.outputs["y"].tobytes()
    for a, b, timeline in zip(plain.kernels, again.kernels, keeper.timelines, strict=True):
        assert b.result.timeline is None
        assert a.to_json() == b.to_json()
        assert np.array_equal(a.result.pc_stalled, b.result.pc_stalled)
        check_timeline(a, timeline)


def check_timeline(run: KernelRun, timeline: Timeline) -> None:
    """What was recorded of all SMs adds up to what the launch counted."""
    result = run.result
    events = np.concatenate(list(timeline.events.values())).astype(np.int64)
    issued = events[events[:, E.KIND] == Event.ISSUE]
    assert np.array_equal(
        np.bincount(issued[:, E.PC], minlength=len(result.pc_issued)), result.pc_issued
    )
    stalls = events[events[:, E.KIND] == Event.STALL]
    took = np.zeros(len(Cause), np.int64)
    np.add.at(took, stalls[:, E.VALUE], stalls[:, E.UNTIL] - stalls[:, E.TIME])
    for cause, cycles in zip(Cause._fields, took.tolist(), strict=True):
        if cause not in ("ISSUED", "NO_WARP"):  # the end without warps is nobody's event
            assert cycles == result.stalls[cause.lower()], cause
    assert 0 <= took[Cause.NO_WARP] <= result.stalls["no_warp"]
    assert len(timeline.lives) == result.ctas * timeline.warps
    assert set(timeline.lives[:, 2].tolist()) == set(range(result.ctas))
    last = dict(zip(("cycle", *SAMPLED), timeline.samples[-1].tolist(), strict=True))
    assert last["issued"] == result.stalls["issued"]
    for key in ("tensor_busy", "l2_accesses", "dram_read"):
        assert last[key] == result.counters[key]


def check_trace(text: str) -> dict[tuple[int, int], list[Any]]:
    """The trace event format (Trace Event Format, Google): fields, and slices that nest.

    Returns the slices by track.
    """
    trace = json.loads(text)
    tracks: dict[tuple[int, int], list[Any]] = defaultdict(list)
    named: set[tuple[int, int]] = set()
    for event in trace["traceEvents"]:
        assert isinstance(event["name"], str) and isinstance(event["pid"], int)
        if event["ph"] == "X":
            assert event["ts"] >= 0 and event["dur"] > 0
            tracks[event["pid"], event["tid"]].append(event)
        elif event["ph"] == "C":
            assert all(0 <= value <= 100 for value in event["args"].values())
        else:
            assert event["ph"] == "M" and event["args"]
            named.add((event["pid"], event["tid"]))
    assert set(tracks) <= named
    for track, slices in tracks.items():
        ends: list[int] = []
        for event in sorted(slices, key=lambda e: (e["ts"], -e["dur"])):
            while ends and ends[-1] <= event["ts"]:
                ends.pop()
            end = event["ts"] + event["dur"]
            assert not ends or end <= ends[-1], (track, event)
            ends.append(end)
    return tracks


def test_trace_of_a_run(dual: tuple[Compiled, RunResult], tmp_path: Path) -> None:
    program, plain = dual
    writer = TraceWriter(program.program, program.machine)
    program.run(X, observer=writer)
    text = writer.text()
    tracks = check_trace(text)
    kernels = [s for s in tracks[PROGRAM, 1] if s["name"] != "launch"]
    assert [(s["name"], s["dur"]) for s in kernels] == [
        (k.launch.name, k.result.cycles) for k in plain.kernels
    ]
    for sub in range(4):
        exact = tracks[FIRST_SM, 300 + sub]
        assert sum(s["dur"] for s in exact) <= plain.cycles
    ctas = [s for (pid, tid), found in tracks.items() if pid > PROGRAM and tid < 100 for s in found]
    assert len(ctas) == sum(k.result.ctas for k in plain.kernels)
    writer.most_bytes = 60_000
    small = writer.text()
    check_trace(small)
    assert len(small) < 66_000 < len(text)
    only = TraceWriter(program.program, program.machine, kernels=[plain.kernels[0].launch.name])
    program.run(X, observer=only)
    assert len(check_trace(only.text())[PROGRAM, 2]) == 1


def read_traceg(path: Path) -> tuple[dict[str, str], dict[tuple[str, int], list[list[str]]]]:
    """Header and, by thread block and warp, instructions, as Accel-Sim's parser takes them."""
    head: dict[str, str] = {}
    warps: dict[tuple[str, int], list[list[str]]] = {}
    block, warp, left = "", 0, 0
    for line in path.read_text().splitlines():
        if line.startswith("-"):
            key, _, value = line[1:].partition(" = ")
            head[key] = value
        elif line.startswith("thread block"):
            block = line.partition(" = ")[2]
        elif line.startswith("warp"):
            assert left == 0
            warp = int(line.partition(" = ")[2])
        elif line.startswith("insts"):
            left = int(line.partition(" = ")[2])
            warps[block, warp] = []
        elif line and not line.startswith("#"):
            left -= 1
            warps[block, warp].append(line.split())
    assert left == 0
    return head, warps


def test_accelsim(tmp_path: Path) -> None:
    program = compiled("dense")
    writer = AccelSimWriter(tmp_path, program.program)
    result = program.run(X, observer=writer)
    writer.finish()
    names = (tmp_path / "kernelslist.g").read_text().split()
    assert writer.skipped == [] and len(names) == len(result.kernels)
    for name, run in zip(names, result.kernels, strict=True):
        kernel = program.program.kernels[run.launch.kernel]
        head, warps = read_traceg(tmp_path / name)
        assert head["grid dim"] == "({},{},{})".format(*run.launch.grid)
        assert head["block dim"] == f"({32 * kernel.warps},1,1)"
        assert len(warps) == run.result.ctas * kernel.warps
        counts = np.zeros(len(kernel.code), np.int64)
        for words in (w for found in warps.values() for w in found):
            at, mask = int(words[0], 16) // INSTRUCTION_BYTES, int(words[1], 16)
            counts[at] += 1
            dests = int(words[2])
            opcode, sources = words[3 + dests], int(words[4 + dests])
            mnemonic = decode(*kernel.code[at].tolist()).mnemonic
            assert opcode.startswith(SASS[mnemonic]) and sources <= 4 and dests <= 1
            width, *rest = words[5 + dests + sources :]
            if mnemonic in ("LDG", "STG", "LDS", "STS"):
                assert int(width) in (1, 2, 4, 8, 16) and rest[-1] == "0"
                places = rest[1:-1]
                assert len(places) == (2 if rest[0] == "1" else mask.bit_count())
            else:
                assert (width, rest) == ("0", ["0"])
        assert np.array_equal(counts, run.result.pc_issued)
        assert any("HMMA" in " ".join(w) for w in next(iter(warps.values())))


def test_what_cannot_be_traced(dual: tuple[Compiled, RunResult], tmp_path: Path) -> None:
    program = dual[0]
    product = dual[1].kernels[-1].launch.name
    with pytest.raises(DstcError, match=r"Accel-Sim has no .*SPWMMA"):
        program.run(X, observer=AccelSimWriter(tmp_path, program.program, [product]))
    with pytest.raises(DstcError, match="more than 10 events"):
        program.run(X, observer=Keeper(Recording(most=10)))


def test_trace_of_a_bare_kernel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "k.s").write_text(".kernel k\n.registers 2\nS2R R0, SR_LANE ;\nEXIT ;\n.end\n")
    words = ["sim", str(tmp_path / "k.s"), "--grid", "2", "--json", str(tmp_path / "o.json")]
    out = tmp_path / "t.json"
    assert main([*words, "--trace", str(out), "--trace-sm", "1", "--trace-window", "0:5000"]) == 0
    tracks = check_trace(out.read_text())
    assert [s["name"] for s in tracks[FIRST_SM + 1, 500]] == ["S2R", "EXIT"]
    assert main([*words, "--trace", str(tmp_path / "a"), "--format", "accelsim"]) == 0
    assert (tmp_path / "a" / "kernel-1.traceg").is_file()
    for wrong, why in (
        (["--trace-sm", "1"], "bears on --trace"),
        (["--trace", str(out), "--mode", "functional"], "needs time"),
        (["--trace", str(out), "--trace-sm", "99"], "has SMs 0 to 79"),
        (["--trace", str(out), "--trace-window", "9:3"], "ends before it begins"),
        (["--trace", str(out), "--trace-kernel", "q"], "no such kernel"),
    ):
        assert main([*words, *wrong]) == 2
        assert why in capsys.readouterr().err
