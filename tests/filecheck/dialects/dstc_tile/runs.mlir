// RUN: dstc-opt %s | dstc-opt | filecheck %s
// RUN: dstc-opt -p convert-tile-to-isa %s | filecheck %s --check-prefix ISA

// A window's bits, and its values: runs of 16 lanes, or of all.
dstc_tile.kernel @k ["x", "n"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 4 {
^bb0(%x: i32, %n: i32):
  %bits = dstc_tile.funnel %x, %n, %x
  %low = dstc_tile.load_runs low %x, %n : vector<8xi32>
  %high = dstc_tile.load_runs high %x, %n : vector<8xi32>
  %all = dstc_tile.load_runs all %x, %n : vector<16xi32>
  dstc_tile.spwmma 0, %low %bits, %high %n {high_b} : vector<8xi32>, vector<8xi32>
  dstc_tile.spwmma 0, %all %bits, %high %n {window = 64 : i64} : vector<16xi32>, vector<8xi32>
  dstc_tile.return
}
// CHECK:      %bits = dstc_tile.funnel %x, %n, %x
// CHECK-NEXT: %low = dstc_tile.load_runs low %x, %n : vector<8xi32>
// CHECK-NEXT: %high = dstc_tile.load_runs high %x, %n : vector<8xi32>
// CHECK-NEXT: %all = dstc_tile.load_runs all %x, %n : vector<16xi32>

// ISA:      dstc_isa.shf<R>
// ISA:      dstc_isa.ldv<LO> {{.*}} -> !dstc_isa.reg<8>
// ISA:      dstc_isa.ldv<HI> {{.*}} -> !dstc_isa.reg<8>
// ISA:      dstc_isa.ldv<ALL> {{.*}} -> !dstc_isa.reg<16>
