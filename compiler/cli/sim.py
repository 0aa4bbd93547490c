"""`dstc sim`, `dstc machines`: a bare program on the simulator; the machine descriptions.

In: a program or assembly file, a grid, buffers from .npy files. Out: a report of the launch,
buffers dumped to .npy files, the same as JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any, cast

from ...backend.isa.errors import DstcError
from ...backend.isa.files import atomic_path
from .common import add_options, check_outputs, key_values, write_json
from .tracing import OPTIONS, tracer, write_trace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ...backend.isa.program import Kernel
    from ...runtime.device import Device
    from ...runtime.sim.engine import LaunchResult


def add_parsers(subparsers: Any) -> None:
    """Add the subcommands `sim` and `machines`."""
    p = subparsers.add_parser(
        "sim",
        help="run a bare program on the simulator",
        description="Run one kernel of a program. Every parameter of the kernel is given by "
        "--buffer (its address is passed) or --arg, by name.",
    )
    p.add_argument("input", metavar="F.bin|F.s", help="program file or assembly text")
    p.add_argument("--kernel", metavar="NAME", help="which kernel (default: the only one)")
    p.add_argument("--grid", default="1", metavar="X[,Y[,Z]]", help="CTAs (default: 1)")
    p.add_argument(
        "--buffer",
        action="append",
        default=[],
        metavar="NAME=F.npy|zeros:BYTES",
        help="device memory for a parameter; repeatable",
    )
    p.add_argument(
        "--arg",
        action="append",
        default=[],
        metavar="NAME=INT",
        help="a parameter's 32-bit value; repeatable",
    )
    p.add_argument(
        "--dump",
        action="append",
        default=[],
        metavar="NAME=OUT.npy[:DTYPE[:SHAPE]]",
        help="write a buffer after the run, for example C=c.npy:float32:64,64; repeatable",
    )
    p.add_argument(
        "--max-instructions",
        type=int,
        metavar="N",
        help="instructions of one warp before it is a runaway (default: 2^27); a launch is one "
        "after 4 * N, or 2^18 a resident warp if more, in which no warp finishes",
    )
    add_options(p, "machine", "set", "mode", "threads", "checks", *OPTIONS, "json")
    p.set_defaults(run=sim)
    p = subparsers.add_parser(
        "machines",
        help="list the machines, or a machine's parameters",
        description="List the machine descriptions, or one's parameters with units and sources.",
    )
    p.add_argument("name", nargs="?", metavar="NAME|FILE.toml", help="one machine")
    add_options(p, "json")
    p.set_defaults(run=machines)


def sim(args: argparse.Namespace) -> int:
    """`dstc sim`: run one kernel."""
    import numpy as np

    from ...runtime.device import MAX_INSTRUCTIONS, Device
    from ...runtime.machine import Machine

    kernel = _kernel(args.input, args.kernel)
    device = Device(
        Machine.load(args.machine, key_values(args.set)),
        args.mode,
        args.threads,
        args.checks,
        MAX_INSTRUCTIONS if args.max_instructions is None else args.max_instructions,
    )
    buffers = _buffers(device, key_values(args.buffer, "--buffer"))
    words = {name: address for name, (address, _) in buffers.items()}
    for name, text in key_values(args.arg, "--arg").items():
        words[name] = _integer(text, f"--arg {name}")
    for name in words:
        if name not in kernel.params:
            known = ", ".join(kernel.params) or "none"
            raise DstcError(f"kernel {kernel.name} has no parameter '{name}'; it has: {known}")
    for name in kernel.params:
        if name not in words:
            raise DstcError(
                f"parameter '{name}' of kernel {kernel.name} is not given; "
                f"add --buffer {name}=FILE.npy or --arg {name}=INT"
            )
    dumps = key_values(args.dump, "--dump")
    for name, target in dumps.items():
        if name not in buffers:
            raise DstcError(f"--dump {name}: there is no such buffer; give --buffer {name}=...")
        check_outputs(target.partition(":")[0])
        _dumped(np.zeros(buffers[name][1], np.uint8), name, target)
    check_outputs(args.json)
    result = _launch(args, device, kernel, [words[name] for name in kernel.params])
    for name, target in dumps.items():
        _dump(device, name, *buffers[name], target)
    changes = device.machine.settings(key_values(args.set))
    facts = _facts(kernel, device, changes, args.mode, result)
    if args.json:
        write_json(args.json, facts)
    if args.json != "-":
        _report(facts)
    return 0


def _launch(
    args: argparse.Namespace, device: Device, kernel: Kernel, words: list[int]
) -> LaunchResult:
    """Run the kernel, and trace it if that is asked for."""
    from ...backend.isa.program import Launch, Program
    from ...runtime.executor import KernelRun

    x, y, z = (*_grid(args.grid), 1, 1)[:3]
    writer = tracer(args, Program({kernel.name: kernel}), device.machine)
    if writer is None:
        return device.launch(kernel, (x, y, z), words)
    launch = Launch(kernel.name, kernel.name, "kernel", "", (), (x, y, z), tuple(words))
    device.recording = writer.before(launch)
    result = device.launch(kernel, (x, y, z), words)
    writer.after(KernelRun(launch, result))
    write_trace(args, writer, [])
    return dataclasses.replace(result, timeline=None)


def machines(args: argparse.Namespace) -> int:
    """`dstc machines [NAME]`."""
    from ...runtime.machine import Machine, list_machines

    if args.name is None:
        known = [Machine.load(name) for name in list_machines()]
        if args.json:
            rows = [
                {"name": m.name, "summary": m.summary, "features": sorted(m.features)}
                for m in known
            ]
            write_json(args.json, {"schema": 1, "machines": rows})
        if args.json != "-":
            for machine in known:
                print(f"{machine.name:12} {machine.summary}")
        return 0
    machine = Machine.load(args.name)
    if args.json:
        facts = {
            "schema": 1,
            "name": machine.name,
            "summary": machine.summary,
            "features": sorted(machine.features),
            "sources": dict(machine.sources),
            "parameters": {
                key: {"value": p.value, "unit": p.unit, "source": p.source}
                for key, p in machine.parameters.items()
            },
        }
        write_json(args.json, facts)
    if args.json != "-":
        print(f"{machine.name}: {machine.summary}\n")
        for key, p in machine.parameters.items():
            value = ",".join(map(str, p.value)) if isinstance(p.value, tuple) else str(p.value)
            print(f"{key:30} {value:>10} {p.unit:28} {p.source}")
        print()
        for key, text in machine.sources.items():
            print(f"{key:12} {text}")
    return 0


def _kernel(path: str, name: str | None) -> Kernel:
    from ...backend.isa.assembler import assemble_file
    from ...backend.isa.program import Program

    program = assemble_file(path) if path.endswith(".s") else Program.load(path)
    kernels = program.kernels
    if name is None and len(kernels) == 1:
        return next(iter(kernels.values()))
    if name is None:
        raise DstcError(f"{path}: choose one with --kernel: {', '.join(kernels) or 'it has none'}")
    if name not in kernels:
        raise DstcError(f"{path}: no kernel '{name}'; there are {', '.join(kernels) or 'none'}")
    return kernels[name]


def _integer(text: str, what: str) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        raise DstcError(f"{what}: '{text}' is not a whole number") from None
    if not -(1 << 31) <= value < 1 << 32:
        raise DstcError(f"{what}: {text} does not fit in 32 bits")
    return value


def _grid(text: str) -> tuple[int, ...]:
    sizes = tuple(_integer(part, "--grid") for part in text.split(","))
    if not 1 <= len(sizes) <= 3 or min(sizes) < 1:
        raise DstcError(f"--grid {text}: give one to three sizes of at least 1, X,Y,Z")
    return sizes


def _buffers(device: Device, given: dict[str, str]) -> dict[str, tuple[int, int]]:
    """Allocate and fill; name -> (address, bytes)."""
    import numpy as np

    result: dict[str, tuple[int, int]] = {}
    for name, text in given.items():
        if text.startswith("zeros:"):
            size = _integer(text.removeprefix("zeros:"), f"--buffer {name}")
            result[name] = (device.allocate(size, zeroed=True), size)
            continue
        try:
            array: Any = np.load(text, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DstcError(f"--buffer {name}: {text} is no .npy file: {error}") from None
        if not isinstance(array, np.ndarray):
            raise DstcError(f"--buffer {name}: {text} holds several arrays; save one as .npy")
        size = int(array.nbytes)
        result[name] = (device.upload(cast(Any, array)), size)
    return result


def _dumped(data: NDArray[np.uint8], name: str, target: str) -> NDArray[Any]:
    """A buffer's bytes as `--dump NAME=OUT.npy[:DTYPE[:SHAPE]]` asks for them."""
    import numpy as np

    dtype, _, shape = target.partition(":")[2].partition(":")
    try:
        array = data.view(np.dtype(dtype or "uint8"))
        return array.reshape([int(part) for part in shape.split(",")]) if shape else array
    except (TypeError, ValueError) as error:
        raise DstcError(f"--dump {name}={target}: {error}") from None


