// RUN: python3 -c "import numpy as np; np.savez(r'%t.npz', w=np.ones((4, 3, 3, 2), 'f2'))"
// RUN: dstc-opt %s --constants %t.npz -p lower-conv | filecheck %s

func.func @constant_filter(%x: tensor<2x3x8x8xf16>, %b: tensor<4xf32>) -> tensor<2x4x4x8xf16> {
  %w = dstc.constant "w" {density = 0.25 : f64} : tensor<4x3x3x2xf16>
  %y = dstc.conv2d %x, %w bias(%b) {strides = array<i64: 2, 1>, pads = array<i64: 1, 1, 1, 0>, dilations = array<i64: 1, 1>, activation = #dstc<activation relu>, a_density = 0.25 : f64, b_density = 0.5 : f64, dstc.source = ["conv1"]} : tensor<2x3x8x8xf16>, tensor<4x3x3x2xf16>, tensor<4xf32> -> tensor<2x4x4x8xf16>
  func.return %y : tensor<2x4x4x8xf16>
}
// CHECK-LABEL: @constant_filter
// CHECK-NEXT:  %w = dstc.constant "w.4x18" {dstc.source = ["conv1"], density = 2.500000e-01 : f64} : tensor<4x18xf16>
// CHECK-NEXT:  %y = dstc.matmul %w, %x bias(%b) {dstc.source = ["conv1"], bias_along = "m", activation = #dstc<activation relu>, image = array<i64: 2, 4, 8>, a_density = 2.500000e-01 : f64, b_density = 5.000000e-01 : f64, window = #dstc.window<[3, 2], strides = [2, 1], pads = [1, 1, 1, 0], dilations = [1, 1]>} : tensor<4x18xf16>, tensor<2x3x8x8xf16>, tensor<4xf32> -> tensor<2x4x4x8xf16>
// CHECK-NEXT:  func.return %y

func.func @dynamic_filter(%x: tensor<1x1x4x4xf16>, %w: tensor<2x1x1x1xf16>) -> tensor<1x2x4x4xf32> {
  %y = dstc.conv2d %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : tensor<1x1x4x4xf16>, tensor<2x1x1x1xf16> -> tensor<1x2x4x4xf32>
  func.return %y : tensor<1x2x4x4xf32>
}
// CHECK-LABEL: @dynamic_filter
// CHECK-NEXT:  %[[W:.*]] = dstc.reshape %w : tensor<2x1x1x1xf16> -> tensor<2x1xf16>
// CHECK-NEXT:  dstc.matmul %[[W]], %x {image = array<i64: 1, 4, 4>, window = #dstc.window<[1, 1]

// Groups and the spread of a transposed convolution stay on the product.
func.func @groups(%x: tensor<1x4x3x3xf16>, %w: tensor<6x2x2x2xf16>) -> tensor<1x6x6x6xf16> {
  %y = dstc.conv2d %x, %w {groups = 2 : i64, spread = array<i64: 2, 2>, strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>} : tensor<1x4x3x3xf16>, tensor<6x2x2x2xf16> -> tensor<1x6x6x6xf16>
  func.return %y : tensor<1x6x6x6xf16>
}
// CHECK-LABEL: @groups
// CHECK:       dstc.matmul {{.*}} {image = array<i64: 1, 6, 6>, window = #dstc.window<[2, 2], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1], spread = [2, 2]>, groups = 2 : i64} : tensor<6x8xf16>, tensor<1x4x3x3xf16>
