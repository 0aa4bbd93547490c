"""`dstc run`, `dstc compile`, `dstc inspect`: from a model to results, a program, or its IR.

In: an ONNX or MLIR model, or a program file, inputs, a machine. Out: tables and JSON of the run;
files of the program at the levels asked for; a folder of the IR before the first and after every
pass.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...backend.isa.errors import CheckFailed, DstcError
from ...backend.isa.files import write_npz
from .common import add_options, check_outputs, key_values, write_json, write_text
from .tracing import OPTIONS, tracer, write_trace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...runtime.executor import Observer, RunResult
    from ...runtime.machine import Machine
    from ..api import Compiled
    from ..cache import CompileCache
    from ..check_passes import Inputs
    from ..instruments import Instrument
    from ..tune import Tuner

EMIT = ("graph", "dstc", "tile", "isa", "asm", "bin")
"""Levels that `dstc compile --emit` writes."""


INTERRUPTED = 130
"""Exit code of a run that Ctrl-C stopped."""
OWN_INPUT = "input"
"""`dstc run --calibrate input`: measure densities on the run's own inputs."""


def add_parsers(subparsers: Any) -> None:
    """Add the subcommands `run`, `compile` and `inspect`."""
    p = subparsers.add_parser(
        "run",
        help="compile a model if needed and run it on the simulator",
        description="Compile an ONNX or MLIR model (or take a compiled program), run it on the "
        "simulated machine, compare it with the ONNX reference.",
    )
    p.add_argument(
        "model", metavar="MODEL.onnx|MODEL.mlir|PROGRAM.bin", help="model or compiled program"
    )
    p.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="NAME=F.npy|F.npz|random[:SEED]",
        help="inputs; keys of an .npz are input names, a lone array goes to a lone input",
    )
    p.add_argument("--dim", action="append", default=[], metavar="NAME=N", help=_DIM_HELP)
    p.add_argument(
        "--labels",
        metavar="KEY|F.npy",
        help="true classes, to print the accuracy: a key of the .npz, or a file",
    )
    p.add_argument(
        "--compare",
        metavar="MACHINE[,...]",
        default="",
        help="compile and run for these machines too",
    )
    p.add_argument("--output", metavar="OUT.npz", help="write the model's outputs")
    p.add_argument("--report", metavar="OUT.html", help="write a report to open in a browser")
    add_options(
        p, "machine", "set", "engine", "density", "calibrate", "prune", "explain", "tune",
        "mode-or-estimate", "threads", "checks", *OPTIONS, "check", "cache", "json",
    )  # fmt: skip
    p.set_defaults(run=run, machine=None)

    p = subparsers.add_parser(
        "compile",
        help="compile a model",
        description="Compile an ONNX or MLIR model to a program file, or to IR at other levels.",
    )
    p.add_argument("model", metavar="MODEL.onnx|MODEL.mlir")
    p.add_argument("-o", "--output", required=True, metavar="OUT", help="file or, for several "
                   "levels, folder to write")  # fmt: skip
    p.add_argument(
        "--emit",
        default="bin",
        metavar="LEVEL[,...]",
        help=f"what to write: {', '.join(EMIT)} (default: bin)",
    )
    p.add_argument("--dim", action="append", default=[], metavar="NAME=N", help=_DIM_HELP)
    p.add_argument(
        "--check-each-pass",
        nargs="?",
        const="random",
        metavar="F.npz|random[:SEED]",
        help="execute the IR before the first and after every pass on the same inputs (default: "
        "random); the first pass that changes the result is named, exit code 1",
    )
    add_options(
        p, "machine", "set", "engine", "density", "calibrate", "prune", "explain", "tune", "cache",
        "json",
    )  # fmt: skip
    p.set_defaults(run=compile_)

    p = subparsers.add_parser(
        "inspect",
        help="show the IR between passes",
        description="Compile an ONNX or MLIR model and show the IR before the first and after "
        "every pass: as one page for a browser, or as a folder of files, each of which parses and "
        "begins with the command that goes on from it.",
    )
    p.add_argument("model", metavar="MODEL.onnx|MODEL.mlir")
    p.add_argument("--html", metavar="OUT.html", help="page to write; it needs nothing else")
    p.add_argument("--ir-dir", metavar="DIR", help="folder to write")
    p.add_argument(
        "--replay",
        nargs="?",
        const="steps",
        choices=("steps", "full"),
        help="go on from each file of --ir-dir and compare: by the next pass with the next file "
        "(steps, the default), or by all that its command names with the program (full)",
    )
    p.add_argument(
        "--simulate",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="run the model on random inputs, for cycles and stalls on the page (default: on)",
    )
    p.add_argument("--dim", action="append", default=[], metavar="NAME=N", help=_DIM_HELP)
    add_options(
        p, "machine", "set", "engine", "density", "calibrate", "prune", "explain", "tune",
        "threads", "seed", "json",
    )  # fmt: skip
    p.set_defaults(run=inspect)


