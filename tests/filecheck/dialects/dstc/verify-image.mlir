// RUN: dstc-opt %s --split-input-file --verify-diagnostics

// expected-error@below {{an image has four positive sizes, not [4, 8, 8]}}
func.func @sizes(%x: !dstc.image<4x8x8xf16, #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>>) {
  func.return
}

// -----

// expected-error@below {{the window does not fit the image}}
func.func @window(%x: !dstc.image<1x4x8x8xf16, #dstc.window<[9, 9], strides = [1, 1], pads = [0, 0, 0, 0], dilations = [1, 1]>>) {
  func.return
}

// -----

// expected-error@below {{an image that is spread out has no encoded form}}
func.func @spread(%x: !dstc.image<1x4x8x8xf16, #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1], spread = [2, 2]>>) {
  func.return
}

// -----

func.func @window(%w: tensor<4x18xf16>, %x: !dstc.image<1x2x8x8xf16, #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>>) {
  // expected-error@below {{rhs is encoded for #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1]}}
  %y = dstc.matmul %w, %x {image = array<i64: 1, 6, 6>, window = #dstc.window<[3, 3], strides = [1, 1], pads = [0, 0, 0, 0], dilations = [1, 1]>} : tensor<4x18xf16>, !dstc.image<1x2x8x8xf16, #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>> -> tensor<1x4x6x6xf16>
  func.return
}

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 0 {
^bb0(%x: i32):
  // expected-error@below {{runs of low lanes are 8 registers of i32, not vector<16xi32>}}
  %v = dstc_tile.load_runs low %x, %x : vector<16xi32>
  dstc_tile.return
}

// -----

func.func @no_window(%a: tensor<16x72xf16>, %b: tensor<72x392xf16>) {
  // expected-error@below {{an encoded image is the result of a product on windows}}
  %y = dstc.matmul %a, %b {image = array<i64: 2, 14, 14>} : tensor<16x72xf16>, tensor<72x392xf16> -> !dstc.image<2x16x14x14xf16, #dstc.window<[3, 3], strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]>>
  func.return
}
