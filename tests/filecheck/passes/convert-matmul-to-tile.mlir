// RUN: dstc-opt %s -p convert-matmul-to-tile | filecheck %s

func.func @main(%x: tensor<40x70xf16>, %w: tensor<70x100xf16>, %a: !dstc.bitmap<40x70xf16, a>, %b: !dstc.bitmap<70x100xf16, b>, %v: tensor<100xf32>, %u: tensor<40xf32>) -> (tensor<40x100xf16>, tensor<40x100xf32>, tensor<4x40x5x5xf16>) {
  %d = dstc.matmul %x, %w bias(%v) {bias_along = "n", activation = #dstc<activation relu>, dstc.source = ["fc1"], schedule = #dstc.schedule<dense, cta = 32x64, warp = 32x32, stages = 2>} : tensor<40x70xf16>, tensor<70x100xf16>, tensor<100xf32> -> tensor<40x100xf16>
  %s = dstc.matmul %a, %b {a_density = 0.1 : f64, b_density = 0.2 : f64, schedule = #dstc.schedule<dual, cta = 64x32, warp = 64x32, stages = 2>} : !dstc.bitmap<40x70xf16, a>, !dstc.bitmap<70x100xf16, b> -> tensor<40x100xf32>
  %c = dstc.matmul %a, %b bias(%u) {bias_along = "m", image = array<i64: 4, 5, 5>, schedule = #dstc.schedule<dual, cta = 32x32, warp = 32x32, stages = 3, swap>} : !dstc.bitmap<40x70xf16, a>, !dstc.bitmap<70x100xf16, b>, tensor<40xf32> -> tensor<4x40x5x5xf16>
  func.return %d, %s, %c : tensor<40x100xf16>, tensor<40x100xf32>, tensor<4x40x5x5xf16>
}
func.func @split(%x: tensor<70x40xf16>, %w: tensor<100x70xf16>) -> tensor<40x100xf16> {
  %d = dstc.matmul %x, %w {trans_a, trans_b, dstc.source = ["fc2"], schedule = #dstc.schedule<dense, cta = 64x64, warp = 32x32, stages = 2, split = 2>} : tensor<70x40xf16>, tensor<100x70xf16> -> tensor<40x100xf16>
  func.return %d : tensor<40x100xf16>
}
func.func @dual_split(%a: !dstc.bitmap<40x90xf16, a>, %b: !dstc.bitmap<90x100xf16, b>) -> tensor<40x100xf16> {
  %d = dstc.matmul %a, %b {dstc.source = ["fc3"], schedule = #dstc.schedule<dual, cta = 32x32, warp = 32x32, stages = 2, split = 2>} : !dstc.bitmap<40x90xf16, a>, !dstc.bitmap<90x100xf16, b> -> tensor<40x100xf16>
  func.return %d : tensor<40x100xf16>
}
// CHECK-LABEL: @main
// CHECK-NEXT:  %d = dstc_tile.launch @fc1_matmul(%x, %w, %v) {dstc.source = ["fc1"], op = "matmul", engine = "dense", macs = 280000 : i64}
// CHECK-NEXT:  %s = dstc_tile.launch @matmul(%a, %b) {op = "matmul", engine = "dual", macs = 280000 : i64}
// CHECK-NEXT:  %c = dstc_tile.launch @conv2d(%a, %b, %u) {op = "conv2d", engine = "dual", macs = 280000 : i64}

// CHECK-LABEL: @split
// CHECK:       %d, %{{.*}}, %{{.*}} = dstc_tile.launch @fc2_matmul(%x, %w) {{.*}} -> (tensor<40x100xf16>, tensor<16384xf32>, tensor<2xi32>)

// Dense: through shared memory, in two buffers, and HMMA; then bias, ReLU, f16, four columns a store.
// CHECK-LABEL: dstc_tile.kernel @fc1_matmul ["a", "b", "bias", "c"] grid = [2, 2, 1], warps = 2, shared = 12800, acc = 0 attributes {dstc.source = ["fc1"]}
// CHECK:       dstc_tile.load global {{.*}} : vector<4xi32>
// CHECK:       dstc_tile.store shared {{.*}} : vector<2xi32>
// CHECK:       dstc_tile.store shared {{.*}} : vector<4xi32>
// CHECK:       dstc_tile.barrier
// CHECK:       scf.for {{.*}} vector<8xf32>
// CHECK:       dstc_tile.load global {{.*}} if {{.*}} : vector<4xi32>
// CHECK:       dstc_tile.load shared {{.*}} : i32
// CHECK:       dstc_tile.load shared {{.*}} : vector<2xi32>
// CHECK:       dstc_tile.hmma_step "AROW" "BROW"
// CHECK:       dstc_tile.store shared {{.*}} if
// CHECK:       dstc_tile.barrier
// CHECK:       scf.yield
// CHECK:       arith.addf
// CHECK:       arith.maximumf
// CHECK:       dstc_tile.pack
// CHECK:       dstc_tile.store global {{.*}} if {{.*}} : vector<2xi32>
// CHECK:       dstc_tile.return

// Dual: two accumulator tiles a warp, operands straight to registers under the headers' counts: in 4 a lane,
// if no tile is wide, else in 8. So few steps need no loop.
// CHECK-LABEL: dstc_tile.kernel @matmul ["a", "b", "c"] grid = [4, 1, 1], warps = 1, shared = 0, acc = 2
// CHECK:       dstc_tile.acc_clear 0
// CHECK:       dstc_tile.acc_clear 1
// CHECK:       scf.if
// CHECK:       dstc_tile.load_values {{.*}} : vector<4xi32>
// CHECK:       dstc_tile.spwmma 0, %[[A:[a-z0-9_]+]] %[[AM:[a-z0-9_]+]], %[[B:[a-z0-9_]+]] %[[BM:[a-z0-9_]+]] : vector<4xi32>, vector<4xi32>
// CHECK:       dstc_tile.spwmma 1, %{{.*}} %{{.*}}, %[[B]] %[[BM]]
// CHECK:       scf.if
// CHECK:       dstc_tile.load_values {{.*}} : vector<8xi32>
// CHECK:       dstc_tile.spwmma 0, {{.*}} : vector<8xi32>, vector<8xi32>
// CHECK:       dstc_tile.acc_read 0, 0
// CHECK-NOT:   transposed
// CHECK:       dstc_tile.store global {{.*}} if {{.*}} : f32
// CHECK:       dstc_tile.return

// With swap the right operand comes first and the result is read transposed.
// CHECK-LABEL: dstc_tile.kernel @conv2d ["a", "b", "bias", "c"] grid = [4, 2, 1], warps = 1, shared = 0, acc = 1
// CHECK:       dstc_tile.spwmma 0
// CHECK:       dstc_tile.acc_read 0, 0 transposed
// CHECK:       arith.addf
// CHECK:       dstc_tile.store global {{.*}} bits 16 if
// CHECK:       dstc_tile.return

// Transposed operands use the other forms of HMMA's fragments; split along K, the last CTA of a tile adds up.
// CHECK-LABEL: dstc_tile.kernel @fc2_matmul ["a", "b", "c", "partials", "arrivals"] grid = [2, 1, 2]
// CHECK:       scf.for
// CHECK:       dstc_tile.hmma_step "ACOL" "BCOL"
// CHECK:       dstc_tile.store global {{.*}} : vector<2xf32>
// CHECK:       dstc_tile.barrier
// CHECK:       scf.if
// CHECK:       dstc_tile.atomic_add
// CHECK:       dstc_tile.barrier
// CHECK:       scf.if
// CHECK:       scf.for
// CHECK:       arith.addf
// CHECK:       dstc_tile.pack
// CHECK:       dstc_tile.return

// Dual and split: the last part of K is shorter (2 k-tiles of 6) and has code of its own.
// CHECK-LABEL: dstc_tile.kernel @fc3_matmul ["a", "b", "c", "partials", "arrivals"] grid = [4, 2, 2], warps = 1, shared = 4, acc = 1
// CHECK:       dstc_tile.acc_clear 0
// CHECK:       scf.if
// CHECK-COUNT-4: dstc_tile.spwmma 0
// CHECK:       scf.if
// CHECK-COUNT-2: dstc_tile.spwmma 0
// CHECK:       dstc_tile.acc_read 0, 0
// CHECK:       dstc_tile.store global {{.*}} : vector<2xf32>
// CHECK:       dstc_tile.atomic_add
// CHECK:       scf.for
// CHECK:       arith.addf
// CHECK:       dstc_tile.pack
// CHECK:       dstc_tile.return
