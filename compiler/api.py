"""The compiler as a function: a model in, a program out, ready to run.

In: an ONNX model (file, bytes or object), a machine, an engine. Out: `Compiled`, which runs on a
simulated device, checks itself against the ONNX reference, and keeps graph, IR and pass times.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from ..backend.isa.errors import DstcError
from ..backend.isa.program import Program
from ..dialects.constants import constants_of
from ..dialects.dstc import MatmulOp
from ..passes.annotate_sparsity import attach_hints
from ..passes.calibration import attach_calibration
from ..passes.candidates import engines
from ..passes.choose import Choice, Chooser, attach_chooser
from ..passes.cost import ScheduledProduct
from ..runtime.device import Device
from ..runtime.executor import Observer, Progress, RunResult, run_program
from ..runtime.machine import Machine
from .cache import CompileCache, Entry
from .driver import OnPass, PassRecord, new_context, run_pipeline
from .frontends.onnx_import import load_onnx
from .frontends.onnx_prune import prune_weights
from .graph import ModelGraph
from .ir_input import is_ours, read_ours
from .package import package
from .pipelines import pipeline
from .reference import Comparison, compare, error_bound, onnx_reference
from .tune import Tuner

if TYPE_CHECKING:
    from .check_passes import Inputs
    from .instruments import Instrument
    from .profile import Profile

Array = NDArray[Any]
ModelSource = str | os.PathLike[str] | bytes | ModelProto


@dataclass
class Compiled:
    """A compiled model.

    `graph`: the model graph (networkx inside); `module`: the IR after the last pass; `passes`: what
    ran and for how long; `products`: the matrix products as scheduled, in the order of their
    launches; `choices`: for those whose schedules were chosen, all candidates; `program`: what the
    device runs. A program read from a file has only that; one from the cache (`cached`) has the
    model's notes and passes too, and `load_graph` reads the graph when it is needed.
    """

    program: Program
    machine: Machine
    module: ModuleOp | None = None
    context: Context | None = None
    passes: list[PassRecord] = field(default_factory=list[PassRecord])
    seconds: float = 0.0
    engine: str = "auto"
    graph: ModelGraph | None = None
    model: ModelSource | None = None
    notes: tuple[str, ...] = field(default_factory=tuple[str, ...])
    products: list[ScheduledProduct] = field(default_factory=list[ScheduledProduct])
    choices: list[Choice] = field(default_factory=list[Choice])
    cached: bool = False
    load_graph: Callable[[], ModelGraph] | None = None

    def run(
        self,
        inputs: Mapping[str, Array] | Array,
        *,
        device: Device | None = None,
        mode: str = "cycle",
        threads: int | None = None,
        checks: str = "basic",
        statistics: bool = True,
        progress: Progress | None = None,
        pictures: bool = False,
        observer: Observer | None = None,
        keep_partial: bool = False,
    ) -> RunResult:
        """Run on a device (default: a new one of the machine compiled for).

        `inputs`: arrays by name, or the array of a lone input. `pictures`: keep what the operands
        of products look like, for a profile; `observer`: told of each launch, such as a
        `TraceWriter`; `keep_partial`: an interrupt ends the run with what was done. Raises
        `DstcError` for unfit inputs, `Trap` when the program goes wrong.
        """
        if device is None:
            device = Device(self.machine, mode=mode, threads=threads, checks=checks)
        return run_program(
            self.program,
            device,
            self.named(inputs),
            statistics_=statistics,
            progress=progress,
            pictures=pictures,
            observer=observer,
            keep_partial=keep_partial,
        )

    def profile(self, result: RunResult, *, name: str | None = None) -> Profile:
        """What a run took, for tables, notebooks and pages; `name`: of the model, for titles."""
        from .profile import Profile
        from .run_json import run_json

        assert self.program.plan is not None
        title = name or self.program.plan.model
        mode = "cycle" if result.cycles else "functional"
        return Profile.of(run_json(self, result, model=title, mode=mode))

    def named(self, inputs: Mapping[str, Array] | Array) -> Mapping[str, Array]:
        """Inputs by name."""
        if isinstance(inputs, Mapping):
            return inputs
        assert self.program.plan is not None
        return {self.program.plan.inputs[0].name: np.asarray(inputs)}

    def check(self, inputs: Mapping[str, Array] | Array, result: RunResult) -> Comparison:
        """`result` against ONNX's reference evaluator, within the derived error bound.

        The worst output decides. Only for models that came from ONNX.
        """
        assert self.model is not None
        if self.graph is None and self.load_graph is not None:
            self.graph = self.load_graph()
        assert self.graph is not None
        arrays = dict(self.named(inputs))
        wanted = onnx_reference(self.model, arrays)
        bounds = error_bound(self.graph, arrays)
        comparisons = [
            compare(result.outputs[port.name], want, bounds[port.name])
            for port, want in zip(self.graph.outputs, wanted, strict=True)
        ]
        worst = max(comparisons, key=lambda c: (not c["ok"], c["max_abs_error"]))
        return worst


def compile_model(
    model: ModelSource,
    *,
    machine: str | Machine = "dstc",
    engine: str = "auto",
    dims: Mapping[str, int] | None = None,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    ir_dir: str | os.PathLike[str] | None = None,
    on_pass: OnPass | None = None,
    tune: int = 0,
    tuner: Tuner | None = None,
    densities: Mapping[str, float] | None = None,
    calibrate: Mapping[str, Array] | None = None,
    prune: str | None = None,
    cache: CompileCache | None = None,
    check: Inputs | None = None,
    instruments: Sequence[Instrument] = (),
) -> Compiled:
    """Compile an ONNX model, or one in an MLIR file: linalg on tensors, torch-mlir's form of ONNX,
    or IR of our own, which is not checked against a reference.

    `engine`: auto, dense or dual; `dims`: sizes of dynamic dimensions by name; `input_shapes`:
    shapes of inputs by name, another way to bind them; `ir_dir`: a folder for the IR before the
    first and after every pass; `tune`: simulate so many candidates of each product and take the
    fastest, with `tuner` (default: one that remembers in `tune.cache_folder()`); `densities`:
    shares of non-zeros of values or nodes, by name; `calibrate`: inputs by name, on which densities
    of activations are measured; `prune`: the n:m pattern, 2:4 or 4:16, that weights are pruned to
    first, which `Compiled.check` accounts for; `cache`: where programs are kept between runs, which
    then come without IR, products and choices (not used with `ir_dir`, `check` and `instruments`);
    `check`: inputs on which the IR is executed after every pass, so that the first pass that
    changes the result is named (`PassChanged`); `instruments`: called around each pass. Raises
    `DstcError` with one line that names what is wrong.
    """
    started = time.perf_counter()
    target = machine if isinstance(machine, Machine) else Machine.load(machine)
    if is_ours(model):
        for option, given in {"dims": dims, "prune": prune}.items():
            if given:
                raise DstcError(
                    f"{model}: {option} bears on ONNX models; the sizes of IR are fixed"
                )
        ctx, module = read_ours(cast("str", model))
        _attach_densities(ctx, densities, calibrate)
        return compile_module(
            ctx, module, machine=target, engine=engine, ir_dir=ir_dir, on_pass=on_pass, tune=tune,
            name=Path(cast("str", model)).name, tuner=tuner, check=check, instruments=instruments,
        )  # fmt: skip
    name = Path(model).name if isinstance(model, str | os.PathLike) else None
    entry: Entry | None = None
    watched = ir_dir is not None or check is not None or bool(instruments)
    if cache is not None and not watched:
        options = {
            "engine": engine, "dims": dims, "input_shapes": input_shapes, "tune": tune,
            "densities": densities, "calibrate": calibrate, "prune": prune,
        }  # fmt: skip
        entry = cache.entry(model, target, options)
    stored = entry.load() if entry is not None else None
    notes: list[str] = []
    if prune is not None:
        model, notes = prune_weights(model, prune)
    if stored is not None:
        source = model
        return Compiled(
            stored.program, target, passes=stored.passes, engine=engine, model=model,
            notes=stored.notes, cached=True, seconds=time.perf_counter() - started,
            load_graph=lambda: load_onnx(source, dims, input_shapes),
        )  # fmt: skip
    graph = load_onnx(model, dims, input_shapes)
    ctx = new_context()
    module = graph.to_module(ctx)
    _attach_densities(ctx, densities, calibrate)
    compiled = compile_module(
        ctx, module, machine=target, engine=engine, ir_dir=ir_dir, on_pass=on_pass,
        graph=graph, name=name or graph.name, tune=tune, tuner=tuner, check=check,
        instruments=instruments,
    )  # fmt: skip
    compiled.model = model
    compiled.notes = (*graph.notes, *notes)
    if entry is not None:
        entry.save(compiled.program, compiled.notes, compiled.passes)
    compiled.seconds = time.perf_counter() - started
    return compiled


def _attach_densities(
    ctx: Context, densities: Mapping[str, float] | None, calibrate: Mapping[str, Array] | None
) -> None:
    attach_hints(ctx, [f"{name}={density}" for name, density in (densities or {}).items()])
    if calibrate is not None:
        attach_calibration(ctx, calibrate)


def compile_module(
    ctx: Context,
    module: ModuleOp,
    *,
    machine: Machine,
    engine: str = "auto",
    pipeline_name: str = "default",
    ir_dir: str | os.PathLike[str] | None = None,
    on_pass: OnPass | None = None,
    graph: ModelGraph | None = None,
    name: str = "module",
    tune: int = 0,
    tuner: Tuner | None = None,
    lowering: str = "implicit",
    check: Inputs | None = None,
    instruments: Sequence[Instrument] = (),
) -> Compiled:
    """Compile a module of level-1 or level-2 IR, in place, by a pipeline of `PIPELINES`.

    `lowering`: windows of convolutions formed by kernels where there are some (implicit), or
    lowered matrices in memory everywhere (explicit); `check`, `instruments`: see `compile_model`.
    """
    started = time.perf_counter()
    engines(machine, engine)
    specs = pipeline(
        pipeline_name, machine=machine.name, engine=engine, tune=tune, lowering=lowering
    )
    chooser = Chooser((tuner or Tuner()) if tune else None)
    attach_chooser(ctx, chooser)
    products: list[ScheduledProduct] = []

    def look(index: int, count: int, spec: str) -> None:
        if spec.startswith("convert-matmul-to-tile"):
            matmuls = (op for op in module.walk() if isinstance(op, MatmulOp))
            products.extend(map(ScheduledProduct.of, matmuls))
        if on_pass is not None:
            on_pass(index, count, spec)

    watchers = list(instruments)
    if check is not None:
        from .check_passes import CheckPasses

        if graph is not None:
            check = replace(check, limits=graph.index_ranges())
        watchers.append(CheckPasses(ctx, specs, check, machine))
    records = run_pipeline(
        ctx, module, specs, ir_dir=ir_dir, machine=machine, on_pass=look, instruments=watchers
    )
    program = package(module, constants_of(ctx), graph, machine.name, name)
    return Compiled(
        program=program,
        module=module,
        context=ctx,
        passes=records,
        seconds=time.perf_counter() - started,
        machine=machine,
        engine=engine,
        graph=graph,
        products=products,
        choices=chooser.choices,
    )


def load_program(path: str | os.PathLike[str], machine: str | Machine | None = None) -> Compiled:
    """A program that was compiled before, for the machine it was compiled for or another."""
    program = Program.load(Path(path))
    if program.plan is None:
        raise DstcError(f"{path}: has kernels but no launch plan; run them with `dstc sim`")
    if not isinstance(machine, Machine):
        machine = Machine.load(machine or program.plan.machine)
    return Compiled(program=program, machine=machine)
