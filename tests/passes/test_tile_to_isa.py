"""Kernels as instructions do on the simulator what the interpreter says that they mean."""

from typing import Any

import numpy as np
import pytest
from dstc.compiler.api import Compiled
from dstc.compiler.driver import new_context, run_pipeline
from dstc.compiler.package import package
from dstc.compiler.pipelines import ISA, filled
from dstc.compiler.reference import run_module
from dstc.dialects.constants import constants_of
from dstc.runtime.machine import Machine
from numpy.typing import NDArray
from xdsl.parser import Parser

HEAD = """
func.func @main(%x: tensor<64xf32>) -> tensor<64xf32> {
  %y = dstc_tile.launch @k(%x) {op = "test"} : (tensor<64xf32>) -> tensor<64xf32>
  func.return %y : tensor<64xf32>
}
dstc_tile.kernel @k ["x", "y"] grid = [1, 1, 1], warps = 2, shared = 256, acc = 0 {
^bb0(%x: i32, %y: i32):
  %lane = dstc_tile.id lane
  %warp = dstc_tile.id warp
  %true = arith.constant true
  %false = arith.constant false
  %m3 = arith.constant -3 : i32
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %c2 = arith.constant 2 : i32
  %c3 = arith.constant 3 : i32
  %c4 = arith.constant 4 : i32
  %c7 = arith.constant 7 : i32
  %c33 = arith.constant 33 : i32
  %c128 = arith.constant 128 : i32
  %wx = arith.muli %warp, %c128 : i32
  %lx = arith.muli %lane, %c4 : i32
  %at = arith.addi %wx, %lx : i32
  %ax = arith.addi %at, %x : i32
  %ay = arith.addi %at, %y : i32
  %v = dstc_tile.load global %ax + 0 : i32
  %p = arith.cmpi ult, %lane, %c7 : i32
  %q = arith.cmpi slt, %v, %lane : i32
"""
TAIL = """
  dstc_tile.store global %r, %ay + 0 : i32
  dstc_tile.return
}
"""

