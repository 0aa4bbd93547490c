// RUN: dstc-opt %s -p materialize-im2col | filecheck %s
// RUN: dstc-opt %s -p 'materialize-im2col{lowering=explicit}' | filecheck %s --check-prefix EXPLICIT

// The dense engine's kernel forms windows itself.
func.func @dense(%w: tensor<4x18xf16>, %x: tensor<1x2x8x8xf16>) -> tensor<1x4x8x8xf16> {
  %y = dstc.matmul %w, %x {image = array<i64: 1, 8, 8>, window = #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>, schedule = #dstc.schedule<dense, cta = 32x32, warp = 16x16, stages = 2>, dstc.source = ["conv1"]} : tensor<4x18xf16>, tensor<1x2x8x8xf16> -> tensor<1x4x8x8xf16>
  func.return %y : tensor<1x4x8x8xf16>
}
// CHECK-LABEL: @dense
// CHECK-NEXT:  dstc.matmul %w, %x {{.*}} window = #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>
// EXPLICIT-LABEL: @dense
// EXPLICIT-NEXT:  %columns = dstc.im2col %x {dstc.source = ["conv1"], kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>} : tensor<1x2x8x8xf16> -> tensor<18x64xf16>
// EXPLICIT-NEXT:  dstc.matmul %w, %columns {{.*}} : tensor<4x18xf16>, tensor<18x64xf16> -> tensor<1x4x8x8xf16>

// The dual engine takes a lowered matrix, which its im2col encodes later on.
func.func @dual(%w: tensor<4x18xf16>, %x: tensor<1x2x8x8xf16>) -> tensor<1x4x8x8xf16> {
  %y = dstc.matmul %w, %x {image = array<i64: 1, 8, 8>, window = #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>, schedule = #dstc.schedule<dual, cta = 32x32, warp = 32x32, stages = 4>} : tensor<4x18xf16>, tensor<1x2x8x8xf16> -> tensor<1x4x8x8xf16>
  func.return %y : tensor<1x4x8x8xf16>
}
// CHECK-LABEL: @dual
// CHECK-NEXT:  %columns = dstc.im2col %x
// CHECK-NEXT:  dstc.matmul %w, %columns
