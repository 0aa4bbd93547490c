// RUN: dstc-opt %s -p convert-elementwise-to-tile | filecheck %s

func.func @main(%x: tensor<6x32xf16>, %b: tensor<32xf32>) -> (tensor<6x32xf32>, tensor<32x6xf16>, tensor<12x16xf16>, tensor<6x4x8xf16>, tensor<32xf16>) {
  %a = dstc.add %x, %b {dstc.source = ["bias"]} : tensor<6x32xf16>, tensor<32xf32> -> tensor<6x32xf32>
  %r = dstc.relu %a : tensor<6x32xf32> -> tensor<6x32xf32>
  %t = dstc.transpose %x {perm = array<i64: 1, 0>} : tensor<6x32xf16> -> tensor<32x6xf16>
  %s = dstc.reshape %x : tensor<6x32xf16> -> tensor<12x16xf16>
  %q = dstc.reshape %x : tensor<6x32xf16> -> tensor<6x4x8xf16>
  %c = dstc.cast %b : tensor<32xf32> -> tensor<32xf16>
  func.return %r, %t, %s, %q, %c : tensor<6x32xf32>, tensor<32x6xf16>, tensor<12x16xf16>, tensor<6x4x8xf16>, tensor<32xf16>
}
// A reshape whose two shapes lie in memory alike moves nothing.
// CHECK-LABEL: @main
// CHECK-NEXT:  %a = dstc_tile.launch @bias_add(%x, %b) {dstc.source = ["bias"], op = "add"}
// CHECK-NEXT:  %r = dstc_tile.launch @relu(%a)
// CHECK-NEXT:  %t = dstc_tile.launch @transpose(%x)
// CHECK-NEXT:  %s = dstc_tile.launch @reshape(%x)
// CHECK-NEXT:  %q = dstc.reshape %x
// CHECK-NEXT:  %c = dstc_tile.launch @cast(%b)

// 192 elements: two CTAs of 128 lanes, the second half full.
// CHECK-LABEL: dstc_tile.kernel @bias_add ["x0", "x1", "y"] grid = [2, 1, 1], warps = 4
// CHECK:       arith.cmpi ult
// CHECK:       dstc_tile.load global {{.*}} bits 16 if
// CHECK:       dstc_tile.unpack
// CHECK:       dstc_tile.load global {{.*}} if {{.*}} : f32
// CHECK:       arith.addf
// CHECK:       dstc_tile.store global {{.*}} if {{.*}} : f32
// CHECK-LABEL: dstc_tile.kernel @relu ["x0", "y"]
// CHECK:       arith.maximumf
// CHECK-LABEL: dstc_tile.kernel @transpose
// CHECK-LABEL: dstc_tile.kernel @reshape
// CHECK-LABEL: dstc_tile.kernel @cast
// CHECK:       dstc_tile.pack
// CHECK:       dstc_tile.store global {{.*}} bits 16

// A full last CTA needs no predicate. What only constants go into is left for folding.
func.func @full(%x: tensor<4x32xf32>) -> (tensor<4x32xf32>, tensor<4xf32>) {
  %r = dstc.relu %x : tensor<4x32xf32> -> tensor<4x32xf32>
  %w = dstc.constant "w" : tensor<4xf32>
  %v = dstc.relu %w : tensor<4xf32> -> tensor<4xf32>
  func.return %r, %v : tensor<4x32xf32>, tensor<4xf32>
}
// CHECK-LABEL: dstc_tile.kernel @relu_1
// CHECK:       dstc_tile.load global %{{[0-9a-z_]+}} + 0 : f32
// CHECK:       dstc_tile.store global %{{.*}}, %{{[0-9a-z_]+}} + 0 : f32

// Names of kernels are names in assembly, whatever the node's name is.
func.func @names(%x: tensor<4x32xf32>) -> tensor<4x32xf32> {
  %r = dstc.relu %x {dstc.source = ["1/é/relu"]} : tensor<4x32xf32> -> tensor<4x32xf32>
  func.return %r : tensor<4x32xf32>
}
// CHECK-LABEL: dstc_tile.kernel @k1_relu_relu
