// RUN: python3 -c "import numpy as np; np.savez(r'%t.npz', w=np.full((4, 4), 1e6, 'f'))"
// RUN: dstc-opt %s --constants %t.npz -p lower-precision --verify-diagnostics

func.func @main(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %w = dstc.constant "w" : tensor<4x4xf32>
  // expected-error@below {{does not fit f16 (largest 65504); scale the weights}}
  %y = dstc.matmul %x, %w : tensor<4x4xf32>, tensor<4x4xf32> -> tensor<4x4xf32>
  func.return %y : tensor<4x4xf32>
}
