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