_DIM_HELP = "size of a dynamic dimension, as batch=8; repeatable"


def _dims(args: argparse.Namespace) -> dict[str, int]:
    dims: dict[str, int] = {}
    for name, text in key_values(args.dim, "--dim").items():
        if not text.isdigit() or int(text) < 1:
            raise DstcError(f"--dim {name}={text}: a size is a positive number")
        dims[name] = int(text)
    return dims


def _is_program(path: str) -> bool:
    try:
        with Path(path).open("rb") as f:
            return f.read(4) == b"DSTC" or path.endswith(".bin")
    except OSError as e:
        raise DstcError(f"{path}: cannot be read: {e.strerror}") from e


def _target(args: argparse.Namespace) -> Machine:
    from ...runtime.machine import Machine

    return Machine.load(args.machine, key_values(args.set))


def _tuner(args: argparse.Namespace) -> Tuner:
    """What `--tune` measures with."""
    from ..tune import Tuner

    return Tuner(threads=getattr(args, "threads", None))


def _cache(args: argparse.Namespace, *, whole: bool) -> CompileCache | None:
    """Where programs are kept; none if more is asked for than a program (`whole`: its IR too)."""
    from ..cache import CompileCache

    return CompileCache() if args.cache and not whole and not args.explain else None


def _densities(args: argparse.Namespace) -> dict[str, float]:
    """The hints of `--density`; the pass says what is wrong with a name."""
    found: dict[str, float] = {}
    for name, text in key_values(args.density, "--density").items():
        try:
            found[name] = float(text)
        except ValueError:
            raise DstcError(f"--density {name}={text}: a density is a number, 0 to 1") from None
    return found


def _calibration(args: argparse.Namespace) -> dict[str, NDArray[Any]] | None:
    """The arrays of `--calibrate`."""
    from ...passes.calibration import read_calibration

    return read_calibration(args.calibrate) if args.calibrate else None


def _check_inputs(args: argparse.Namespace) -> Inputs | None:
    """What `--check-each-pass` executes on."""
    from ..check_passes import Inputs

    return Inputs.parse(args.check_each_pass) if args.check_each_pass is not None else None


def _choices(args: argparse.Namespace, compiled: Compiled) -> dict[str, Any]:
    """The facts that `--explain` adds: for each product its candidates."""
    return {"choices": [c.to_json() for c in compiled.choices]} if args.explain else {}


def _changes(machine: Machine, args: argparse.Namespace) -> dict[str, Any]:
    """The parameters of `machine` that `--set` changed, as it has them."""
    return machine.settings(key_values(args.set))


