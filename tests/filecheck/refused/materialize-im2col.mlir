// RUN: dstc-opt %s -p 'materialize-im2col{lowering=explicit}' --split-input-file --verify-diagnostics
// RUN: not dstc-opt %s --split-input-file -p 'materialize-im2col{lowering=quick}' 2>&1 | filecheck %s --check-prefix LOWERING

func.func @groups(%w: tensor<4x18xf16>, %x: tensor<1x4x8x8xf16>) -> tensor<1x4x8x8xf32> {
  // expected-error@below {{groups have no lowered matrix; use --engine dense and --lowering implicit}}
  %y = dstc.matmul %w, %x {groups = 2 : i64, image = array<i64: 1, 8, 8>, window = #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>, schedule = #dstc.schedule<dense, cta = 32x32, warp = 32x32, stages = 2>} : tensor<4x18xf16>, tensor<1x4x8x8xf16> -> tensor<1x4x8x8xf32>
  func.return %y : tensor<1x4x8x8xf32>
}

// LOWERING: lowering 'quick' is not known; use implicit or explicit
