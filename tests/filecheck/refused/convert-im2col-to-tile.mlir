// RUN: dstc-opt %s -p convert-im2col-to-tile --split-input-file --verify-diagnostics

func.func @large(%x: tensor<1x1x64x64xf16>) -> tensor<4096x1xf16> {
  // expected-error@below {{a kernel of 64x64 is too large; the largest is}}
  %y = dstc.im2col %x {kernel = array<i64: 64, 64>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : tensor<1x1x64x64xf16> -> tensor<4096x1xf16>
  func.return %y : tensor<4096x1xf16>
}