class _Job:
    """One model (or program) with its inputs, to be run on machines."""

    def __init__(self, args: argparse.Namespace):
        from .inputs import read_inputs

        self.args = args
        self.is_program = _is_program(args.model)
        self.arrays, self.seed = read_inputs(args.input)
        self.dims = _dims(args)
        self.inputs: dict[str, NDArray[Any]] = {}
        self.truth: NDArray[Any] | None = None
        self.notes: list[str] = []

    def targets(self) -> list[Machine]:
        """The machine to run on, then those to compare it with; `--set` changes each.

        A compared machine without a parameter stays as it is there, which a note tells.
        """
        from ...backend.isa.program import Program
        from ...runtime.machine import Machine

        name = self.args.machine
        if name is None and self.is_program:
            plan = Program.load(self.args.model).plan
            name = plan.machine if plan is not None else None
        changes = key_values(self.args.set)
        targets = [Machine.load(name or "dstc", changes)]
        for word in filter(None, self.args.compare.split(",")):
            known = Machine.load(word).overridable
            fitting = {key: value for key, value in changes.items() if key in known}
            target = Machine.load(word, fitting)
            if target.name in [t.name for t in targets]:
                raise DstcError(f"--compare {word}: {target.name} is there already; name it once")
            targets.append(target)
            self.notes += [
                f"--set {key} does not apply to {target.name}, which has no such parameter"
                for key in changes
                if key not in known
            ]
        return targets

    def compiled(self, target: Machine, *, main: bool) -> Compiled:
        """The model for a machine, or the program as it is."""
        from ..api import compile_model, load_program
        from .progress import passes_shown

        if self.is_program:
            if self.args.engine != "auto":
                raise DstcError("--engine chooses code at compile time; this is a program already")
            for option in ("tune", "explain", "density", "calibrate", "prune"):
                if getattr(self.args, option):
                    raise DstcError(f"--{option} bears on compiling; this is a program already")
            if self.args.dim:
                raise DstcError("--dim sets sizes at compile time; this is a program already")
            compiled = load_program(self.args.model, target)
        else:
            from ...passes.candidates import engines

            engine = self.args.engine
            if not main and engine not in engines(target):
                engine = "auto"
            with passes_shown(f"compile for {target.name}") as on_pass:
                compiled = compile_model(
                    self.args.model,
                    machine=target,
                    engine=engine,
                    dims=self.dims,
                    input_shapes=self.shapes(),
                    on_pass=on_pass,
                    tune=self.args.tune,
                    tuner=_tuner(self.args),
                    densities=_densities(self.args),
                    calibrate=self.calibration(target),
                    prune=self.args.prune,
                    cache=_cache(self.args, whole=self.args.mode == "estimate"),
                )
        if self.args.mode != "estimate":
            self.bind(compiled)
        return compiled

    def calibration(self, target: Machine) -> dict[str, NDArray[Any]] | None:
        """Inputs to measure densities on: a file's, or for `input` those of the run."""
        from ..api import compile_model

        if self.args.calibrate != OWN_INPUT:
            return _calibration(self.args)
        self.bind(
            compile_model(
                self.args.model, machine=target, dims=self.dims, input_shapes=self.shapes()
            )
        )
        return self.inputs

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the given inputs, by the names of the model's inputs; dtypes are checked."""
        from ...runtime.executor import check_dtype
        from ..frontends.onnx_import import input_types
        from ..ir_input import input_types as types_of_ours
        from ..ir_input import is_ours
        from .inputs import check_names, for_names

        if not self.arrays:
            return {}
        model = self.args.model
        types = types_of_ours(model) if is_ours(model) else input_types(model)
        check_names(self.args.input, list(types), self.args.labels)
        arrays = for_names(self.arrays, list(types), self.labels)
        for name, array in arrays.items():
            check_dtype(name, array, types[name])
        return {name: tuple(array.shape) for name, array in arrays.items()}

    @property
    def labels(self) -> tuple[str, ...]:
        """The array that holds labels, if it is one of those given."""
        return (self.args.labels,) if self.args.labels in self.arrays else ()

    def bind(self, compiled: Compiled) -> None:
        """Find the inputs, once."""
        from .inputs import check_names, for_names, random_inputs

        if self.inputs:
            return
        assert compiled.program.plan is not None
        ports, metadata = compiled.program.plan.inputs, compiled.program.plan.metadata
        check_names(self.args.input, [p.name for p in ports], self.args.labels)
        if not self.arrays and self.seed is None:
            first = ports[0].name if ports else "x"
            raise DstcError(
                f"input {first!r} is missing; give it as --input {first}=file.npy, or --input "
                "random"
            )
        if self.seed is not None:
            self.inputs = random_inputs(ports, self.seed, metadata.get("index_ranges"))
        if self.arrays:
            names = [p.name for p in ports if self.seed is None or p.name in self.arrays]
            self.inputs.update(for_names(self.arrays, names, self.labels))

    def run(self, compiled: Compiled, observer: Observer | None = None) -> RunResult:
        """Run on a fresh device; Ctrl-C leaves what was done by then."""
        from ...runtime.device import Device
        from .progress import simulation_shown

        args = self.args
        device = Device(compiled.machine, args.mode, args.threads, args.checks)
        title = f"simulate on {compiled.machine.name}"
        with simulation_shown(title, compiled.program, device) as progress:
            return compiled.run(
                self.inputs,
                device=device,
                progress=progress,
                pictures=bool(args.report),
                observer=observer,
                keep_partial=True,
            )

    def check_labels(self, compiled: Compiled) -> None:
        """Refuse labels that do not fit the first output, before anything runs."""
        from .inputs import read_array

        if not self.args.labels:
            return
        assert compiled.program.plan is not None
        known = self.arrays.get(self.args.labels)
        if known is None and not Path(self.args.labels).is_file():
            have = ", ".join(n for n in self.arrays if n) or "none"
            raise DstcError(
                f"--labels {self.args.labels}: no such array among the inputs ({have}) and no "
                "such file"
            )
        labels = known if known is not None else read_array(self.args.labels)
        port = compiled.program.plan.outputs[0]
        if len(port.shape) != 2 or labels.shape != port.shape[:1]:
            raise DstcError(
                f"--labels {self.args.labels}: an array of shape {_x(labels.shape)} does not fit "
                f"output {port.name!r} of shape {_x(port.shape)}; give one class for each row"
            )
        self.truth = labels

    def accuracy(self, result: RunResult) -> tuple[int, int] | None:
        """(right, all) by the largest output, if there are labels."""
        if self.truth is None or not result.outputs:
            return None
        scores = next(iter(result.outputs.values()))
        return int((scores.argmax(axis=1) == self.truth).sum()), len(self.truth)