BODIES = {
    "division": """
  %h = arith.shrui %v, %c1 : i32
  %d = arith.divui %h, %c7 : i32
  %e = arith.remui %h, %c7 : i32
  %f = arith.divui %v, %c4 : i32
  %g = arith.remui %v, %c4 : i32
  %s = arith.muli %d, %e : i32
  %t = arith.muli %f, %g : i32
  %r = arith.xori %s, %t : i32""",
    "additions": """
  %a = arith.muli %v, %lane : i32
  %b = arith.muli %lane, %c7 : i32
  %c = arith.addi %a, %b : i32
  %d = arith.addi %c, %y : i32
  %e = arith.subi %d, %y : i32
  %f = arith.addi %lane, %v : i32
  %g = arith.addi %f, %c3 : i32
  %h = arith.addi %c3, %c7 : i32
  %i = arith.addi %h, %g : i32
  %r = arith.addi %i, %e : i32""",
    "shifts": """
  %a = arith.shli %v, %c33 : i32
  %b = arith.shli %c3, %lane : i32
  %c = arith.shrsi %v, %lane : i32
  %d = arith.shrui %v, %c33 : i32
  %e = arith.shli %v, %c2 : i32
  %f = arith.addi %a, %b : i32
  %g = arith.addi %e, %d : i32
  %h = arith.addi %f, %g : i32
  %r = arith.addi %h, %c : i32""",
    "predicates": """
  %or = arith.ori %p, %q : i1
  %not = arith.xori %or, %true : i1
  %pq = arith.andi %p, %q : i1
  %no = arith.andi %pq, %false : i1
  %yes = arith.ori %no, %true : i1
  %a = arith.select %not, %v, %c7 : i32
  %b = arith.select %pq, %c3, %a : i32
  %c = arith.select %no, %lane, %b : i32
  %d = dstc_tile.load global %ax + 0 if %not else %c : i32 : i32
  %e = dstc_tile.ballot %yes
  %f = arith.select %yes, %d, %v : i32
  %g = dstc_tile.ballot %not
  %h = arith.xori %g, %e : i32
  %r = arith.addi %f, %h : i32""",
    "vectors": """
  %even = arith.muli %warp, %c128 : i32
  %base = arith.addi %even, %x : i32
  %a = dstc_tile.load global %base + 16 : vector<4xi32>
  %b = arith.constant dense<[1, 2, 3, -4]> : vector<4xi32>
  %c = arith.select %p, %a, %b : vector<4xi32>
  %d = dstc_tile.load global %base + 32 if %q else %c : vector<4xi32> : vector<4xi32>
  %f = arith.bitcast %d : vector<4xi32> to vector<4xf32>
  %g = arith.bitcast %f : vector<4xf32> to vector<4xi32>
  %e0 = dstc_tile.extract %g[0] : vector<4xi32> -> i32
  %e3 = dstc_tile.extract %g[3] : vector<4xi32> -> i32
  %r = arith.xori %e0, %e3 : i32""",
    "counted loop": """
  %l:2 = scf.for %i = %m3 to %c7 step %c2 iter_args(%a = %v, %b = %lane) -> (i32, i32) : i32 {
    %n = arith.addi %a, %i : i32
    scf.yield %b, %n : i32, i32
  }
  %r = arith.subi %l#0, %l#1 : i32""",
    "loops that never run": """
  %l = scf.for %i = %c7 to %m3 step %c2 iter_args(%a = %v) -> (i32) : i32 {
    scf.yield %i : i32
  }
  %n = arith.subi %c0, %lane : i32
  %r = scf.for %i = %c1 to %n step %c2 iter_args(%a = %l) -> (i32) : i32 {
    scf.yield %i : i32
  }""",
    "divergent loops": """
  %l = scf.for %i = %c0 to %lane step %c3 iter_args(%a = %v) -> (i32) : i32 {
    %m = scf.for %j = %i to %c7 step %c2 iter_args(%b = %a) -> (i32) : i32 {
      %n = arith.addi %b, %j : i32
      scf.yield %n : i32
    }
    scf.yield %m : i32
  }
  %s = dstc_tile.shuffle %l, %c7
  %all = dstc_tile.ballot %p
  %t = arith.addi %s, %all : i32
  %r = arith.addi %l, %t : i32""",
    "uniform loop": """
  %l = scf.for %i = %c0 to %warp step %c1 iter_args(%a = %v) -> (i32) : i32 {
    %n = dstc_tile.shuffle %a, %c3
    scf.yield %n : i32
  } {uniform}
  %r = arith.addi %l, %lane : i32""",
    "branches": """
  %a = scf.if %q -> (i32) {
    %n = scf.if %p -> (i32) {
      %m = arith.addi %v, %c7 : i32
      scf.yield %m : i32
    } else {
      scf.yield %lane : i32
    }
    scf.yield %n : i32
  } else {
    %n = arith.subi %v, %lane : i32
    scf.yield %n : i32
  }
  %b = scf.if %true -> (i32) {
    scf.yield %a : i32
  } else {
    scf.yield %c0 : i32
  }
  %c = scf.if %false -> (i32) {
    scf.yield %c0 : i32
  } else {
    scf.yield %b : i32
  }
  %w = arith.cmpi eq, %warp, %c1 : i32
  %d = scf.if %w -> (i32) {
    %n = dstc_tile.shuffle %c, %c2
    scf.yield %n : i32
  } else {
    scf.yield %c : i32
  } {uniform}
  %s = dstc_tile.shuffle %d, %c7
  %r = arith.addi %d, %s : i32""",
    "a branch without results": """
  dstc_tile.store shared %v, %at + 0 : i32
  scf.if %q {
    dstc_tile.store shared %c7, %at + 0 : i32
    scf.yield
  }
  dstc_tile.barrier
  %o = arith.xori %at, %c128 : i32
  %r = dstc_tile.load shared %o + 0 : i32""",
    "a sum in a loop of its own addend": """
  %l = scf.for %i = %c0 to %c7 step %c1 iter_args(%a = %c1) -> (i32) : i32 {
    %n = arith.muli %a, %v : i32
    %m = arith.addi %n, %a : i32
    scf.yield %m : i32
  }
  %k = arith.muli %l, %c7 : i32
  %t = scf.if %p -> (i32) {
    %n = arith.addi %k, %c1 : i32
    scf.yield %n : i32
  } else {
    scf.yield %c0 : i32
  }
  %r = arith.addi %t, %l : i32""",
}


def words(array: NDArray[Any]) -> NDArray[np.uint32]:
    return array.view(np.uint32)


@pytest.mark.parametrize("case", BODIES)
def test_same_bits(case: str) -> None:
    ctx = new_context()
    module = Parser(ctx, HEAD + BODIES[case] + TAIL).parse_module()
    module.verify()
    numbers = np.random.default_rng(3).integers(0, 1 << 31, 64, np.uint32) // 3
    numbers[:40] %= 60
    numbers[8:16] -= np.uint32(30)  # some negative
    x = numbers.view(np.float32)
    (want,) = run_module(module, ctx, [x])
    run_pipeline(ctx, module, filled(ISA))
    program = package(module, constants_of(ctx), None, "dstc", "k")
    assert program.plan is not None
    compiled = Compiled(program=program, machine=Machine.load("dstc"))
    result = compiled.run({program.plan.inputs[0].name: x}, statistics=False)
    (got,) = result.outputs.values()
    assert words(got).tolist() == words(want).tolist()