def _dump(device: Device, name: str, address: int, size: int, target: str) -> None:
    import numpy as np

    array = _dumped(device.read(address, size), name, target)
    with atomic_path(target.partition(":")[0]) as temporary, temporary.open("wb") as stream:
        np.save(stream, array)


def _facts(
    kernel: Kernel, device: Device, changes: dict[str, Any], mode: str, result: LaunchResult
) -> dict[str, Any]:
    fields = [f.name for f in dataclasses.fields(result) if f.name != "timeline"]
    values = {name: getattr(result, name) for name in fields}
    return {
        "schema": 1,
        "kernel": kernel.name,
        "machine": device.machine.name,
        "set": changes,
        "mode": mode,
        **values,
        **{key: result.counters[key] for key in ("ohmma_issued", "ohmma_skipped", "dram_bytes")},
    }


def _report(facts: dict[str, Any]) -> None:
    from ..run_facts import on_machine

    print(f"kernel {facts['kernel']} on {on_machine(facts)}, {facts['mode']} mode")
    for key in ("cycles", "time_us", "warp_instructions"):
        if key == "warp_instructions" or facts["mode"] == "cycle":
            print(f"  {key:24} {facts[key]:>16,}")
    for title in ("opcodes", "counters", "stalls"):
        rows = {key: value for key, value in facts[title].items() if value}
        if rows:
            print(f"{title}:")
        for key, value in rows.items():
            print(f"  {key:24} {value:>16,}")