def _x(shape: Sequence[int]) -> str:
    """A shape as people write it."""
    return "x".join(map(str, shape)) or "()"


def run(args: argparse.Namespace) -> int:
    """`dstc run`."""
    check_outputs(args.json, args.output, args.report)
    if args.format == "perfetto":
        check_outputs(args.trace)
    job = _Job(args)
    if args.mode == "estimate":
        return _estimate(args, job)
    runs: list[tuple[Compiled, RunResult]] = []
    for i, target in enumerate(job.targets()):
        compiled = job.compiled(target, main=i == 0)
        if i == 0:
            job.check_labels(compiled)
        writer = tracer(args, compiled.program, target) if i == 0 else None
        runs.append((compiled, job.run(compiled, writer)))
        stopped = runs[-1][1].stopped_at is not None
        write_trace(args, writer, job.notes, partial=stopped)
        if stopped:
            break
    compiled, result = runs[0]
    partial = _partial(runs[-1][1], runs[-1][0], job)
    check: dict[str, Any] | None = None
    if partial and len(runs) > 1:  # of the machines to compare with, those that are done
        runs.pop()
    if args.check and compiled.model is not None and not partial:
        checks = {c.machine.name: c.check(job.inputs, r) for c, r in runs}
        worst = min(checks, key=lambda m: (checks[m]["ok"], -checks[m]["max_abs_error"]))
        check = {"reference": "onnx", "machines": list(checks), "worst": worst, **checks[worst]}
    facts = _facts(args, job, runs, check)
    facts["partial"] = partial
    if args.check and compiled.model is None:
        what = "a program" if job.is_program else "IR"
        facts["notes"].append(f"not checked: {what} has no ONNX model to compare with")
    if args.output and result.outputs:
        write_npz(args.output, result.outputs)
    if args.json:
        write_json(args.json, facts)
    if args.report:
        from ..profile import Profile

        write_text(args.report, Profile.of(facts).html())
    if args.json != "-":
        from .tables import print_choices, print_run

        print_run(facts)
        print_choices(facts.get("choices", []))
        for path in (args.json, args.report, args.trace, result.outputs and args.output):
            if path:
                print(f"wrote {path}")
    if check is not None and not check["ok"]:
        raise CheckFailed(
            f"{args.model}: outputs on {check['worst']} differ from the ONNX reference by "
            f"{check['max_abs_error']:.3g}, more than the bound {check['bound']:.3g}"
        )
    return INTERRUPTED if partial else 0


def _partial(result: RunResult, compiled: Compiled, job: _Job) -> bool:
    """Whether an interrupt stopped the run, which a note then tells."""
    if result.stopped_at is None:
        return False
    assert compiled.program.plan is not None
    done = len(result.kernels) + len(result.host_ops)
    job.notes.append(
        f"partial: stopped by an interrupt in {result.stopped_at} on {compiled.machine.name}, "
        f"{done} of {len(compiled.program.plan.steps)} steps done; nothing was checked"
    )
    return True


