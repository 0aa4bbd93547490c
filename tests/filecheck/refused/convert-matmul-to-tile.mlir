// RUN: dstc-opt %s -p convert-matmul-to-tile --split-input-file --verify-diagnostics

func.func @dense_operands(%a: tensor<64x64xf16>, %b: tensor<64x64xf16>) -> tensor<64x64xf32> {
  // expected-error@below {{the dual engine does not take operands of types tensor<64x64xf16> and tensor<64x64xf16>; run encode-operands first}}
  %y = dstc.matmul %a, %b {schedule = #dstc.schedule<dual, cta = 64x64, warp = 32x32, stages = 2>} : tensor<64x64xf16>, tensor<64x64xf16> -> tensor<64x64xf32>
  func.return %y : tensor<64x64xf32>
}
