// RUN: dstc-opt %s | dstc-opt | filecheck %s
// RUN: dstc-opt %s --mlir-print-op-generic | dstc-opt | filecheck %s
// RUN: dstc-opt %s -p encode-operands,convert-encode-to-tile,convert-matmul-to-tile | filecheck %s --check-prefix TILE

// An image encoded for the windows of a product; the kernels that encode and take it.
func.func @main(%w: !dstc.bitmap<40x18xf16, a>, %x: tensor<1x2x8x8xf16>) -> tensor<1x40x8x8xf16> {
  %e = dstc.encode %x : tensor<1x2x8x8xf16> -> !dstc.image<1x2x8x8xf16, #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>>
  %y = dstc.matmul %w, %e {image = array<i64: 1, 8, 8>, window = #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>, schedule = #dstc.schedule<dual, cta = 64x64, warp = 64x64, stages = 4>} : !dstc.bitmap<40x18xf16, a>, !dstc.image<1x2x8x8xf16, #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>> -> tensor<1x40x8x8xf16>
  func.return %y : tensor<1x40x8x8xf16>
}
// CHECK:      %e = dstc.encode %x : tensor<1x2x8x8xf16> -> !dstc.image<1x2x8x8xf16, #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>>
// CHECK-NEXT: %y = dstc.matmul %w, %e {{.*}} : !dstc.bitmap<40x18xf16, a>, !dstc.image<1x2x8x8xf16, #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>> -> tensor<1x40x8x8xf16>

// Two planes of five words each, a warp a word: a ballot is a word, stored in two entries.
// TILE:          dstc_tile.kernel @encode ["x", "y"] grid = [3, 1, 1], warps = 4
// TILE:          dstc_tile.ballot
// TILE:          dstc_tile.return
// The table, then columns of two vectors: words, shifted together, and the runs of their values.
// TILE:          dstc_tile.kernel @conv2d ["a", "b", "c"] grid = [2, 1, 1], warps = 1, shared = 128, acc = 4
// TILE:          dstc_tile.store shared
// TILE:          dstc_tile.barrier
// TILE:          dstc_tile.load shared
// TILE:          dstc_tile.load global {{.*}} vector<2xi32>
// TILE:          dstc_tile.funnel
// TILE:          dstc_tile.popcount
// TILE:          dstc_tile.load_runs low
// TILE:          dstc_tile.load_runs high
// TILE:          dstc_tile.spwmma 1, {{.*}} {high_b}