def _estimate(args: argparse.Namespace, job: _Job) -> int:
    """`dstc run --mode estimate`: cycles in closed form, no values."""
    from ..estimate import KernelEstimate, estimate_kernels

    for option in ("output", "report", "trace", "labels"):
        if getattr(args, option):
            raise DstcError(f"--{option} needs values; --mode estimate computes none: use cycle")
    runs: list[tuple[Compiled, list[KernelEstimate]]] = []
    for i, target in enumerate(job.targets()):
        compiled = job.compiled(target, main=i == 0)
        runs.append((compiled, estimate_kernels(compiled)))
    (compiled, kernels), *others = runs

    def totals(compiled: Compiled, found: list[KernelEstimate]) -> dict[str, Any]:
        return {
            "set": _changes(compiled.machine, args),
            "cycles": sum(k.cycles for k in found),
            "time_us": sum(k.time_us for k in found),
            "warp_instructions": None,
            "kernels": [k.to_json() for k in found],
        }

    facts: dict[str, Any] = {
        "schema": 1,
        "model": args.model,
        "machine": compiled.machine.name,
        "engine": args.engine,
        "mode": args.mode,
        "check": None,
        **totals(compiled, kernels),
        "wall_seconds": {"compile": compiled.seconds, "simulate": 0.0},
        "inputs": {p.name: list(p.shape) for p in _ports(compiled)},
        "outputs": None,
        "host_ops": None,
        "notes": [*compiled.notes, *job.notes, "estimated in closed form; nothing was simulated"],
        "compare": {},
        **_choices(args, compiled),
    }
    for other, found in others:
        entry = totals(other, found)
        entry["speedup"] = entry["time_us"] / facts["time_us"]
        entry["speedup_cycles"] = entry["cycles"] / facts["cycles"]
        facts["compare"][other.machine.name] = entry
    if args.json:
        write_json(args.json, facts)
    if args.json != "-":
        from .tables import print_choices, print_estimate

        print_estimate(facts)
        print_choices(facts.get("choices", []))
        if args.json:
            print(f"wrote {args.json}")
    return 0


def _ports(compiled: Compiled) -> list[Any]:
    """The model's inputs."""
    assert compiled.program.plan is not None
    return compiled.program.plan.inputs


def _memory(compiled: Compiled) -> dict[str, int]:
    """Bytes of the memory plan."""
    from ..memory_plan import MemoryUse

    assert compiled.program.plan is not None
    return MemoryUse.of(compiled.program.plan).to_json()


def _facts(
    args: argparse.Namespace,
    job: _Job,
    runs: list[tuple[Compiled, RunResult]],
    check: dict[str, Any] | None,
) -> dict[str, Any]:
    from ..run_json import machine_run, run_json

    compiled, result = runs[0]
    facts: dict[str, Any] = {
        **run_json(
            compiled, result, model=args.model, changes=_changes(compiled.machine, args),
            mode=args.mode, detail=bool(args.report),
        ),
        "engine": args.engine,
        "check": check,
        "inputs": {n: list(a.shape) for n, a in job.inputs.items()},
        "notes": [*compiled.notes, *job.notes],
        **_choices(args, compiled),
    }  # fmt: skip
    accuracy = job.accuracy(result)
    if accuracy is not None:
        facts["accuracy"] = {"right": accuracy[0], "of": accuracy[1]}
    for other, ran in runs[1:]:
        entry = machine_run(other, ran, _changes(other.machine, args), detail=False)
        entry["speedup"] = ran.time_us / result.time_us if result.time_us else None
        entry["speedup_cycles"] = ran.cycles / result.cycles if result.cycles else None
        right = job.accuracy(ran)
        if right is not None:
            entry["accuracy"] = {"right": right[0], "of": right[1]}
        facts["compare"][other.machine.name] = entry
    return facts


