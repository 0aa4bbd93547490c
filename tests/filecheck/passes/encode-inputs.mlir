// RUN: dstc-opt %s -p encode-inputs | filecheck %s

// An argument that is only encoded arrives encoded; one with another reader, or encoded on both
// sides, or that is no argument, stays.
func.func @main(%x: tensor<8x8xf16>, %w: tensor<8x8xf16>, %v: tensor<8x8xf16>) -> (!dstc.bitmap<8x8xf16, a>, !dstc.bitmap<8x8xf16, b>, !dstc.bitmap<8x8xf16, a>, !dstc.bitmap<8x8xf16, b>, tensor<8x8xf16>, !dstc.bitmap<8x8xf16, a>) {
  %a = dstc.encode %x : tensor<8x8xf16> -> !dstc.bitmap<8x8xf16, a>
  %b = dstc.encode %w : tensor<8x8xf16> -> !dstc.bitmap<8x8xf16, b>
  %c = dstc.encode %v : tensor<8x8xf16> -> !dstc.bitmap<8x8xf16, a>
  %d = dstc.encode %v : tensor<8x8xf16> -> !dstc.bitmap<8x8xf16, b>
  %r = dstc.relu %v : tensor<8x8xf16> -> tensor<8x8xf16>
  %e = dstc.encode %r : tensor<8x8xf16> -> !dstc.bitmap<8x8xf16, a>
  func.return %a, %b, %c, %d, %r, %e : !dstc.bitmap<8x8xf16, a>, !dstc.bitmap<8x8xf16, b>, !dstc.bitmap<8x8xf16, a>, !dstc.bitmap<8x8xf16, b>, tensor<8x8xf16>, !dstc.bitmap<8x8xf16, a>
}
// CHECK:      func.func @main(%x: !dstc.bitmap<8x8xf16, a>, %w: !dstc.bitmap<8x8xf16, b>, %v: tensor<8x8xf16>)
// CHECK-NEXT: %c = dstc.encode %v
// CHECK-NEXT: %d = dstc.encode %v
// CHECK-NEXT: %r = dstc.relu %v
// CHECK-NEXT: %e = dstc.encode %r
// CHECK-NEXT: func.return %x, %w, %c, %d, %r, %e

// The transpose of an argument: the caller turns it over.
func.func @turned(%x: tensor<8x16xf16>) -> !dstc.bitmap<16x8xf16, a> {
  %t = dstc.transpose %x {perm = array<i64: 1, 0>} : tensor<8x16xf16> -> tensor<16x8xf16>
  %a = dstc.encode %t : tensor<16x8xf16> -> !dstc.bitmap<16x8xf16, a>
  func.return %a : !dstc.bitmap<16x8xf16, a>
}
// CHECK:      func.func @turned(%x: !dstc.bitmap<16x8xf16, a>)
// CHECK-NEXT: func.return %x
