"""Passes take the machine's numbers from the machine, changed parameters and own files included."""

from __future__ import annotations

from pathlib import Path

import pytest
from dstc.backend.isa.errors import DstcError
from dstc.backend.isa.layout import BitmapLayout
from dstc.backend.isa.table import Unit
from dstc.compiler.driver import make_pass, new_context
from dstc.dialects.dstc_isa import IsaOp
from dstc.dialects.dstc_tile import KernelOp
from dstc.passes.encode_tile import encode_grid, tiles_per_warp
from dstc.passes.schedule_instructions import INTERVALS, LATENCIES, latencies_of
from dstc.passes.target_machine import attach_machine, machine_of
from dstc.runtime.machine import Machine
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser

ENCODE = """
func.func @main(%x: tensor<512x512xf16>) -> !dstc.bitmap<512x512xf16, a> {
  %y = dstc.encode %x : tensor<512x512xf16> -> !dstc.bitmap<512x512xf16, a>
  func.return %y : !dstc.bitmap<512x512xf16, a>
}"""

TWO_CHAINS = """
dstc_isa.kernel @k [] warps = 1, shared = 0, acc = 0 {
  %a = dstc_isa.mov b(1) : () -> !dstc_isa.reg<1>
  %b = dstc_isa.mufu<RCP> a(%a) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %c = dstc_isa.fadd a(%a), b(2) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %d = dstc_isa.fadd a(%c), b(3) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  dstc_isa.stg<32> a(%b), b(%d) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>) -> ()
  dstc_isa.exit
}"""
"""What starts first, the MUFU or the FADDs, is a matter of their latencies."""


def run(text: str, spec: str, machine: Machine | None = None) -> ModuleOp:
    ctx: Context = new_context()
    if machine is not None:
        attach_machine(ctx, machine)
    module = Parser(ctx, text).parse_module()
    make_pass(spec).apply(ctx, module)
    module.verify()
    return module


def order(module: ModuleOp) -> list[str]:
    return [op.ROW.mnemonic for op in module.walk() if isinstance(op, IsaOp)]


@pytest.mark.parametrize("field", LATENCIES)
def test_latencies_are_the_machine_s(field: str) -> None:
    changed = Machine.load("v100", {"hmma.latency": 799, LATENCIES[field]: 777})
    assert getattr(latencies_of(changed), field) == 777


@pytest.mark.parametrize("unit", INTERVALS)
def test_intervals_are_the_machine_s(unit: Unit) -> None:
    assert latencies_of(Machine.load("v100", {INTERVALS[unit]: 33})).intervals[unit] == 33


def test_schedule_follows_the_machine_of_the_context() -> None:
    spec = "schedule-instructions{machine=v100}"
    shipped = order(run(TWO_CHAINS, spec))
    assert shipped.index("MUFU") < shipped.index("FADD")
    slow = Machine.load("v100", {"fma.latency": 40})
    changed = order(run(TWO_CHAINS, spec, slow))
    assert changed.index("FADD") < changed.index("MUFU")


def test_an_option_wins_over_the_machine() -> None:
    found = order(run(TWO_CHAINS, "schedule-instructions{machine=v100 fma=40}"))
    assert found.index("FADD") < found.index("MUFU")


def test_encoding_fills_the_machine() -> None:
    spec = "convert-encode-to-tile{machine=dstc}"

    def grid(machine: Machine | None) -> tuple[int, ...]:
        (kernel,) = (op for op in run(ENCODE, spec, machine).walk() if isinstance(op, KernelOp))
        return tuple(kernel.grid.get_values())

    assert grid(None) == (4, 32, 1)
    assert grid(Machine.load("dstc", {"sm.count": 1})) == (4, 4, 1)


def test_every_tile_is_encoded_whatever_the_machine() -> None:
    layout = BitmapLayout(200, 1000)
    for sms in (1, 2, 80):
        machine = Machine.load("dstc", {"sm.count": sms})
        x, y, _ = encode_grid(layout, machine)
        assert x * 4 >= layout.v_tiles
        assert y * tiles_per_warp(layout, machine) >= layout.k_tiles


def test_a_machine_is_found_by_name_or_file(tmp_path: Path) -> None:
    ctx = new_context()
    file = tmp_path / "wide.toml"
    file.write_text('name = "wide"\ninherits = "dstc"\n[sm]\ncount = 7\n')
    assert machine_of(ctx, str(file))["sm.count"] == 7
    attach_machine(ctx, Machine.load(file, {"sm.count": 9}))
    assert machine_of(ctx, "wide")["sm.count"] == 9
    assert machine_of(ctx, "v100")["sm.count"] == 80
    with pytest.raises(DstcError, match="no such machine"):
        machine_of(ctx, "narrow")
