// RUN: dstc-opt %s -p encode-operands --split-input-file --verify-diagnostics

func.func @pattern(%a: tensor<64x64xf16>, %b: tensor<64x64xf16>) -> tensor<64x64xf32> {
  // expected-error@below {{the nm engine needs the n:m pattern of its operand a; give a_pattern, as annotate-sparsity does}}
  %y = dstc.matmul %a, %b {schedule = #dstc.schedule<nm, cta = 64x64, warp = 32x32, stages = 2>} : tensor<64x64xf16>, tensor<64x64xf16> -> tensor<64x64xf32>
  func.return %y : tensor<64x64xf32>
}

// -----

func.func @wide(%a: tensor<64x64xf32>, %b: tensor<64x64xf32>) -> tensor<64x64xf32> {
  // expected-error@below {{operands must be f16, not tensor<64x64xf32>; run lower-precision first}}
  %y = dstc.matmul %a, %b {schedule = #dstc.schedule<dual, cta = 64x64, warp = 32x32, stages = 2>} : tensor<64x64xf32>, tensor<64x64xf32> -> tensor<64x64xf32>
  func.return %y : tensor<64x64xf32>
}
