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

// So does the dual engine's, on an encoded image; not on a machine without loads of runs, and not
// where a window is one element, or CTAs take turns.
func.func @dual(%w: tensor<4x18xf16>, %x: tensor<1x2x8x8xf16>) -> tensor<1x4x8x8xf16> {
  %y = dstc.matmul %w, %x {image = array<i64: 1, 8, 8>, window = #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>, schedule = #dstc.schedule<dual, cta = 32x32, warp = 32x32, stages = 4>} : tensor<4x18xf16>, tensor<1x2x8x8xf16> -> tensor<1x4x8x8xf16>
  func.return %y : tensor<1x4x8x8xf16>
}
// CHECK-LABEL: @dual
// CHECK-NEXT:  dstc.matmul %w, %x {{.*}} window =
// EXPLICIT-LABEL: @dual
// EXPLICIT-NEXT:  %columns = dstc.im2col %x
// EXPLICIT-NEXT:  dstc.matmul %w, %columns

func.func @point(%w: tensor<4x2xf16>, %x: tensor<1x2x8x8xf16>) -> tensor<1x4x8x8xf16> {
  %y = dstc.matmul %w, %x {image = array<i64: 1, 8, 8>, window = #dstc.window<[1, 1], strides = [1, 1], pads = [0, 0, 0, 0], dilations = [1, 1]>, schedule = #dstc.schedule<dual, cta = 32x32, warp = 32x32, stages = 4>} : tensor<4x2xf16>, tensor<1x2x8x8xf16> -> tensor<1x4x8x8xf16>
  func.return %y : tensor<1x4x8x8xf16>
}
// CHECK-LABEL: @point
// CHECK-NEXT:  %columns = dstc.im2col %x
// CHECK-NEXT:  dstc.matmul %w, %columns

func.func @turns(%w: tensor<4x18xf16>, %x: tensor<1x2x8x8xf16>) -> tensor<1x4x8x8xf16> {
  %y = dstc.matmul %w, %x {image = array<i64: 1, 8, 8>, window = #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>, schedule = #dstc.schedule<dual, cta = 32x32, warp = 32x32, stages = 4, ctas = 1>} : tensor<4x18xf16>, tensor<1x2x8x8xf16> -> tensor<1x4x8x8xf16>
  func.return %y : tensor<1x4x8x8xf16>
}
// CHECK-LABEL: @turns
// CHECK-NEXT:  %columns = dstc.im2col %x
