// RUN: dstc-opt %s -p convert-im2col-to-tile | filecheck %s
// RUN: dstc-opt %s -p "convert-im2col-to-tile{machine=v100}" | filecheck %s

func.func @main(%x: tensor<2x3x9x9xf16>) -> (tensor<27x162xf16>, !dstc.bitmap<27x162xf16, b>) {
  %d = dstc.im2col %x {dstc.source = ["conv1"], kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>} : tensor<2x3x9x9xf16> -> tensor<27x162xf16>
  %b = dstc.im2col %x {dstc.source = ["conv1"], kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>} : tensor<2x3x9x9xf16> -> !dstc.bitmap<27x162xf16, b>
  func.return %d, %b : tensor<27x162xf16>, !dstc.bitmap<27x162xf16, b>
}
// CHECK-LABEL: @main
// CHECK-NEXT:  %d = dstc_tile.launch @conv1_im2col(%x) {dstc.source = ["conv1"], op = "im2col"} : (tensor<2x3x9x9xf16>) -> tensor<27x162xf16>
// CHECK-NEXT:  %b = dstc_tile.launch @conv1_im2col_1(%x) {dstc.source = ["conv1"], op = "im2col"} : (tensor<2x3x9x9xf16>) -> !dstc.bitmap<27x162xf16, b>

// Dense: 16 loads, then 16 stores, whatever lies outside the image being zero.
// CHECK-LABEL: dstc_tile.kernel @conv1_im2col ["x", "y"] grid = [2, 2, 1], warps = 4
// CHECK:       dstc_tile.shuffle
// CHECK:       dstc_tile.load global {{.*}} bits 16 if
// CHECK-NOT:   dstc_tile.ballot
// CHECK:       dstc_tile.store global {{.*}} bits 16 if
// CHECK:       dstc_tile.return

// Encoding on the fly.
// CHECK-LABEL: dstc_tile.kernel @conv1_im2col_1 ["x", "y"]
// CHECK:       dstc_tile.shuffle
// CHECK:       dstc_tile.load global {{.*}} bits 16 if
// CHECK:       dstc_tile.ballot
// CHECK:       dstc_tile.store global {{.*}} bits 16 if
// CHECK:       dstc_tile.return
