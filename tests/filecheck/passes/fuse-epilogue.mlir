// RUN: dstc-opt %s -p fuse-epilogue | filecheck %s

// A bias along n and a ReLU.
func.func @linear(%x: tensor<4x8xf32>, %w: tensor<8x16xf32>) -> tensor<4x16xf32> {
  %b = dstc.constant "b" : tensor<16xf32>
  %y = dstc.matmul %x, %w {dstc.source = ["product"]} : tensor<4x8xf32>, tensor<8x16xf32> -> tensor<4x16xf32>
  %z = dstc.add %b, %y {dstc.source = ["bias"]} : tensor<16xf32>, tensor<4x16xf32> -> tensor<4x16xf32>
  %r = dstc.relu %z {dstc.source = ["relu"]} : tensor<4x16xf32> -> tensor<4x16xf32>
  func.return %r : tensor<4x16xf32>
}
// CHECK-LABEL: @linear
// CHECK-NEXT:  %b = dstc.constant "b"
// CHECK-NEXT:  %r = dstc.matmul %x, %w bias(%b) {dstc.source = ["product", "bias", "relu"], bias_along = "n", activation = #dstc<activation relu>}
// CHECK-NEXT:  func.return %r

// A column is a bias along m.
func.func @column(%x: tensor<4x8xf32>, %w: tensor<8x16xf32>) -> tensor<4x16xf32> {
  %b = dstc.constant "b" : tensor<4x1xf32>
  %y = dstc.matmul %x, %w : tensor<4x8xf32>, tensor<8x16xf32> -> tensor<4x16xf32>
  %z = dstc.add %y, %b : tensor<4x16xf32>, tensor<4x1xf32> -> tensor<4x16xf32>
  func.return %z : tensor<4x16xf32>
}
// CHECK-LABEL: @column
// CHECK:       %[[V:.*]] = dstc.reshape %b : tensor<4x1xf32> -> tensor<4xf32>
// CHECK-NEXT:  dstc.matmul %x, %w bias(%[[V]]) {bias_along = "m"}

// One value a filter is the bias of a convolution.
func.func @conv(%x: tensor<1x3x4x4xf32>, %w: tensor<8x3x1x1xf32>) -> tensor<1x8x4x4xf32> {
  %b = dstc.constant "b" : tensor<8x1x1xf32>
  %y = dstc.conv2d %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : tensor<1x3x4x4xf32>, tensor<8x3x1x1xf32> -> tensor<1x8x4x4xf32>
  %z = dstc.add %y, %b : tensor<1x8x4x4xf32>, tensor<8x1x1xf32> -> tensor<1x8x4x4xf32>
  %r = dstc.relu %z : tensor<1x8x4x4xf32> -> tensor<1x8x4x4xf32>
  func.return %r : tensor<1x8x4x4xf32>
}
// CHECK-LABEL: @conv
// CHECK:       dstc.conv2d %x, %w bias(%{{.*}}) {{{.*}}activation = #dstc<activation relu>
// CHECK-NEXT:  func.return

// A ReLU behind a reshape goes in front of it.
func.func @behind_reshape(%x: tensor<4x8xf32>, %w: tensor<8x16xf32>) -> tensor<2x2x16xf32> {
  %y = dstc.matmul %x, %w : tensor<4x8xf32>, tensor<8x16xf32> -> tensor<4x16xf32>
  %s = dstc.reshape %y : tensor<4x16xf32> -> tensor<2x2x16xf32>
  %r = dstc.relu %s : tensor<2x2x16xf32> -> tensor<2x2x16xf32>
  func.return %r : tensor<2x2x16xf32>
}
// CHECK-LABEL: @behind_reshape
// CHECK-NEXT:  dstc.matmul %x, %w {activation = #dstc<activation relu>}
// CHECK-NEXT:  dstc.reshape

