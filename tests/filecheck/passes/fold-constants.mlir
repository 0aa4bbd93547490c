// RUN: python3 -c "import numpy as np; np.savez(r'%t.npz', w=np.arange(6, dtype='f').reshape(2, 3))"
// RUN: dstc-opt %s --constants %t.npz -p fold-constants | filecheck %s

func.func @main(%x: tensor<2x3xf32>) -> (tensor<6xf16>, tensor<3x2xf32>, tensor<6xf32>) {
  %w = dstc.constant "w" {density = 0.5 : f64} : tensor<2x3xf32>
  %r = dstc.reshape %w : tensor<2x3xf32> -> tensor<6xf32>
  %h = dstc.cast %r : tensor<6xf32> -> tensor<6xf16>
  %t = dstc.transpose %w {perm = array<i64: 1, 0>} : tensor<2x3xf32> -> tensor<3x2xf32>
  %k = dstc.reshape %x : tensor<2x3xf32> -> tensor<6xf32>
  func.return %h, %t, %k : tensor<6xf16>, tensor<3x2xf32>, tensor<6xf32>
}
// CHECK:       func.func @main
// CHECK-NEXT:  %h = dstc.constant "w.6.f16" {density = 5.000000e-01 : f64} : tensor<6xf16>
// CHECK-NEXT:  %t = dstc.constant "w.t" {density = 5.000000e-01 : f64} : tensor<3x2xf32>
// CHECK-NEXT:  %k = dstc.reshape %x
// CHECK-NEXT:  func.return %h, %t, %k
