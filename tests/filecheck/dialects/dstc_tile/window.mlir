// RUN: dstc-opt %s | dstc-opt | filecheck %s
// RUN: dstc-opt %s --mlir-print-op-generic | dstc-opt | filecheck %s
// RUN: dstc-opt -p convert-tile-to-isa %s | filecheck %s --check-prefix ISA

// Condensed values in 4, 8 or 16 registers, and a step of the window of 64.
dstc_tile.kernel @k ["x", "n"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 8 {
^bb0(%x: i32, %n: i32):
  %few = dstc_tile.load_values %x, %n : vector<4xi32>
  %half = dstc_tile.load_values %x, %n : vector<8xi32>
  %all = dstc_tile.load_values %x, %n : vector<16xi32>
  dstc_tile.spwmma 0, %few %x, %half %n : vector<4xi32>, vector<8xi32>
  dstc_tile.spwmma 0, %all %x, %half %n {window = 64 : i64} : vector<16xi32>, vector<8xi32>
  dstc_tile.spwmma 4, %few %x, %all %n {window = 64 : i64} : vector<4xi32>, vector<16xi32>
  dstc_tile.return
}
// CHECK:      %few = dstc_tile.load_values %x, %n : vector<4xi32>
// CHECK-NEXT: %half = dstc_tile.load_values %x, %n : vector<8xi32>
// CHECK-NEXT: %all = dstc_tile.load_values %x, %n : vector<16xi32>
// CHECK-NEXT: dstc_tile.spwmma 0, %few %x, %half %n : vector<4xi32>, vector<8xi32>
// CHECK-NEXT: dstc_tile.spwmma 0, %all %x, %half %n {window = 64 : i64} : vector<16xi32>, vector<8xi32>
// CHECK-NEXT: dstc_tile.spwmma 4, %few %x, %all %n {window = 64 : i64} : vector<4xi32>, vector<16xi32>

// ISA-DAG:      %[[FEW:.*]] = dstc_isa.ldg<128> {{.*}} -> !dstc_isa.reg<4>
// ISA:          dstc_isa.ldg<128> a(%{{[a-z0-9_]+}} + 512), {{.*}} -> !dstc_isa.reg<8>
// ISA:          dstc_isa.ldg<128> a(%{{[a-z0-9_]+}} + 1536), {{.*}}[12]) {{.*}} -> !dstc_isa.reg<16>
// ISA:          dstc_isa.spwmma<323216.ALO.BLO.A256._> {{.*}}acc(0)
// ISA:          dstc_isa.spwmma64<646416._.B512> {{.*}}acc(0)
// ISA:          dstc_isa.spwmma64<646416.A256._> {{.*}}acc(4)
