// RUN: dstc-opt %s -p convert-encode-to-tile | filecheck %s
// RUN: dstc-opt %s -p "convert-encode-to-tile{machine=dstc}" | filecheck %s

func.func @main(%x: tensor<300x40xf16>) -> (!dstc.bitmap<300x40xf16, a>, !dstc.bitmap<300x40xf16, b>, !dstc.bitmap<32x32xf16, a>) {
  %a = dstc.encode %x {dstc.source = ["fc/1"]} : tensor<300x40xf16> -> !dstc.bitmap<300x40xf16, a>
  %b = dstc.encode %x {dstc.source = ["fc/1"]} : tensor<300x40xf16> -> !dstc.bitmap<300x40xf16, b>
  %w = dstc.constant "w" : tensor<32x32xf16>
  %c = dstc.encode %w : tensor<32x32xf16> -> !dstc.bitmap<32x32xf16, a>
  func.return %a, %b, %c : !dstc.bitmap<300x40xf16, a>, !dstc.bitmap<300x40xf16, b>, !dstc.bitmap<32x32xf16, a>
}
// Launches with fresh names; a constant is encoded ahead of time.
// CHECK-LABEL: @main
// CHECK-NEXT:  %a = dstc_tile.launch @fc_1_encode(%x) {dstc.source = ["fc/1"], op = "encode"} : (tensor<300x40xf16>) -> !dstc.bitmap<300x40xf16, a>
// CHECK-NEXT:  %b = dstc_tile.launch @fc_1_encode_1(%x) {dstc.source = ["fc/1"], op = "encode"} : (tensor<300x40xf16>) -> !dstc.bitmap<300x40xf16, b>
// CHECK-NEXT:  %w = dstc.constant "w"
// CHECK-NEXT:  %c = dstc.encode %w
// CHECK-NEXT:  func.return %a, %b, %c

// Per depth a load under a predicate, a ballot, the place by the lanes below, a store of what is not zero.
// CHECK-LABEL: dstc_tile.kernel @fc_1_encode ["x", "y"]
// CHECK:       ^{{.*}}(%x: i32, %y: i32):
// CHECK:       dstc_tile.load global {{.*}} bits 16 if
// CHECK:       dstc_tile.ballot
// CHECK:       dstc_tile.popcount
// CHECK:       dstc_tile.store global {{.*}} bits 16 if
// CHECK:       dstc_tile.return
// CHECK-LABEL: dstc_tile.kernel @fc_1_encode_1 ["x", "y"]
