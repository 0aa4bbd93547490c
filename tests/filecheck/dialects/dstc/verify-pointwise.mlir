// RUN: dstc-opt %s --split-input-file --verify-diagnostics

func.func @f(%x: tensor<4xf32>) {
  // expected-error@below {{there is no function frob; there are add, sub,}}
  %y = dstc.elementwise "frob"(%x) : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// -----
func.func @f(%x: tensor<4xf32>) {
  // expected-error@below {{mul takes 2 operands}}
  %y = dstc.elementwise "mul"(%x) : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// -----
func.func @f(%x: tensor<4xf32>, %z: tensor<3xf32>) {
  // expected-error@below {{shapes 4 and 3 do not broadcast}}
  %y = dstc.elementwise "mul"(%x, %z) : (tensor<4xf32>, tensor<3xf32>) -> tensor<4xf32>
  func.return
}

// -----
func.func @f(%x: tensor<4xf32>, %z: tensor<4xi32>) {
  // expected-error@below {{operands of mul must be floats or integers, not both}}
  %y = dstc.elementwise "mul"(%x, %z) : (tensor<4xf32>, tensor<4xi32>) -> tensor<4xf32>
  func.return
}

// -----
func.func @f(%x: tensor<4xi32>) {
  // expected-error@below {{exp is not for integers}}
  %y = dstc.elementwise "exp"(%x) : (tensor<4xi32>) -> tensor<4xi32>
  func.return
}

// -----
func.func @f(%x: tensor<4xf32>) {
  // expected-error@below {{the result of eq must be integers}}
  %y = dstc.elementwise "eq"(%x, %x) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// -----
func.func @f(%x: tensor<4xf32>) {
  // expected-error@below {{elements 1 to 4 are not all among the operand's 4}}
  %y = dstc.slice %x {starts = array<i64: 1>, steps = array<i64: 1>} : tensor<4xf32> -> tensor<4xf32>
  func.return
}

// -----
func.func @f(%x: tensor<4xf32>) {
  // expected-error@below {{4 behind 2 does not fit 5}}
  %y = dstc.pad %x {low = array<i64: 2>, value = 0.0 : f64} : tensor<4xf32> -> tensor<5xf32>
  func.return
}

// -----
func.func @f(%x: tensor<4xf32>) {
  // expected-error@below {{the parts have 8 along 0, not 9}}
  %y = dstc.concat %x, %x {axis = 0 : i64} : (tensor<4xf32>, tensor<4xf32>) -> tensor<9xf32>
  func.return
}

// -----
func.func @f(%x: tensor<4xf32>) {
  // expected-error@below {{indices must be i32}}
  %y = dstc.gather %x, %x {axis = 0 : i64} : tensor<4xf32>, tensor<4xf32> -> tensor<4xf32>
  func.return
}

// -----
func.func @f(%x: tensor<4x3xf32>) {
  // expected-error@below {{result must have 4 elements, not 3}}
  %y = dstc.reduce "sum" %x {axes = array<i64: 1>} : tensor<4x3xf32> -> tensor<3xf32>
  func.return
}

// -----
func.func @f(%x: tensor<4xf32>) {
  // expected-error@below {{the body gives tensor<4xf32>, the op tensor<4xf16>}}
  %y = dstc.fused(%x) : (tensor<4xf32>) -> tensor<4xf16> {
  ^bb0(%a: tensor<4xf32>):
    dstc.yield %a : tensor<4xf32>
  }
  func.return
}

// -----
func.func @f(%a: tensor<66x32xf16>, %b: tensor<64x40xf16>) {
  // expected-error@below {{lhs must have 2 times whole blocks of 32 rows}}
  %y = dstc.matmul %a, %b {batch = 2 : i64} : tensor<66x32xf16>, tensor<64x40xf16> -> tensor<66x40xf32>
  func.return
}
