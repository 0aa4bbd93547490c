// RUN: dstc-opt %s -p fuse-pointwise | filecheck %s

// What only one group reads is computed in it; numbers come along; softmax takes in both sides.
// CHECK-LABEL: @attention
// CHECK-NEXT:  %y = dstc.fused(%m, %x) attributes {dstc.source = ["mask", "scores", "soft"]}
// CHECK-NEXT:  ^{{.*}}(%m_1: tensor<2x1x8xi32>, %x_1: tensor<2x3x8xf32>):
// CHECK-NEXT:    %s = dstc.fill
// CHECK-NEXT:    %f = dstc.cast %m_1
// CHECK-NEXT:    %k = dstc.elementwise "mul"(%f, %s)
// CHECK-NEXT:    %a = dstc.add %x_1, %k
// CHECK-NEXT:    %p = dstc.softmax %a
// CHECK-NEXT:    %y_1 = dstc.reshape %p
// CHECK-NEXT:    dstc.yield %y_1
// CHECK:       func.return %y
func.func @attention(%x: tensor<2x3x8xf32>, %m: tensor<2x1x8xi32>) -> tensor<6x8xf32> {
  %s = dstc.fill {value = -1.0e+04 : f64} : tensor<f32>
  %f = dstc.cast %m : tensor<2x1x8xi32> -> tensor<2x1x8xf32>
  %k = dstc.elementwise "mul"(%f, %s) {dstc.source = ["mask"]} : (tensor<2x1x8xf32>, tensor<f32>) -> tensor<2x1x8xf32>
  %a = dstc.add %x, %k {dstc.source = ["scores"]} : tensor<2x3x8xf32>, tensor<2x1x8xf32> -> tensor<2x3x8xf32>
  %p = dstc.softmax %a {axis = 2 : i64, dstc.source = ["soft"]} : tensor<2x3x8xf32> -> tensor<2x3x8xf32>
  %y = dstc.reshape %p : tensor<2x3x8xf32> -> tensor<6x8xf32>
  func.return %y : tensor<6x8xf32>
}

// A value that two groups read is a kernel's own; a second row-wise op begins another kernel; an
// exponential is not computed for every element that it is repeated for.
// CHECK-LABEL: @apart
// CHECK-NEXT:  %e = dstc.elementwise "exp"(%v)
// CHECK-NEXT:  %a = dstc.fused(%e, %x)
// CHECK:         dstc.expand
// CHECK:         dstc.add
// CHECK:       %n = dstc.normalize %a
// CHECK-NEXT:  %y = dstc.fused(%a, %n)
// CHECK:         dstc.softmax
// CHECK:         dstc.add
func.func @apart(%x: tensor<4x64xf32>, %v: tensor<64xf32>) -> tensor<4x64xf32> {
  %e = dstc.elementwise "exp"(%v) : (tensor<64xf32>) -> tensor<64xf32>
  %w = dstc.expand %e : tensor<64xf32> -> tensor<4x64xf32>
  %a = dstc.add %x, %w : tensor<4x64xf32>, tensor<4x64xf32> -> tensor<4x64xf32>
  %n = dstc.normalize %a {axis = 1 : i64, epsilon = 1.0e-05 : f64} : tensor<4x64xf32> -> tensor<4x64xf32>
  %p = dstc.softmax %a {axis = 1 : i64} : tensor<4x64xf32> -> tensor<4x64xf32>
  %y = dstc.add %p, %n : tensor<4x64xf32>, tensor<4x64xf32> -> tensor<4x64xf32>
  func.return %y : tensor<4x64xf32>
}

// Behind a row-wise op a transpose begins another kernel. A lone reshape stays as it is.
// CHECK-LABEL: @moves
// CHECK-NEXT:  dstc.softmax
// CHECK-NEXT:  dstc.transpose
// CHECK-NEXT:  dstc.matmul
// CHECK-NEXT:  dstc.reshape
// CHECK-NEXT:  dstc.matmul
func.func @moves(%x: tensor<8x4xf32>, %w: tensor<4x4xf32>) -> tensor<8x4xf32> {
  %p = dstc.softmax %x {axis = 1 : i64} : tensor<8x4xf32> -> tensor<8x4xf32>
  %t = dstc.transpose %p {perm = array<i64: 1, 0>} : tensor<8x4xf32> -> tensor<4x8xf32>
  %z = dstc.matmul %t, %t {trans_a} : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<8x8xf32>
  %r = dstc.reshape %x : tensor<8x4xf32> -> tensor<4x8xf32>
  %y = dstc.matmul %r, %w {trans_a} : tensor<4x8xf32>, tensor<4x4xf32> -> tensor<8x4xf32>
  func.return %y : tensor<8x4xf32>
}
