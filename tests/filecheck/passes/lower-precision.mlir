// RUN: python3 -c "import numpy as np; np.savez(r'%t.npz', w=np.eye(8, 16, dtype='f'), big=np.full((8, 16), 1e6, 'f'))"
// RUN: dstc-opt %s --constants %t.npz -p lower-precision | filecheck %s

// Arguments, weights and values between ops in f16; the bias and the result in f32.
func.func @main(%x: tensor<4x8xf32>) -> tensor<4x16xf32> {
  %w = dstc.constant "w" : tensor<8x16xf32>
  %b = dstc.constant "b" : tensor<16xf32>
  %y = dstc.matmul %x, %w bias(%b) {bias_along = "n"} : tensor<4x8xf32>, tensor<8x16xf32>, tensor<16xf32> -> tensor<4x16xf32>
  %r = dstc.relu %y : tensor<4x16xf32> -> tensor<4x16xf32>
  %t = dstc.transpose %r {perm = array<i64: 1, 0>} : tensor<4x16xf32> -> tensor<16x4xf32>
  %z = dstc.matmul %r, %t : tensor<4x16xf32>, tensor<16x4xf32> -> tensor<4x4xf32>
  %f = dstc.reshape %z : tensor<4x4xf32> -> tensor<16xf32>
  %s = dstc.softmax %f {axis = 0 : i64} : tensor<16xf32> -> tensor<16xf32>
  %a = dstc.add %r, %s : tensor<4x16xf32>, tensor<16xf32> -> tensor<4x16xf32>
  func.return %a : tensor<4x16xf32>
}
// CHECK-LABEL: @main
// CHECK-SAME:    (%x: tensor<4x8xf16>) -> tensor<4x16xf32> attributes {dstc.input_types = ["float32"], dstc.output_types = ["float32"]}
// CHECK-NEXT:  %w = dstc.constant "w.f16" : tensor<8x16xf16>
// CHECK-NEXT:  %b = dstc.constant "b" : tensor<16xf32>
// CHECK-NEXT:  %y = dstc.matmul %x, %w bias(%b) {{.*}} : tensor<4x8xf16>, tensor<8x16xf16>, tensor<16xf32> -> tensor<4x16xf16>
// CHECK-NEXT:  %r = dstc.relu %y : tensor<4x16xf16> -> tensor<4x16xf16>
// CHECK-NEXT:  %t = dstc.transpose %r {{.*}} -> tensor<16x4xf16>
// CHECK-NEXT:  %z = dstc.matmul %r, %t : tensor<4x16xf16>, tensor<16x4xf16> -> tensor<4x4xf32>
// CHECK-NEXT:  %f = dstc.reshape %z : tensor<4x4xf32> -> tensor<16xf32>
// CHECK-NEXT:  %s = dstc.softmax %f {{.*}} : tensor<16xf32> -> tensor<16xf16>
// CHECK-NEXT:  dstc.add %r, %s : tensor<4x16xf16>, tensor<16xf16> -> tensor<4x16xf32>

// A result that a product also reads: f32, and a cast for the product. An argument that is a result: a cast.
func.func @casts(%x: tensor<4x4xf32>) -> (tensor<4x4xf32>, tensor<4x4xf32>, tensor<16xf32>) {
  %y = dstc.matmul %x, %x : tensor<4x4xf32>, tensor<4x4xf32> -> tensor<4x4xf32>
  %z = dstc.matmul %y, %x : tensor<4x4xf32>, tensor<4x4xf32> -> tensor<4x4xf32>
  %f = dstc.reshape %x : tensor<4x4xf32> -> tensor<16xf32>
  %t = dstc.add %z, %x : tensor<4x4xf32>, tensor<4x4xf32> -> tensor<4x4xf32>
  func.return %y, %x, %f : tensor<4x4xf32>, tensor<4x4xf32>, tensor<16xf32>
}
// CHECK-LABEL: @casts
// CHECK-NEXT:  %y = dstc.matmul %x, %x : tensor<4x4xf16>, tensor<4x4xf16> -> tensor<4x4xf32>
// CHECK-NEXT:  %[[Y:.*]] = dstc.cast %y : tensor<4x4xf32> -> tensor<4x4xf16>
// CHECK-NEXT:  dstc.matmul %[[Y]], %x : {{.*}} -> tensor<4x4xf16>
// CHECK-NEXT:  %[[X:.*]] = dstc.cast %x : tensor<4x4xf16> -> tensor<4x4xf32>
// CHECK-NEXT:  %f = dstc.reshape %[[X]] : tensor<4x4xf32> -> tensor<16xf32>
// CHECK-NEXT:  dstc.add {{.*}} -> tensor<4x4xf16>
// CHECK-NEXT:  %[[R:.*]] = dstc.cast %x : tensor<4x4xf16> -> tensor<4x4xf32>
// CHECK-NEXT:  func.return %y, %[[R]], %f

// A bias stays f32 behind a reshape; one that is an argument is cast back.
func.func @biases(%x: tensor<4x8xf32>, %v: tensor<16xf32>) -> tensor<4x16xf32> {
  %w = dstc.constant "w" : tensor<8x16xf32>
  %c = dstc.constant "c" : tensor<1x16xf32>
  %b = dstc.reshape %c : tensor<1x16xf32> -> tensor<16xf32>
  %y = dstc.matmul %x, %w bias(%b) {bias_along = "n"} : tensor<4x8xf32>, tensor<8x16xf32>, tensor<16xf32> -> tensor<4x16xf32>
  %z = dstc.matmul %x, %w bias(%v) {bias_along = "n"} : tensor<4x8xf32>, tensor<8x16xf32>, tensor<16xf32> -> tensor<4x16xf32>
  %a = dstc.add %y, %z : tensor<4x16xf32>, tensor<4x16xf32> -> tensor<4x16xf32>
  func.return %a : tensor<4x16xf32>
}
// CHECK-LABEL: @biases
// CHECK:       %b = dstc.reshape %c : tensor<1x16xf32> -> tensor<16xf32>
// CHECK-NEXT:  dstc.matmul %x, {{.*}} bias(%b) {{.*}}, tensor<16xf32> -> tensor<4x16xf16>
// CHECK-NEXT:  %[[V:.*]] = dstc.cast %v : tensor<16xf16> -> tensor<16xf32>
// CHECK-NEXT:  dstc.matmul %x, {{.*}} bias(%[[V]]) {{.*}}, tensor<16xf32> -> tensor<4x16xf16>
