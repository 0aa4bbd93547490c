// RUN: dstc-opt %s | dstc-opt | filecheck %s
// RUN: dstc-opt %s --print-op-generic | dstc-opt | filecheck %s

func.func @ops(%x: tensor<2x3x4xf32>, %i: tensor<5xi32>, %v: tensor<4xf16>) {
  %a = dstc.elementwise "mul"(%x, %v) : (tensor<2x3x4xf32>, tensor<4xf16>) -> tensor<2x3x4xf32>
  %c = dstc.elementwise "lt"(%x, %v) : (tensor<2x3x4xf32>, tensor<4xf16>) -> tensor<2x3x4xi32>
  %w = dstc.elementwise "where"(%c, %x, %a) : (tensor<2x3x4xi32>, tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %f = dstc.fill {value = 2.5 : f64} : tensor<1x4xf32>
  %s = dstc.slice %x {starts = array<i64: 1, 2, 0>, steps = array<i64: 1, -2, 3>} : tensor<2x3x4xf32> -> tensor<1x2x2xf32>
  %p = dstc.pad %v {low = array<i64: 1>, value = -1.0 : f64} : tensor<4xf16> -> tensor<7xf16>
  %e = dstc.expand %v : tensor<4xf16> -> tensor<3x4xf16>
  %o = dstc.concat %x, %x {axis = 1 : i64} : (tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x6x4xf32>
  %g = dstc.gather %x, %i {axis = 1 : i64} : tensor<2x3x4xf32>, tensor<5xi32> -> tensor<2x5x4xf32>
  %r = dstc.reduce "mean" %x {axes = array<i64: 0, 2>} : tensor<2x3x4xf32> -> tensor<3xf32>
  %n = dstc.normalize %x {axis = 2 : i64, epsilon = 1.0e-05 : f64, centred = false} : tensor<2x3x4xf32> -> tensor<2x3x4xf32>
  %y = dstc.fused(%x, %v) attributes {dstc.source = ["n"]} : (tensor<2x3x4xf32>, tensor<4xf16>) -> tensor<2x3x4xf32> {
  ^bb0(%x0: tensor<2x3x4xf32>, %v0: tensor<4xf16>):
    %z = dstc.add %x0, %v0 : tensor<2x3x4xf32>, tensor<4xf16> -> tensor<2x3x4xf32>
    dstc.yield %z : tensor<2x3x4xf32>
  }
  func.return
}
// CHECK:      %a = dstc.elementwise "mul"(%x, %v) : (tensor<2x3x4xf32>, tensor<4xf16>) -> tensor<2x3x4xf32>
// CHECK-NEXT: %c = dstc.elementwise "lt"
// CHECK-NEXT: %w = dstc.elementwise "where"
// CHECK-NEXT: %f = dstc.fill {value = 2.500000e+00 : f64} : tensor<1x4xf32>
// CHECK-NEXT: %s = dstc.slice %x {starts = array<i64: 1, 2, 0>, steps = array<i64: 1, -2, 3>}
// CHECK-NEXT: %p = dstc.pad %v {low = array<i64: 1>, value = -1.000000e+00 : f64}
// CHECK-NEXT: %e = dstc.expand %v
// CHECK-NEXT: %o = dstc.concat %x, %x {axis = 1 : i64}
// CHECK-NEXT: %g = dstc.gather %x, %i {axis = 1 : i64}
// CHECK-NEXT: %r = dstc.reduce "mean" %x {axes = array<i64: 0, 2>}
// CHECK-NEXT: %n = dstc.normalize %x {axis = 2 : i64, epsilon = {{.*}}, centred = false}
// CHECK-NEXT: %y = dstc.fused(%x, %v) attributes {dstc.source = ["n"]}
// CHECK:        dstc.yield %z : tensor<2x3x4xf32>

func.func @batch(%a: tensor<64x32xf16>, %b: tensor<64x40xf16>) -> tensor<64x40xf32> {
  // CHECK: dstc.matmul %a, %b {batch = 2 : i64}
  %y = dstc.matmul %a, %b {batch = 2 : i64} : tensor<64x32xf16>, tensor<64x40xf16> -> tensor<64x40xf32>
  func.return %y : tensor<64x40xf32>
}
