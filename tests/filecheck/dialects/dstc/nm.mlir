// RUN: dstc-opt %s | dstc-opt | filecheck %s
// RUN: dstc-opt %s --print-op-generic | dstc-opt | filecheck %s

// An n:m operand: encoded, decoded, and multiplied with a dense one, on either side.
func.func @nm(%x: tensor<64x96xf16>, %y: tensor<96x32xf16>) -> (tensor<64x32xf16>, tensor<64x32xf16>) {
  %a = dstc.encode %x : tensor<64x96xf16> -> !dstc.nm<64x96xf16, 2:4, a>
  %b = dstc.encode %y : tensor<96x32xf16> -> !dstc.nm<96x32xf16, 4:16, b>
  %d = dstc.decode %b : !dstc.nm<96x32xf16, 4:16, b> -> tensor<96x32xf16>
  %c = dstc.matmul %a, %d {a_pattern = "2:4", schedule = #dstc.schedule<nm, cta = 64x64, warp = 64x64, stages = 2>} : !dstc.nm<64x96xf16, 2:4, a>, tensor<96x32xf16> -> tensor<64x32xf16>
  %e = dstc.matmul %x, %b {schedule = #dstc.schedule<nm, cta = 64x128, warp = 64x64, stages = 2, swap>} : tensor<64x96xf16>, !dstc.nm<96x32xf16, 4:16, b> -> tensor<64x32xf16>
  func.return %c, %e : tensor<64x32xf16>, tensor<64x32xf16>
}
// CHECK-LABEL: @nm
// CHECK-NEXT:  dstc.encode %x : tensor<64x96xf16> -> !dstc.nm<64x96xf16, 2:4, a>
// CHECK-NEXT:  dstc.encode %y : tensor<96x32xf16> -> !dstc.nm<96x32xf16, 4:16, b>
// CHECK-NEXT:  dstc.decode %b : !dstc.nm<96x32xf16, 4:16, b> -> tensor<96x32xf16>
// CHECK-NEXT:  dstc.matmul %a, %d {{.*}}#dstc.schedule<nm, cta = 64x64, warp = 64x64, stages = 2>
// CHECK-NEXT:  dstc.matmul %x, %b {{.*}}#dstc.schedule<nm, cta = 64x128, warp = 64x64, stages = 2, swap>
