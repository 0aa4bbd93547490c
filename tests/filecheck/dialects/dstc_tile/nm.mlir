// RUN: dstc-opt %s | dstc-opt | filecheck %s
// RUN: dstc-opt %s --mlir-print-op-generic | dstc-opt | filecheck %s
// RUN: dstc-opt %s -p convert-tile-to-isa | filecheck %s --check-prefix=ISA

// A step with a sparse operand becomes four instructions, a fence none.
dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 0 {
^bb0(%x: i32):
  %v = dstc_tile.load global %x + 0 : i32
  %i = dstc_tile.load global %x + 4 : i32
  %d = dstc_tile.load global %x + 16 : vector<4xi32>
  %p = dstc_tile.load global %x + 8 : vector<2xi32>
  dstc_tile.fence
  %z = dstc_tile.splat 0 : vector<8xf32>
  %a = dstc_tile.hmma_sp "8816" "ACROSS" 3, %v %i, %d, %z : vector<4xi32>
  %b = dstc_tile.hmma_sp right "888" "ALONG" 7, %v %i, %p, %a : vector<2xi32>
  %e = dstc_tile.extract %b[0] : vector<8xf32> -> f32
  dstc_tile.store global %e, %x + 0 : f32
  dstc_tile.return
}
// CHECK:      dstc_tile.fence
// CHECK:      dstc_tile.hmma_sp "8816" "ACROSS" 3, %v %i, %d, %z : vector<4xi32>
// CHECK-NEXT: dstc_tile.hmma_sp right "888" "ALONG" 7, %v %i, %p, %a : vector<2xi32>
// ISA:        dstc_isa.fence
// ISA-NEXT:   dstc_isa.hmma.sp<8816.A.ACROSS.STEP0.SLICE3> a(%[[V:[0-9]+]]), e(%[[I:[0-9]+]]), b(%[[D:[0-9]+]]) {
// ISA-NEXT:   dstc_isa.hmma.sp<8816.A.ACROSS.STEP1.SLICE3> a(%[[V]]), e(%[[I]]), b(%[[D]]) {
// ISA:        dstc_isa.hmma.sp<888.B.ALONG.STEP0.SLICE7> a(%[[V]]), e(%[[I]]), b(%{{.*}}), c(%{{.*}}) {
