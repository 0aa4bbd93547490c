// RUN: dstc-opt %s | filecheck %s
// RUN: dstc-opt %s | dstc-opt | filecheck %s
// RUN: dstc-opt %s --print-op-generic | dstc-opt | filecheck %s
// RUN: dstc-opt %s --print-op-generic | filecheck %s --check-prefix GENERIC

// Every form of operand; tests/backend/test_emit.py goes through every instruction.
dstc_isa.kernel @k ["x", "y"] warps = 4, shared = 0, acc = 1 {
  %lane = dstc_isa.s2r sr(SR_LANE) : () -> !dstc_isa.reg<1>
  %x = dstc_isa.mov param(0) : () -> !dstc_isa.reg<1>
  %addr = dstc_isa.imad<LO> a(%lane), c(%x), b(16) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %p = dstc_isa.isetp<LT.U32> a(%lane), b(16) : (!dstc_isa.reg<1>) -> !dstc_isa.pred
  %z = dstc_isa.mov b(0) : () -> !dstc_isa.reg<1>
  %v = dstc_isa.ldg<128> a(%addr + 16), guard(%p) : (!dstc_isa.reg<1>, !dstc_isa.pred) -> !dstc_isa.reg<4>
  %v2 = dstc_isa.ldg<64> a(%addr + 32), guard(not %p), into(%v[2]) : (!dstc_isa.reg<1>, !dstc_isa.pred, !dstc_isa.reg<4>) -> !dstc_isa.reg<4>
  %s = dstc_isa.mov b(%v2[3]) : (!dstc_isa.reg<4>) -> !dstc_isa.reg<1>
  dstc_isa.aclr acc(0) : () -> ()
  %rows = dstc_isa.ard<P0._> acc(0) : () -> !dstc_isa.reg<8>
  %u = dstc_isa.undef : !dstc_isa.reg<2>
  %d0 = dstc_isa.mov b(-1), into(%u) : (!dstc_isa.reg<2>) -> !dstc_isa.reg<2>
  %h = dstc_isa.hmma<884.AROW.BCOL.STEP1> a(%v2), b(%v2[1]), c(%rows[2]) : (!dstc_isa.reg<4>, !dstc_isa.reg<4>, !dstc_isa.reg<8>) -> !dstc_isa.reg<2>
  dstc_isa.jump ^bb1(%z : !dstc_isa.reg<1>)
^bb1(%i: !dstc_isa.reg<1>):
  %n = dstc_isa.iadd3 a(%i), b(1) {dstc.source = ["a"]} : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %q = dstc_isa.isetp<LT.U32> a(%n), b(10), pa(not %p) : (!dstc_isa.reg<1>, !dstc_isa.pred) -> !dstc_isa.pred
  dstc_isa.branch %q : !dstc_isa.pred, ^bb1(%n : !dstc_isa.reg<1>), ^bb2
^bb2:
  dstc_isa.stg<128> a(%addr), b(%v2) : (!dstc_isa.reg<1>, !dstc_isa.reg<4>) -> ()
  dstc_isa.exit
}
dstc_isa.kernel @allocated [] warps = 1, shared = 512, acc = 0, registers = 8 attributes {dstc.source = ["conv1"]} {
  %a = dstc_isa.lds<128> offset(64) : () -> !dstc_isa.reg<4, R4>
  %p = dstc_isa.plop<AND> : () -> !dstc_isa.pred<P6>
  %t = dstc_isa.plop<OR> pa(not %p), pb(%p) : (!dstc_isa.pred<P6>, !dstc_isa.pred<P6>) -> !dstc_isa.pred<PT>
  %z = dstc_isa.mov b(%a[2]) : (!dstc_isa.reg<4, R4>) -> !dstc_isa.reg<1, RZ>
  dstc_isa.branch %p : !dstc_isa.pred<P6>, ^a, ^b {negated}
^a:
  dstc_isa.jump ^b
^b:
  dstc_isa.exit
}

