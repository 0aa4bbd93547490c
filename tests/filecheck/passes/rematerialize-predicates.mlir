// RUN: dstc-opt %s -p rematerialize-predicates | filecheck %s
// RUN: dstc-opt %s -p rematerialize-predicates,allocate-registers | filecheck %s --check-prefix ALLOCATED

// Eight conditions are live before the first store: those are computed again where they are needed.
// CHECK-LABEL: @many
// CHECK-NEXT:  %x = dstc_isa.s2r
// CHECK-NOT:   dstc_isa.isetp<LT.U32> a(%x), b(8)
// CHECK:       dstc_isa.isetp<LT.U32> a(%x), b(1)
// CHECK:       dstc_isa.stg
// CHECK:       dstc_isa.isetp<LT.U32> a(%x), b(8)
// CHECK-NEXT:  dstc_isa.stg
// ALLOCATED:   guard(%{{.*}}) {{.*}}!dstc_isa.pred<P0>
dstc_isa.kernel @many ["y"] warps = 1, shared = 0, acc = 0 {
  %x = dstc_isa.s2r sr(SR_LANE) : () -> !dstc_isa.reg<1>
  %p1 = dstc_isa.isetp<LT.U32> a(%x), b(1) : (!dstc_isa.reg<1>) -> !dstc_isa.pred
  %p2 = dstc_isa.isetp<LT.U32> a(%x), b(2) : (!dstc_isa.reg<1>) -> !dstc_isa.pred
  %p3 = dstc_isa.isetp<LT.U32> a(%x), b(3) : (!dstc_isa.reg<1>) -> !dstc_isa.pred
  %p4 = dstc_isa.isetp<LT.U32> a(%x), b(4) : (!dstc_isa.reg<1>) -> !dstc_isa.pred
  %p5 = dstc_isa.isetp<LT.U32> a(%x), b(5) : (!dstc_isa.reg<1>) -> !dstc_isa.pred
  %p6 = dstc_isa.isetp<LT.U32> a(%x), b(6) : (!dstc_isa.reg<1>) -> !dstc_isa.pred
  %p7 = dstc_isa.isetp<LT.U32> a(%x), b(7) : (!dstc_isa.reg<1>) -> !dstc_isa.pred
  %p8 = dstc_isa.isetp<LT.U32> a(%x), b(8) : (!dstc_isa.reg<1>) -> !dstc_isa.pred
  dstc_isa.stg<32> a(%x), b(%x), guard(%p1) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>, !dstc_isa.pred) -> ()
  dstc_isa.stg<32> a(%x), b(%x), guard(%p2) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>, !dstc_isa.pred) -> ()
  dstc_isa.stg<32> a(%x), b(%x), guard(%p3) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>, !dstc_isa.pred) -> ()
  dstc_isa.stg<32> a(%x), b(%x), guard(%p4) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>, !dstc_isa.pred) -> ()
  dstc_isa.stg<32> a(%x), b(%x), guard(%p5) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>, !dstc_isa.pred) -> ()
  dstc_isa.stg<32> a(%x), b(%x), guard(%p6) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>, !dstc_isa.pred) -> ()
  dstc_isa.stg<32> a(%x), b(%x), guard(%p7) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>, !dstc_isa.pred) -> ()
  dstc_isa.stg<32> a(%x), b(%x), guard(%p8) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>, !dstc_isa.pred) -> ()
  dstc_isa.exit
}
