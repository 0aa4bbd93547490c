// RUN: dstc-opt %s --split-input-file --verify-diagnostics

// expected-error@below {{pattern must be 2:4 or 4:16, not 3:4}}
func.func @pattern(%x: !dstc.nm<64x96xf16, 3:4, a>) {
  func.return
}

// -----

// expected-error@below {{n:m side must be a or b, not c}}
func.func @side(%x: !dstc.nm<64x96xf16, 2:4, c>) {
  func.return
}

// -----

func.func @shape(%x: tensor<64x96xf16>) {
  // expected-error@below {{tensor 64x96 and n:m operand 96x64 differ in shape}}
  %a = dstc.encode %x : tensor<64x96xf16> -> !dstc.nm<96x64xf16, 2:4, a>
  func.return
}

// -----

func.func @engine(%a: !dstc.nm<64x96xf16, 2:4, a>, %y: tensor<96x32xf16>) {
  // expected-error@below {{only the nm engine takes n:m operands}}
  %c = dstc.matmul %a, %y {schedule = #dstc.schedule<dense, cta = 64x64, warp = 64x64, stages = 2>} : !dstc.nm<64x96xf16, 2:4, a>, tensor<96x32xf16> -> tensor<64x32xf16>
  func.return
}

// -----

func.func @swapped(%a: !dstc.nm<64x96xf16, 2:4, a>, %y: tensor<96x32xf16>) {
  // expected-error@below {{the nm engine takes one n:m operand: the left, or with swap the right}}
  %c = dstc.matmul %a, %y {schedule = #dstc.schedule<nm, cta = 64x64, warp = 64x64, stages = 2, swap>} : !dstc.nm<64x96xf16, 2:4, a>, tensor<96x32xf16> -> tensor<64x32xf16>
  func.return
}

// -----

func.func @stated(%x: tensor<64x96xf16>, %y: tensor<96x32xf16>) {
  // expected-error@below {{a pattern is 2:4 or 4:16}}
  %c = dstc.matmul %x, %y {a_pattern = "1:2"} : tensor<64x96xf16>, tensor<96x32xf16> -> tensor<64x32xf16>
  func.return
}

// -----

// expected-error@below {{the nm engine's tiles are whole 64s, but for a warp's of 32, not N 32 and 32}}
func.func @tile() attributes {s = #dstc.schedule<nm, cta = 64x32, warp = 64x32, stages = 2>} {
  func.return
}

// -----

// expected-error@below {{the nm engine's tiles are whole 64s, but for a warp's of 32, not N 192 and 96}}
func.func @warp() attributes {s = #dstc.schedule<nm, cta = 64x192, warp = 64x96, stages = 2>} {
  func.return
}
