// RUN: dstc-opt %s -p eliminate-dead-instructions | filecheck %s

// What only feeds itself round the loop goes, with its argument; an atomic addition stays.
dstc_isa.kernel @k ["x"] warps = 1, shared = 0, acc = 0 {
  %z = dstc_isa.mov b(0) : () -> !dstc_isa.reg<1>
  %l = dstc_isa.ldg<32> a(%z) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  dstc_isa.jump ^l(%z, %l : !dstc_isa.reg<1>, !dstc_isa.reg<1>)
^l(%i: !dstc_isa.reg<1>, %dead: !dstc_isa.reg<1>):
  %more = dstc_isa.iadd3 a(%dead), b(7) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %old = dstc_isa.atom<ADD.U32> b(%i) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %j = dstc_isa.iadd3 a(%i), b(1) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %p = dstc_isa.isetp<LT.U32> a(%j), b(3) : (!dstc_isa.reg<1>) -> !dstc_isa.pred
  dstc_isa.branch %p : !dstc_isa.pred, ^l(%j, %more : !dstc_isa.reg<1>, !dstc_isa.reg<1>), ^e
^e:
  dstc_isa.exit
}
// CHECK:      %z = dstc_isa.mov b(0)
// CHECK-NEXT: dstc_isa.jump ^l(%z : !dstc_isa.reg<1>)
// CHECK-NEXT: ^l(%i: !dstc_isa.reg<1>):
// CHECK-NEXT: %old = dstc_isa.atom<ADD.U32>
// CHECK-NEXT: %j = dstc_isa.iadd3
// CHECK-NEXT: %p = dstc_isa.isetp
// CHECK-NEXT: dstc_isa.branch %p : !dstc_isa.pred, ^l(%j : !dstc_isa.reg<1>), ^e
