// RUN: dstc-opt %s -p fuse-encode | filecheck %s

// Both kernels on windows write the image that a window of the same pitch takes; the dense one any image.
func.func @products(%w: !dstc.bitmap<16x72xf16, a>, %x: !dstc.image<2x8x14x14xf16, #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>>, %v: tensor<16x72xf16>, %z: tensor<2x8x14x14xf16>) -> (!dstc.image<2x16x14x14xf16, #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>>, !dstc.image<2x16x14x14xf16, #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>>, !dstc.image<2x16x14x14xf16, #dstc.window<[3, 3], strides = [2, 2], pads = [1, 1, 1, 1], dilations = [1, 1]>>) {
  %a = dstc.matmul %w, %x {activation = #dstc<activation relu>, image = array<i64: 2, 14, 14>, window = #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>, schedule = #dstc.schedule<dual, cta = 64x64, warp = 64x64, stages = 4>} : !dstc.bitmap<16x72xf16, a>, !dstc.image<2x8x14x14xf16, #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>> -> tensor<2x16x14x14xf16>
  %ea = dstc.encode %a : tensor<2x16x14x14xf16> -> !dstc.image<2x16x14x14xf16, #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>>
  %b = dstc.matmul %v, %z {activation = #dstc<activation relu>, image = array<i64: 2, 14, 14>, window = #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>, schedule = #dstc.schedule<dense, cta = 64x64, warp = 32x32, stages = 2>} : tensor<16x72xf16>, tensor<2x8x14x14xf16> -> tensor<2x16x14x14xf16>
  %eb = dstc.encode %b : tensor<2x16x14x14xf16> -> !dstc.image<2x16x14x14xf16, #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>>
  %c = dstc.matmul %v, %z {activation = #dstc<activation relu>, image = array<i64: 2, 14, 14>, window = #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>, schedule = #dstc.schedule<dense, cta = 64x64, warp = 32x32, stages = 2>} : tensor<16x72xf16>, tensor<2x8x14x14xf16> -> tensor<2x16x14x14xf16>
  %ec = dstc.encode %c : tensor<2x16x14x14xf16> -> !dstc.image<2x16x14x14xf16, #dstc.window<[3, 3], strides = [2, 2], pads = [1, 1, 1, 1], dilations = [1, 1]>>
  func.return %ea, %eb, %ec : !dstc.image<2x16x14x14xf16, #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>>, !dstc.image<2x16x14x14xf16, #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>>, !dstc.image<2x16x14x14xf16, #dstc.window<[3, 3], strides = [2, 2], pads = [1, 1, 1, 1], dilations = [1, 1]>>
}
// CHECK-LABEL: @products
// CHECK-NEXT:  %ea = dstc.matmul {{.*}}schedule = #dstc.schedule<dual, {{.*}} -> !dstc.image<2x16x14x14xf16
// CHECK-NEXT:  %eb = dstc.matmul {{.*}}schedule = #dstc.schedule<dense, {{.*}} -> !dstc.image<2x16x14x14xf16
// CHECK-NEXT:  %ec = dstc.matmul {{.*}}schedule = #dstc.schedule<dense, {{.*}} -> !dstc.image<2x16x14x14xf16, #dstc.window<[3, 3], strides = [2, 2]
// CHECK-NEXT:  func.return

// Vectors of pixels are no words of an image with strides; parts of a split product are added up by themselves.
func.func @by_themselves(%w: !dstc.bitmap<16x72xf16, a>, %x: !dstc.image<2x8x14x14xf16, #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>>, %v: tensor<16x72xf16>, %z: tensor<2x8x14x14xf16>) -> (!dstc.image<2x16x14x14xf16, #dstc.window<[3, 3], strides = [2, 2], pads = [1, 1, 1, 1], dilations = [1, 1]>>, !dstc.image<2x16x14x14xf16, #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>>) {
  %a = dstc.matmul %w, %x {activation = #dstc<activation relu>, image = array<i64: 2, 14, 14>, window = #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>, schedule = #dstc.schedule<dual, cta = 64x64, warp = 64x64, stages = 4>} : !dstc.bitmap<16x72xf16, a>, !dstc.image<2x8x14x14xf16, #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>> -> tensor<2x16x14x14xf16>
  %ea = dstc.encode %a : tensor<2x16x14x14xf16> -> !dstc.image<2x16x14x14xf16, #dstc.window<[3, 3], strides = [2, 2], pads = [1, 1, 1, 1], dilations = [1, 1]>>
  %b = dstc.matmul %v, %z {activation = #dstc<activation relu>, image = array<i64: 2, 14, 14>, window = #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>, schedule = #dstc.schedule<dense, cta = 64x64, warp = 32x32, stages = 2, split = 2>} : tensor<16x72xf16>, tensor<2x8x14x14xf16> -> tensor<2x16x14x14xf16>
  %eb = dstc.encode %b : tensor<2x16x14x14xf16> -> !dstc.image<2x16x14x14xf16, #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>>
  func.return %ea, %eb : !dstc.image<2x16x14x14xf16, #dstc.window<[3, 3], strides = [2, 2], pads = [1, 1, 1, 1], dilations = [1, 1]>>, !dstc.image<2x16x14x14xf16, #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>>
}
// CHECK-LABEL: @by_themselves
// CHECK:       %ea = dstc.encode %a
// CHECK:       %eb = dstc.encode %b

// A pooling computes what it encodes, also through a reshape.
func.func @groups(%x: tensor<2x16x14x14xf16>, %y: tensor<2x16x14x14xf16>) -> (!dstc.image<2x16x7x7xf16, #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>>, !dstc.bitmap<2x784xf16, a>) {
  %p = dstc.pool2d %x {kind = #dstc<pool max>, kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : tensor<2x16x14x14xf16> -> tensor<2x16x7x7xf16>
  %e = dstc.encode %p : tensor<2x16x7x7xf16> -> !dstc.image<2x16x7x7xf16, #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>>
  %q = dstc.pool2d %y {kind = #dstc<pool max>, kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : tensor<2x16x14x14xf16> -> tensor<2x16x7x7xf16>
  %r = dstc.reshape %q : tensor<2x16x7x7xf16> -> tensor<2x784xf16>
  %f = dstc.encode %r : tensor<2x784xf16> -> !dstc.bitmap<2x784xf16, a>
  func.return %e, %f : !dstc.image<2x16x7x7xf16, #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>>, !dstc.bitmap<2x784xf16, a>
}
// CHECK-LABEL: @groups
// CHECK-NEXT:  %e = dstc.fused(%x) : {{.*}} -> !dstc.image<2x16x7x7xf16, {{.*}} {
// CHECK:         dstc.pool2d
// CHECK-NEXT:    %[[E:.*]] = dstc.encode
// CHECK-NEXT:    dstc.yield %[[E]]
// CHECK:       %f = dstc.fused(%y) : {{.*}} -> !dstc.bitmap<2x784xf16, a> {
// CHECK:         dstc.pool2d
// CHECK-NEXT:    dstc.reshape
// CHECK-NEXT:    dstc.encode
// CHECK-NOT:   dstc.encode
// CHECK:       func.return %e, %f

// What was decoded is there still encoded.
func.func @pair(%x: !dstc.image<2x16x14x14xf16, #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>>) -> !dstc.image<2x16x14x14xf16, #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>> {
  %d = dstc.decode %x : !dstc.image<2x16x14x14xf16, #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>> -> tensor<2x16x14x14xf16>
  %e = dstc.encode %d : tensor<2x16x14x14xf16> -> !dstc.image<2x16x14x14xf16, #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>>
  func.return %e : !dstc.image<2x16x14x14xf16, #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>>
}
// CHECK-LABEL: @pair
// CHECK-NEXT:  func.return %x
