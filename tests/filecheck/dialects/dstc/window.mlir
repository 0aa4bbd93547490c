// RUN: dstc-opt %s | dstc-opt | filecheck %s
// RUN: dstc-opt %s --mlir-print-op-generic | dstc-opt | filecheck %s
// RUN: dstc-opt -p encode-operands %s | filecheck %s --check-prefix ENCODED

func.func @main(%a: tensor<70x48xf16>, %b: tensor<48x90xf16>) -> tensor<70x90xf32> {
  %e = dstc.encode %a : tensor<70x48xf16> -> !dstc.bitmap<70x48xf16, a, window = 64>
  %y = dstc.matmul %e, %b {schedule = #dstc.schedule<dual, cta = 64x128, warp = 64x64, stages = 2, swap, window = 64>} : !dstc.bitmap<70x48xf16, a, window = 64>, tensor<48x90xf16> -> tensor<70x90xf32>
  %f = dstc.encode %a : tensor<70x48xf16> -> !dstc.bitmap<70x48xf16, a, window = 32>
  func.return %y : tensor<70x90xf32>
}
// CHECK:      dstc.encode %a : tensor<70x48xf16> -> !dstc.bitmap<70x48xf16, a, window = 64>
// CHECK-NEXT: dstc.matmul %e, %b {schedule = #dstc.schedule<dual, cta = 64x128, warp = 64x64, stages = 2, swap, window = 64>}
// CHECK-NEXT: dstc.encode %a : tensor<70x48xf16> -> !dstc.bitmap<70x48xf16, a>

// ENCODED:    %[[B:.*]] = dstc.encode %b : tensor<48x90xf16> -> !dstc.bitmap<48x90xf16, b, window = 64>
// ENCODED:    dstc.matmul %e, %[[B]] {
