// RUN: dstc-opt %s -p schedule-instructions | filecheck %s
// RUN: dstc-opt %s -p 'schedule-instructions{alu=1 fma=1 mufu=1 predicate=1 shared=1 shuffle=1 global-memory=1 tensor=1 accumulate=1 pressure=1}' | filecheck %s --check-prefix TIGHT
// RUN: dstc-opt %s -p 'schedule-instructions{machine=v100}' | filecheck %s
// RUN: not dstc-opt %s -p 'schedule-instructions{machine=v200}' 2>&1 | filecheck %s --check-prefix MACHINE
// RUN: not dstc-opt %s -p 'schedule-instructions{alu=-1}' 2>&1 | filecheck %s --check-prefix NEGATIVE
// RUN: not dstc-opt %s -p allocate-registers,schedule-instructions 2>&1 | filecheck %s --check-prefix LATE

// The load goes first, what needs it last; the counter is stepped after its last reader.
dstc_isa.kernel @hide ["x"] warps = 1, shared = 0, acc = 0 {
  %z = dstc_isa.mov b(0) : () -> !dstc_isa.reg<1>
  dstc_isa.jump ^l(%z : !dstc_isa.reg<1>)
^l(%i: !dstc_isa.reg<1>):
  %a = dstc_isa.shl a(%i), b(2) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %b = dstc_isa.lop<XOR> a(%i), b(3) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %c = dstc_isa.lop<OR> a(%b), b(1) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %v = dstc_isa.ldg<32> a(%a) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %s = dstc_isa.fadd a(%v), b(%c) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  dstc_isa.stg<32> a(%a), b(%s) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>) -> ()
  %j = dstc_isa.iadd3 a(%i), b(1) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %p = dstc_isa.isetp<LT.U32> a(%j), b(9) : (!dstc_isa.reg<1>) -> !dstc_isa.pred
  dstc_isa.branch %p : !dstc_isa.pred, ^l(%j : !dstc_isa.reg<1>), ^e
^e:
  dstc_isa.exit
}
// CHECK-LABEL: @hide
// CHECK:      ^l(%i
// CHECK-NEXT: %a = dstc_isa.shl
// CHECK-NEXT: %b = dstc_isa.lop<XOR>
// CHECK:      %v = dstc_isa.ldg
// CHECK:      %c = dstc_isa.lop<OR>
// CHECK:      %s = dstc_isa.fadd
// CHECK:      dstc_isa.stg
// CHECK:      dstc_isa.branch

// TIGHT-LABEL: @hide
// TIGHT:      ^l(%i
// TIGHT-NEXT: dstc_isa.shl
// MACHINE: error: schedule-instructions: machine 'v200': no such machine
// NEGATIVE: error: schedule-instructions: alu must not be negative, unlike -1
// LATE: kernel hide: registers are allocated already; run schedule-instructions before allocate-registers
