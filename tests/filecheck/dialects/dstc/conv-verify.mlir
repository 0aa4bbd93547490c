// RUN: dstc-opt %s --split-input-file --verify-diagnostics

func.func @groups(%x: tensor<1x4x8x8xf16>, %w: tensor<5x2x1x1xf16>) {
  // expected-error@below {{5 filters do not fall into 2 groups}}
  %y = dstc.conv2d %x, %w {groups = 2 : i64, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : tensor<1x4x8x8xf16>, tensor<5x2x1x1xf16> -> tensor<1x5x8x8xf16>
  func.return
}

// -----

func.func @groups_alone(%a: tensor<4x4xf16>, %b: tensor<4x4xf16>) {
  // expected-error@below {{groups are for products on windows of an image}}
  %y = dstc.matmul %a, %b {groups = 2 : i64} : tensor<4x4xf16>, tensor<4x4xf16> -> tensor<4x4xf16>
  func.return
}

// -----

func.func @image(%w: tensor<4x4xf16>, %x: tensor<1x4x8x8xf16>) {
  // expected-error@below {{image must be [1, 4, 4]}}
  %y = dstc.matmul %w, %x {window = #dstc.window<[1, 1], strides = [2, 2], pads = [0, 0, 0, 0], dilations = [1, 1]>} : tensor<4x4xf16>, tensor<1x4x8x8xf16> -> tensor<1x4x4x4xf16>
  func.return
}

// -----

func.func @depth(%w: tensor<4x5xf16>, %x: tensor<1x4x8x8xf16>) {
  // expected-error@below {{lhs has 5 columns, but rhs has 4 rows}}
  %y = dstc.matmul %w, %x {image = array<i64: 1, 8, 8>, window = #dstc.window<[1, 1], strides = [1, 1], pads = [0, 0, 0, 0], dilations = [1, 1]>} : tensor<4x5xf16>, tensor<1x4x8x8xf16> -> tensor<1x4x8x8xf16>
  func.return
}

// -----

func.func @window(%w: tensor<4x4xf16>, %x: tensor<1x4x8x8xf16>) {
  // expected-error@below {{strides must be positive}}
  %y = dstc.matmul %w, %x {image = array<i64: 1, 8, 8>, window = #dstc.window<[1, 1], strides = [0, 1], pads = [0, 0, 0, 0], dilations = [1, 1]>} : tensor<4x4xf16>, tensor<1x4x8x8xf16> -> tensor<1x4x8x8xf16>
  func.return
}
