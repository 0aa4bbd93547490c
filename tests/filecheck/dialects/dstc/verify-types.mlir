// RUN: dstc-opt %s --split-input-file --verify-diagnostics

// expected-error@below {{bitmap side must be a or b, not c}}
func.func @side(%x: !dstc.bitmap<4x4xf16, c>) {
  func.return
}

// -----

// expected-error@below {{bitmap shape must be positive, not}}
func.func @bitmap(%x: !dstc.bitmap<4x0xf16, a>) {
  func.return
}

// -----

// expected-error@below {{n:m shape must be positive, not}}
func.func @nm(%x: !dstc.nm<0x96xf16, 2:4, a>) {
  func.return
}

// -----

func.func @warps(%a: tensor<2x3xf16>, %b: tensor<3x5xf16>) {
  // expected-error@below {{a CTA has at most 32 warps, not 64}}
  %y = dstc.matmul %a, %b {schedule = #dstc.schedule<dense, cta = 256x256, warp = 32x32, stages = 2>} : tensor<2x3xf16>, tensor<3x5xf16> -> tensor<2x5xf32>
  func.return
}

// -----

func.func @stages(%a: tensor<2x3xf16>, %b: tensor<3x5xf16>) {
  // expected-error@below {{stages must be 2 to 8, not 1}}
  %y = dstc.matmul %a, %b {schedule = #dstc.schedule<dense, cta = 32x32, warp = 32x32, stages = 1>} : tensor<2x3xf16>, tensor<3x5xf16> -> tensor<2x5xf32>
  func.return
}

// -----

func.func @tile(%a: tensor<2x3xf16>, %b: tensor<3x5xf16>) {
  // expected-error@below {{is no multiple of the warp tile's}}
  %y = dstc.matmul %a, %b {schedule = #dstc.schedule<dense, cta = 48x32, warp = 32x32, stages = 2>} : tensor<2x3xf16>, tensor<3x5xf16> -> tensor<2x5xf32>
  func.return
}

// -----

func.func @engine(%a: tensor<2x3xf16>, %b: tensor<3x5xf16>) {
  // expected-error@below {{schedule engine must be one of}}
  %y = dstc.matmul %a, %b {schedule = #dstc.schedule<fast, cta = 32x32, warp = 32x32, stages = 2>} : tensor<2x3xf16>, tensor<3x5xf16> -> tensor<2x5xf32>
  func.return
}