// A tensor of the same shape is a residual, behind the bias; of two products, the first takes the other.
func.func @residual(%x: tensor<4x8xf32>, %w: tensor<8x16xf32>, %r: tensor<4x16xf32>) -> tensor<4x16xf32> {
  %b = dstc.constant "b" : tensor<16xf32>
  %y = dstc.matmul %x, %w {dstc.source = ["one"]} : tensor<4x8xf32>, tensor<8x16xf32> -> tensor<4x16xf32>
  %z = dstc.add %y, %b : tensor<4x16xf32>, tensor<16xf32> -> tensor<4x16xf32>
  %s = dstc.add %r, %z {dstc.source = ["sum"]} : tensor<4x16xf32>, tensor<4x16xf32> -> tensor<4x16xf32>
  %a = dstc.relu %s : tensor<4x16xf32> -> tensor<4x16xf32>
  %p = dstc.matmul %x, %w : tensor<4x8xf32>, tensor<8x16xf32> -> tensor<4x16xf32>
  %q = dstc.matmul %x, %w : tensor<4x8xf32>, tensor<8x16xf32> -> tensor<4x16xf32>
  %t = dstc.add %p, %q : tensor<4x16xf32>, tensor<4x16xf32> -> tensor<4x16xf32>
  %u = dstc.add %t, %a : tensor<4x16xf32>, tensor<4x16xf32> -> tensor<4x16xf32>
  func.return %u : tensor<4x16xf32>
}
// CHECK-LABEL: @residual
// CHECK:       %a = dstc.matmul %x, %w bias(%b) residual(%r) {dstc.source = ["one", "sum"], bias_along = "n", activation = #dstc<activation relu>} : tensor<4x8xf32>, tensor<8x16xf32>, tensor<16xf32> + tensor<4x16xf32> -> tensor<4x16xf32>
// CHECK-NEXT:  %q = dstc.matmul
// CHECK-NEXT:  %t = dstc.matmul %x, %w residual(%q)
// CHECK-NEXT:  dstc.add %t, %a

// Added before the bias: the bias stays an addition, for the sums' order.
func.func @bias_last(%x: tensor<4x8xf32>, %w: tensor<8x16xf32>, %r: tensor<4x16xf32>) -> tensor<4x16xf32> {
  %b = dstc.constant "b" : tensor<16xf32>
  %y = dstc.matmul %x, %w : tensor<4x8xf32>, tensor<8x16xf32> -> tensor<4x16xf32>
  %z = dstc.add %y, %r : tensor<4x16xf32>, tensor<4x16xf32> -> tensor<4x16xf32>
  %s = dstc.add %z, %b : tensor<4x16xf32>, tensor<16xf32> -> tensor<4x16xf32>
  func.return %s : tensor<4x16xf32>
}
// CHECK-LABEL: @bias_last
// CHECK:       dstc.matmul %x, %w residual(%r)
// CHECK-NEXT:  dstc.add

// Not fused: another reader, a bias that is not constant, an addend that makes the result larger,
// a ReLU of a value that was rounded to f16.
func.func @kept(%x: tensor<1x8xf32>, %w: tensor<8x16xf32>, %v: tensor<16xf32>) -> (tensor<1x16xf32>, tensor<1x16xf32>, tensor<1x16xf32>, tensor<4x16xf32>, tensor<1x16xf32>) {
  %b = dstc.constant "b" : tensor<4x1xf32>
  %y = dstc.matmul %x, %w : tensor<1x8xf32>, tensor<8x16xf32> -> tensor<1x16xf32>
  %r = dstc.relu %y : tensor<1x16xf32> -> tensor<1x16xf32>
  %y2 = dstc.matmul %x, %w : tensor<1x8xf32>, tensor<8x16xf32> -> tensor<1x16xf32>
  %z = dstc.add %y2, %v : tensor<1x16xf32>, tensor<16xf32> -> tensor<1x16xf32>
  %y3 = dstc.matmul %x, %w : tensor<1x8xf32>, tensor<8x16xf32> -> tensor<1x16xf32>
  %z3 = dstc.add %y3, %b : tensor<1x16xf32>, tensor<4x1xf32> -> tensor<4x16xf32>
  %y4 = dstc.matmul %x, %w : tensor<1x8xf32>, tensor<8x16xf32> -> tensor<1x16xf16>
  %r4 = dstc.relu %y4 : tensor<1x16xf16> -> tensor<1x16xf32>
  func.return %y, %r, %z, %z3, %r4 : tensor<1x16xf32>, tensor<1x16xf32>, tensor<1x16xf32>, tensor<4x16xf32>, tensor<1x16xf32>
}
// CHECK-LABEL: @kept
// CHECK:       dstc.matmul %x, %w :
// CHECK-NEXT:  dstc.relu
// CHECK-NEXT:  dstc.matmul %x, %w :
// CHECK-NEXT:  dstc.add
// CHECK-NEXT:  dstc.matmul %x, %w :
// CHECK-NEXT:  dstc.add
// CHECK-NEXT:  dstc.matmul %x, %w :
// CHECK-NEXT:  dstc.relu
