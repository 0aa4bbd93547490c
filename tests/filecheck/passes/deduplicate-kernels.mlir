// RUN: dstc-opt %s -p convert-elementwise-to-tile,deduplicate-kernels | filecheck %s

// Two ReLUs of one shape are one kernel, launched twice; a third of another shape is its own.
// CHECK:      %a = dstc_tile.launch @first_relu(%x)
// CHECK-NEXT: %b = dstc_tile.launch @first_relu(%a)
// CHECK-NEXT: %c = dstc_tile.launch @third_relu(%z)
// CHECK:      dstc_tile.kernel @first_relu
// CHECK-NOT:  dstc_tile.kernel @second_relu
// CHECK:      dstc_tile.kernel @third_relu
func.func @main(%x: tensor<4x32xf16>, %z: tensor<5x32xf16>) -> (tensor<4x32xf16>, tensor<5x32xf16>) {
  %a = dstc.relu %x {dstc.source = ["first"]} : tensor<4x32xf16> -> tensor<4x32xf16>
  %b = dstc.relu %a {dstc.source = ["second"]} : tensor<4x32xf16> -> tensor<4x32xf16>
  %c = dstc.relu %z {dstc.source = ["third"]} : tensor<5x32xf16> -> tensor<5x32xf16>
  func.return %b, %c : tensor<4x32xf16>, tensor<5x32xf16>
}
