// RUN: dstc-opt %s | dstc-opt | filecheck %s
// RUN: dstc-opt %s --mlir-print-op-generic | dstc-opt | filecheck %s
// RUN: dstc-opt -p convert-matmul-to-tile %s | filecheck %s --check-prefix TILE

// Warps list the steps at which neither side is empty, and take those.
func.func @main(%a: !dstc.bitmap<256x64xf16, a>, %b: !dstc.bitmap<64x192xf16, b>) -> tensor<256x192xf32> {
  %y = dstc.matmul %a, %b {a_occupied = array<f64: 0.25, 0.5, 0.75>, schedule = #dstc.schedule<dual, cta = 64x64, warp = 64x64, stages = 2, skip>} : !dstc.bitmap<256x64xf16, a>, !dstc.bitmap<64x192xf16, b> -> tensor<256x192xf32>
  func.return %y : tensor<256x192xf32>
}
// CHECK: dstc.matmul %a, %b {a_occupied = array<f64: 2.500000e-01, 5.000000e-01, 7.500000e-01>, schedule = #dstc.schedule<dual, cta = 64x64, warp = 64x64, stages = 2, skip>}

// TILE:      dstc_tile.kernel @matmul ["a", "b", "c"] grid = [3, 4, 1], warps = 1, shared = 144, acc = 4 {
// TILE:      scf.for
// TILE:      dstc_tile.shuffle
// TILE:      dstc_tile.store shared
// TILE:      scf.for
// TILE:      dstc_tile.load shared
// TILE:      dstc_tile.spwmma