def compile_(args: argparse.Namespace) -> int:
    """`dstc compile`."""
    from ..api import compile_model
    from ..emit_levels import LEVELS, emit_level
    from .progress import passes_shown

    levels = [level for level in args.emit.split(",") if level]
    for level in levels:
        if level not in EMIT:
            raise DstcError(f"--emit {level}: no such level; choose from {', '.join(EMIT)}")
    if not levels:
        raise DstcError(f"--emit: no level; choose from {', '.join(EMIT)}")
    output = Path(args.output)
    many = len(levels) > 1
    if many and output.exists() and not output.is_dir():
        raise DstcError(f"{output}: is a file; several levels are written to a folder")
    stem = Path(args.model).stem
    check_outputs(str(output / stem) if many else args.output, args.json)
    with passes_shown("compile") as on_pass:
        compiled = compile_model(
            args.model,
            machine=_target(args),
            engine=args.engine,
            dims=_dims(args),
            on_pass=on_pass,
            tune=args.tune,
            tuner=_tuner(args),
            densities=_densities(args),
            calibrate=_calibration(args),
            prune=args.prune,
            check=_check_inputs(args),
            cache=_cache(args, whole=not {"asm", "bin"}.issuperset(levels)),
        )
    if many:
        output.mkdir(parents=True, exist_ok=True)
    written: list[str] = []
    for level in levels:
        path = output / f"{stem}.{LEVELS[level]}" if many else output
        emit_level(compiled, level, path)
        written.append(str(path))
    facts: dict[str, Any] = {
        "schema": 1,
        "model": args.model,
        "machine": compiled.machine.name,
        "set": _changes(compiled.machine, args),
        "written": written,
        "memory": _memory(compiled),
        "wall_seconds": {"compile": compiled.seconds},
        "cached": compiled.cached,
        "passes": [_pass_json(p) for p in compiled.passes],
        "notes": list(compiled.notes),
        "kernels": [
            {"name": k.name, "instructions": len(k.code), "registers": k.registers,
             "warps": k.warps, "shared_bytes": k.shared_bytes, "acc_tiles": k.acc_tiles}
            for k in compiled.program.kernels.values()
        ],
        **_choices(args, compiled),
    }  # fmt: skip
    if args.json:
        write_json(args.json, facts)
    if args.json != "-":
        from .tables import print_choices, print_compiled

        print_compiled(facts)
        print_choices(facts.get("choices", []))
    return 0


def _pass_json(record: Any) -> dict[str, Any]:
    return {
        "pass": record.spec,
        "seconds": record.seconds,
        "ops_before": record.ops_before,
        "ops_after": record.ops_after,
        "changed": record.changed,
    }


class _Watched:
    """What `--html` collects while passes run."""

    def __init__(self, args: argparse.Namespace):
        self.args = args
        self.instruments: list[Instrument] = []
        if args.html:
            from ..inspect_stages import Stages
            from ..rewrites import Rewrites

            self.stages, self.rewrites = Stages(), Rewrites()
            self.instruments = [self.stages, self.rewrites]

    def write(self, compiled: Compiled) -> None:
        """The page, if it is asked for."""
        if not self.instruments:
            return
        from ..inspect_page import render_page
        from .inputs import random_inputs
        from .progress import steps_shown

        result: RunResult | None = None
        if self.args.simulate:
            plan = compiled.program.plan
            assert plan is not None
            ranges = plan.metadata.get("index_ranges")
            inputs = random_inputs(plan.inputs, self.args.seed, ranges)
            with steps_shown(f"simulate on {compiled.machine.name}") as progress:
                result = compiled.run(inputs, threads=self.args.threads, progress=progress)
        title = Path(self.args.model).name
        page = render_page(compiled, self.stages, self.rewrites, result, title)
        write_text(self.args.html, page)


def inspect(args: argparse.Namespace) -> int:
    """`dstc inspect`."""
    from ..api import compile_model
    from .progress import passes_shown

    if not (args.html or args.ir_dir):
        raise DstcError("nothing to write; give --html OUT.html, --ir-dir DIR or both")
    if args.replay and not args.ir_dir:
        raise DstcError("--replay goes on from the files of --ir-dir DIR; give it, too")
    check_outputs(args.json, args.html)
    watched = _Watched(args)
    with passes_shown("compile") as on_pass:
        compiled = compile_model(
            args.model,
            machine=_target(args),
            engine=args.engine,
            dims=_dims(args),
            ir_dir=args.ir_dir,
            on_pass=on_pass,
            tune=args.tune,
            tuner=_tuner(args),
            densities=_densities(args),
            calibrate=_calibration(args),
            prune=args.prune,
            instruments=watched.instruments,
        )
    watched.write(compiled)
    replayed = None
    if args.replay:
        from ..replay import replay

        replayed = replay(Path(args.ir_dir), compiled, full=args.replay == "full")
    passes = [_pass_json(p) for p in compiled.passes]
    facts: dict[str, Any] = {
        "schema": 1,
        "model": args.model,
        "machine": compiled.machine.name,
        "set": _changes(compiled.machine, args),
        "ir_dir": args.ir_dir,
        "html": args.html,
        "replayed": replayed,
        "passes": passes,
        "notes": list(compiled.notes),
        **_choices(args, compiled),
    }
    if args.json:
        write_json(args.json, facts)
    if args.json != "-":
        from .tables import print_choices, print_passes

        print_passes(facts)
        print_choices(facts.get("choices", []))
    return 0
