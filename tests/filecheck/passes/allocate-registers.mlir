// RUN: dstc-opt %s -p allocate-registers,verify-registers | filecheck %s
// RUN: dstc-opt %s -p 'allocate-registers{max-registers=14},verify-registers' | filecheck %s
// RUN: not dstc-opt %s -p 'allocate-registers{max-registers=8}' 2>&1 | filecheck %s --check-prefix FEW
// RUN: not dstc-opt %s -p 'allocate-registers{max-registers=256}' 2>&1 | filecheck %s --check-prefix RANGE
// RUN: not dstc-opt %s -p allocate-registers,allocate-registers 2>&1 | filecheck %s --check-prefix TWICE

// An accumulator keeps its registers round the loop; the group's parts are written in place.
dstc_isa.kernel @loop ["x"] warps = 1, shared = 0, acc = 0 {
  %u = dstc_isa.undef : !dstc_isa.reg<2>
  %c0 = dstc_isa.mov b(0), into(%u) : (!dstc_isa.reg<2>) -> !dstc_isa.reg<2>
  %c1 = dstc_isa.mov b(0), into(%c0[1]) : (!dstc_isa.reg<2>) -> !dstc_isa.reg<2>
  %x = dstc_isa.mov param(0) : () -> !dstc_isa.reg<1>
  dstc_isa.jump ^l(%x, %c1 : !dstc_isa.reg<1>, !dstc_isa.reg<2>)
^l(%i: !dstc_isa.reg<1>, %c: !dstc_isa.reg<2>):
  %a = dstc_isa.ldg<128> a(%i) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<4>
  %b = dstc_isa.ldg<128> a(%i + 16) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<4>
  %d = dstc_isa.hmma<884.AROW.BCOL.STEP0> a(%a[1]), b(%b[3]), c(%c) : (!dstc_isa.reg<4>, !dstc_isa.reg<4>, !dstc_isa.reg<2>) -> !dstc_isa.reg<2>
  %j = dstc_isa.iadd3 a(%i), b(32) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %p = dstc_isa.isetp<LT.U32> a(%j), b(999) : (!dstc_isa.reg<1>) -> !dstc_isa.pred
  dstc_isa.branch %p : !dstc_isa.pred, ^l(%j, %d : !dstc_isa.reg<1>, !dstc_isa.reg<2>), ^e
^e:
  dstc_isa.stg<64> a(%j), b(%d) : (!dstc_isa.reg<1>, !dstc_isa.reg<2>) -> ()
  dstc_isa.exit
}
// CHECK:      dstc_isa.kernel @loop ["x"] warps = 1, shared = 0, acc = 0, registers = 11 {
// CHECK:      dstc_isa.jump ^l(%x, %c1 : !dstc_isa.reg<1, [[I:R[0-9]+]]>, !dstc_isa.reg<2, [[C:R[0-9]+]]>)
// CHECK-NEXT: ^l(%i: !dstc_isa.reg<1, [[I]]>, %c: !dstc_isa.reg<2, [[C]]>):
// CHECK-NEXT: dstc_isa.ldg<128>
// CHECK-NEXT: dstc_isa.ldg<128>
// CHECK-NEXT: dstc_isa.hmma{{.*}} -> !dstc_isa.reg<2, [[C]]>
// CHECK-NEXT: dstc_isa.iadd3{{.*}} -> !dstc_isa.reg<1, [[I]]>
// CHECK-NEXT: dstc_isa.isetp{{.*}} -> !dstc_isa.pred<P0>
// CHECK-NEXT: dstc_isa.branch %p : !dstc_isa.pred<P0>, ^l(%j, %d : !dstc_isa.reg<1, [[I]]>, !dstc_isa.reg<2, [[C]]>), ^e

// FEW: kernel loop: needs 11 registers (most are live at `%d = dstc_isa.hmma<884.AROW.BCOL.STEP0> a(%a[1]), b(%b[3]), c(%c)`), but the limit is 8; use a smaller warp tile
// RANGE: max-registers must be 1 to 255, not 256
// TWICE: kernel loop: registers are allocated already; run the pass once

// Two arguments that change places: a swap without a third register.
dstc_isa.kernel @swap [] warps = 1, shared = 0, acc = 0 {
  %a = dstc_isa.s2r sr(SR_LANE) : () -> !dstc_isa.reg<1>
  %b = dstc_isa.s2r sr(SR_WARP) : () -> !dstc_isa.reg<1>
  dstc_isa.jump ^l(%a, %b : !dstc_isa.reg<1>, !dstc_isa.reg<1>)
^l(%x: !dstc_isa.reg<1>, %y: !dstc_isa.reg<1>):
  %p = dstc_isa.isetp<LT.U32> a(%x), b(%y) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>) -> !dstc_isa.pred
  dstc_isa.branch %p : !dstc_isa.pred, ^l(%y, %x : !dstc_isa.reg<1>, !dstc_isa.reg<1>), ^e
^e:
  dstc_isa.exit
}
// CHECK-LABEL: @swap
// CHECK-SAME:  registers = 2
// CHECK:       dstc_isa.lop<XOR>
// CHECK-NEXT:  dstc_isa.lop<XOR>
// CHECK-NEXT:  dstc_isa.lop<XOR>
// CHECK-NEXT:  dstc_isa.jump ^l
