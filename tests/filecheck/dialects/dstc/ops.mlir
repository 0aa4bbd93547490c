// RUN: dstc-opt %s | dstc-opt | filecheck %s
// RUN: dstc-opt %s --mlir-print-op-generic | dstc-opt | filecheck %s

func.func @all(%x: tensor<2x3x8x8xf16>, %b: tensor<4xf32>, %v: tensor<2x4x1x1xf32>, %k: tensor<6x2x1x1xf16>) -> tensor<2x4x8x8xf16> {
  %w = dstc.constant "conv1.weight" {density = 0.5 : f64} : tensor<4x3x3x3xf16>
  %y = dstc.conv2d %x, %w bias(%b) {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>, activation = #dstc<activation relu>, dstc.source = ["conv1"]} : tensor<2x3x8x8xf16>, tensor<4x3x3x3xf16>, tensor<4xf32> -> tensor<2x4x8x8xf16>
  %w2 = dstc.reshape %w : tensor<4x3x3x3xf16> -> tensor<4x27xf16>
  %e = dstc.encode %w2 : tensor<4x27xf16> -> !dstc.bitmap<4x27xf16, a>
  %d = dstc.decode %e : !dstc.bitmap<4x27xf16, a> -> tensor<4x27xf16>
  %i = dstc.im2col %x {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>} : tensor<2x3x8x8xf16> -> !dstc.bitmap<27x128xf16, b>
  %m = dstc.matmul %e, %i bias(%b) {bias_along = "m", image = array<i64: 2, 8, 8>, schedule = #dstc.schedule<dual, cta = 32x128, warp = 32x32, stages = 2, swap>, a_density = 0.1 : f64, b_density = 0.5 : f64} : !dstc.bitmap<4x27xf16, a>, !dstc.bitmap<27x128xf16, b>, tensor<4xf32> -> tensor<2x4x8x8xf16>
  %a = dstc.add %m, %v : tensor<2x4x8x8xf16>, tensor<2x4x1x1xf32> -> tensor<2x4x8x8xf32>
  %r = dstc.relu %a : tensor<2x4x8x8xf32> -> tensor<2x4x8x8xf16>
  %t = dstc.transpose %r {perm = array<i64: 0, 2, 3, 1>} : tensor<2x4x8x8xf16> -> tensor<2x8x8x4xf16>
  %c = dstc.cast %t : tensor<2x8x8x4xf16> -> tensor<2x8x8x4xf32>
  %p = dstc.pool2d %r {kind = #dstc<pool average>, kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, count_include_pad = true} : tensor<2x4x8x8xf16> -> tensor<2x4x4x4xf16>
  %s = dstc.softmax %c {axis = 3 : i64} : tensor<2x8x8x4xf32> -> tensor<2x8x8x4xf32>
  %g = dstc.conv2d %r, %k {groups = 2 : i64, spread = array<i64: 2, 1>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : tensor<2x4x8x8xf16>, tensor<6x2x1x1xf16> -> tensor<2x6x15x8xf16>
  %n = dstc.matmul %w2, %x {image = array<i64: 2, 8, 8>, window = #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>} : tensor<4x27xf16>, tensor<2x3x8x8xf16> -> tensor<2x4x8x8xf16>
  func.return %y : tensor<2x4x8x8xf16>
}

// CHECK:      %w = dstc.constant "conv1.weight" {density = 5.000000e-01 : f64} : tensor<4x3x3x3xf16>
// CHECK-NEXT: %y = dstc.conv2d %x, %w bias(%b) {dstc.source = ["conv1"], strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>, activation = #dstc<activation relu>}
// CHECK-SAME:   tensor<2x3x8x8xf16>, tensor<4x3x3x3xf16>, tensor<4xf32> -> tensor<2x4x8x8xf16>
// CHECK-NEXT: dstc.reshape %w : tensor<4x3x3x3xf16> -> tensor<4x27xf16>
// CHECK-NEXT: dstc.encode {{.*}} : tensor<4x27xf16> -> !dstc.bitmap<4x27xf16, a>
// CHECK-NEXT: dstc.decode {{.*}} : !dstc.bitmap<4x27xf16, a> -> tensor<4x27xf16>
// CHECK-NEXT: dstc.im2col %x {{.*}} -> !dstc.bitmap<27x128xf16, b>
// CHECK-NEXT: dstc.matmul %e, %i bias(%b) {bias_along = "m", image = array<i64: 2, 8, 8>,
// CHECK-SAME:   schedule = #dstc.schedule<dual, cta = 32x128, warp = 32x32, stages = 2, swap>
// CHECK-NEXT: dstc.add {{.*}} : tensor<2x4x8x8xf16>, tensor<2x4x1x1xf32> -> tensor<2x4x8x8xf32>
// CHECK-NEXT: dstc.relu {{.*}} : tensor<2x4x8x8xf32> -> tensor<2x4x8x8xf16>
// CHECK-NEXT: dstc.transpose {{.*}} {perm = array<i64: 0, 2, 3, 1>}
// CHECK-NEXT: dstc.cast {{.*}} : tensor<2x8x8x4xf16> -> tensor<2x8x8x4xf32>
// CHECK-NEXT: dstc.pool2d {{.*}} {kind = #dstc<pool average>, {{.*}}count_include_pad = true}
// CHECK-NEXT: dstc.softmax {{.*}} {axis = 3 : i64}
// CHECK-NEXT: dstc.conv2d {{.*}} {groups = 2 : i64, spread = array<i64: 2, 1>, strides =
// CHECK-NEXT: dstc.matmul {{.*}} {image = array<i64: 2, 8, 8>, window = #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>} : tensor<4x27xf16>, tensor<2x3x8x8xf16> -> tensor<2x4x8x8xf16>
