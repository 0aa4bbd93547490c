// RUN: dstc-opt %s | dstc-opt | filecheck %s
// RUN: dstc-opt %s --mlir-print-op-generic | dstc-opt | filecheck %s
// RUN: dstc-opt -p convert-matmul-to-tile %s | filecheck %s --check-prefix TILE

// CTAs that take tiles in turn: 8 of them, the last of 12 tiles cut into smaller ones.
func.func @main(%a: !dstc.bitmap<256x64xf16, a>, %b: !dstc.bitmap<64x192xf16, b>) -> tensor<256x192xf32> {
  %y = dstc.matmul %a, %b {schedule = #dstc.schedule<dual, cta = 64x64, warp = 64x64, stages = 2, ctas = 8, cut = 1>} : !dstc.bitmap<256x64xf16, a>, !dstc.bitmap<64x192xf16, b> -> tensor<256x192xf32>
  func.return %y : tensor<256x192xf32>
}
// CHECK: dstc.matmul %a, %b {schedule = #dstc.schedule<dual, cta = 64x64, warp = 64x64, stages = 2, ctas = 8, cut = 1>}

// TILE:      dstc_tile.launch @matmul(%a, %b) {{.*}} -> (tensor<256x192xf32>, tensor<1xi32>)
// TILE:      dstc_tile.kernel @matmul ["a", "b", "c", "taken"] grid = [8, 1, 1], warps = 1, shared = 8, acc = 4 {
// TILE:      scf.while
// TILE:      scf.if
// TILE:      dstc_tile.atomic_add %c1, %taken if
// TILE:      dstc_tile.barrier
// TILE:      scf.condition