// CHECK:      dstc_isa.kernel @k ["x", "y"] warps = 4, shared = 0, acc = 1 {
// CHECK-NEXT: %lane = dstc_isa.s2r sr(SR_LANE) : () -> !dstc_isa.reg<1>
// CHECK-NEXT: %x = dstc_isa.mov param(0) : () -> !dstc_isa.reg<1>
// CHECK-NEXT: %addr = dstc_isa.imad<LO> a(%lane), c(%x), b(16) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>) -> !dstc_isa.reg<1>
// CHECK-NEXT: %p = dstc_isa.isetp<LT.U32> a(%lane), b(16) : (!dstc_isa.reg<1>) -> !dstc_isa.pred
// CHECK-NEXT: %z = dstc_isa.mov b(0) : () -> !dstc_isa.reg<1>
// CHECK-NEXT: %v = dstc_isa.ldg<128> a(%addr + 16), guard(%p) : (!dstc_isa.reg<1>, !dstc_isa.pred) -> !dstc_isa.reg<4>
// CHECK-NEXT: %v2 = dstc_isa.ldg<64> a(%addr + 32), guard(not %p), into(%v[2]) : (!dstc_isa.reg<1>, !dstc_isa.pred, !dstc_isa.reg<4>) -> !dstc_isa.reg<4>
// CHECK-NEXT: %s = dstc_isa.mov b(%v2[3]) : (!dstc_isa.reg<4>) -> !dstc_isa.reg<1>
// CHECK-NEXT: dstc_isa.aclr acc(0) : () -> ()
// CHECK-NEXT: %rows = dstc_isa.ard<P0._> acc(0) : () -> !dstc_isa.reg<8>
// CHECK-NEXT: %u = dstc_isa.undef : !dstc_isa.reg<2>
// CHECK-NEXT: %d0 = dstc_isa.mov into(%u), b(-1) : (!dstc_isa.reg<2>) -> !dstc_isa.reg<2>
// CHECK-NEXT: %h = dstc_isa.hmma<884.AROW.BCOL.STEP1> a(%v2), b(%v2[1]), c(%rows[2]) : (!dstc_isa.reg<4>, !dstc_isa.reg<4>, !dstc_isa.reg<8>) -> !dstc_isa.reg<2>
// CHECK-NEXT: dstc_isa.jump ^bb1(%z : !dstc_isa.reg<1>)
// CHECK-NEXT: ^bb1(%i: !dstc_isa.reg<1>):
// CHECK-NEXT: %n = dstc_isa.iadd3 a(%i), b(1) {dstc.source = ["a"]} : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
// CHECK-NEXT: %q = dstc_isa.isetp<LT.U32> a(%n), pa(not %p), b(10) : (!dstc_isa.reg<1>, !dstc_isa.pred) -> !dstc_isa.pred
// CHECK-NEXT: dstc_isa.branch %q : !dstc_isa.pred, ^bb1(%n : !dstc_isa.reg<1>), ^bb2
// CHECK-NEXT: ^bb2:
// CHECK-NEXT: dstc_isa.stg<128> a(%addr), b(%v2) : (!dstc_isa.reg<1>, !dstc_isa.reg<4>) -> ()
// CHECK-NEXT: dstc_isa.exit
// CHECK-NEXT: }
// CHECK:      dstc_isa.kernel @allocated [] warps = 1, shared = 512, acc = 0, registers = 8 attributes {dstc.source = ["conv1"]} {
// CHECK-NEXT: %a = dstc_isa.lds<128> offset(64) : () -> !dstc_isa.reg<4, R4>
// CHECK-NEXT: %p = dstc_isa.plop<AND> : () -> !dstc_isa.pred<P6>
// CHECK-NEXT: %t = dstc_isa.plop<OR> pa(not %p), pb(%p) : (!dstc_isa.pred<P6>, !dstc_isa.pred<P6>) -> !dstc_isa.pred<PT>
// CHECK-NEXT: %z = dstc_isa.mov b(%a[2]) : (!dstc_isa.reg<4, R4>) -> !dstc_isa.reg<1, RZ>
// CHECK-NEXT: dstc_isa.branch %p : !dstc_isa.pred<P6>, ^a, ^b {negated}
// CHECK-NEXT: ^a:
// CHECK-NEXT: dstc_isa.jump ^b
// CHECK-NEXT: ^b:
// CHECK-NEXT: dstc_isa.exit
// CHECK-NEXT: }

// GENERIC: "dstc_isa.ldg"(%addr, %p, %v) <{roles = ["a", "!guard", "into"], subs = array<i64: 0, 0, 2>, modifiers = ["64"], immediates = {offset = 32 : i64}}>
// GENERIC: "dstc_isa.undef"() : () -> !dstc_isa.reg<2>
// GENERIC: "dstc_isa.branch"(%q, %n) [^bb1, ^bb2] <{operandSegmentSizes = array<i32: 1, 1, 0>}>
