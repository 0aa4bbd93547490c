// RUN: dstc-opt %s -p 'expand-spwmma{machine=dstc-strict}' | filecheck %s
// RUN: dstc-opt %s -p 'expand-spwmma{machine=dstc}' | filecheck %s --check-prefix SEQUENCED
// RUN: dstc-opt %s -p 'expand-spwmma{machine=dstc-strict},eliminate-dead-instructions,schedule-instructions{machine=dstc-strict},allocate-registers,verify-registers' | filecheck %s --check-prefix WHOLE

// Two tiles that share A's bitmaps: two scans, 16 sets each, with the halves of SPWMMA. The second
// scan's rounds stand before the first tile's products as far as these have passed by then.
dstc_isa.kernel @k ["x"] warps = 1, shared = 0, acc = 2 {
  %x = dstc_isa.mov param(0) : () -> !dstc_isa.reg<1>
  %a = dstc_isa.ldg<32> a(%x) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %b = dstc_isa.ldg<32> a(%x + 128) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %c = dstc_isa.ldg<32> a(%x + 256) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %v = dstc_isa.undef : !dstc_isa.reg<8>
  dstc_isa.aclr acc(0) : () -> ()
  dstc_isa.aclr acc(1) : () -> ()
  dstc_isa.spwmma<323216.ALO.BHI._._> acc(0), a(%v), b(%v), c(%a), e(%b) : (!dstc_isa.reg<8>, !dstc_isa.reg<8>, !dstc_isa.reg<1>, !dstc_isa.reg<1>) -> ()
  dstc_isa.spwmma<323216.AHI.BLO._._> acc(1), a(%v), b(%v), c(%a), e(%c) : (!dstc_isa.reg<8>, !dstc_isa.reg<8>, !dstc_isa.reg<1>, !dstc_isa.reg<1>) -> ()
  dstc_isa.exit
}
// CHECK-LABEL: @k
// CHECK:      dstc_isa.s2r sr(SR_LANE)
// CHECK:      dstc_isa.lop<AND> {{.*}} b(15)
// CHECK:      dstc_isa.popc a(%a)
// CHECK-NEXT: dstc_isa.popc a(%b)
// CHECK:      dstc_isa.imad<LO> {{.*}} b(65536)
// CHECK-NEXT: dstc_isa.shfl<UP> {{.*}} b(1)
// CHECK-NEXT: dstc_isa.imad<LO>
// CHECK-NEXT: dstc_isa.shfl<UP> {{.*}} b(2)
// CHECK-NEXT: dstc_isa.imad<LO>
// CHECK-NEXT: dstc_isa.shfl<UP> {{.*}} b(4)
// CHECK-NEXT: dstc_isa.imad<LO>
// CHECK-NEXT: dstc_isa.shfl<UP> {{.*}} b(8)
// CHECK-NEXT: dstc_isa.imad<LO>
// CHECK-NEXT: dstc_isa.isub
// CHECK:      dstc_isa.bohmma<32321.K0.ALO.BHI> a(%a), b(%b)
// CHECK:      dstc_isa.bohmma<32321.K3.ALO.BHI> a(%a), b(%b)
// CHECK-NEXT: dstc_isa.bohmma<32321.K4.ALO.BHI> a(%a), b(%b)
// CHECK-NEXT: dstc_isa.ohmma<8161.K0.ALO.BHI.A0.B0._._> a(%v), b(%v), {{.*}} acc(0)
// CHECK-NEXT: dstc_isa.ohmma<8161.K0.ALO.BHI.A0.B1._._> a(%v), b(%v), {{.*}} acc(0)
// CHECK:      dstc_isa.ohmma<8161.K15.ALO.BHI.A3.B1._._> {{.*}} acc(0)
// CHECK:      dstc_isa.ohmma<8161.K0.AHI.BLO.A0.B0._._> {{.*}} acc(1)
// CHECK:      dstc_isa.ohmma<8161.K15.AHI.BLO.A3.B1._._> {{.*}} acc(1)
// CHECK-NOT:  spwmma
// SEQUENCED-COUNT-2: dstc_isa.spwmma
// SEQUENCED-NOT: ohmma
// WHOLE-COUNT-256: dstc_isa.ohmma
