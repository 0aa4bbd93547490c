// RUN: dstc-opt %s --split-input-file --verify-diagnostics

func.func @conv_channels(%x: tensor<1x2x8x8xf32>, %w: tensor<4x3x3x3xf32>) {
  // expected-error@below {{filter has 3 channels, but the input has 2 channels}}
  %y = dstc.conv2d %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : tensor<1x2x8x8xf32>, tensor<4x3x3x3xf32> -> tensor<1x4x6x6xf32>
  func.return
}

// -----

func.func @conv_result(%x: tensor<1x3x8x8xf32>, %w: tensor<4x3x3x3xf32>) {
  // expected-error@below {{result must be 1x4x3x3, not 1x4x6x6}}
  %y = dstc.conv2d %x, %w {strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : tensor<1x3x8x8xf32>, tensor<4x3x3x3xf32> -> tensor<1x4x6x6xf32>
  func.return
}

// -----

func.func @conv_strides(%x: tensor<1x3x8x8xf32>, %w: tensor<4x3x3x3xf32>) {
  // expected-error@below {{strides must be positive}}
  %y = dstc.conv2d %x, %w {strides = array<i64: 0, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : tensor<1x3x8x8xf32>, tensor<4x3x3x3xf32> -> tensor<1x4x6x6xf32>
  func.return
}

// -----

func.func @im2col_pads(%x: tensor<1x3x8x8xf16>) {
  // expected-error@below {{pads must have 4 values, not 2}}
  %y = dstc.im2col %x {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1, 1>} : tensor<1x3x8x8xf16> -> tensor<27x64xf16>
  func.return
}

// -----

func.func @pool_kernel(%x: tensor<1x3x8x8xf16>) {
  // expected-error@below {{kernel must be positive, not [0, 2]}}
  %y = dstc.pool2d %x {kind = #dstc<pool max>, kernel = array<i64: 0, 2>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : tensor<1x3x8x8xf16> -> tensor<1x3x8x8xf16>
  func.return
}

// -----

func.func @matmul_depth(%a: tensor<2x3xf32>, %b: tensor<4x5xf32>) {
  // expected-error@below {{lhs has 3 columns, but rhs has 4 rows}}
  %y = dstc.matmul %a, %b : tensor<2x3xf32>, tensor<4x5xf32> -> tensor<2x5xf32>
  func.return
}

// -----

func.func @matmul_side(%a: !dstc.bitmap<2x3xf16, b>, %b: !dstc.bitmap<3x5xf16, b>) {
  // expected-error@below {{lhs must be a bitmap of side a}}
  %y = dstc.matmul %a, %b : !dstc.bitmap<2x3xf16, b>, !dstc.bitmap<3x5xf16, b> -> tensor<2x5xf32>
  func.return
}

// -----

func.func @matmul_bias(%a: tensor<2x3xf32>, %b: tensor<3x5xf32>, %c: tensor<2xf32>) {
  // expected-error@below {{bias must be 5 long, not 2}}
  %y = dstc.matmul %a, %b bias(%c) {bias_along = "n"} : tensor<2x3xf32>, tensor<3x5xf32>, tensor<2xf32> -> tensor<2x5xf32>
  func.return
}

// -----

func.func @matmul_image(%a: tensor<2x3xf32>, %b: tensor<3x5xf32>) {
  // expected-error@below {{image 1x2x2 has not the 5 columns of rhs}}
  %y = dstc.matmul %a, %b {image = array<i64: 1, 2, 2>} : tensor<2x3xf32>, tensor<3x5xf32> -> tensor<1x2x2x2xf32>
  func.return
}

// -----

func.func @dense_engine(%a: !dstc.bitmap<2x3xf16, a>, %b: tensor<3x5xf16>) {
  // expected-error@below {{only the dual engine takes bitmap operands}}
  %y = dstc.matmul %a, %b {schedule = #dstc.schedule<dense, cta = 32x32, warp = 16x16, stages = 2>} : !dstc.bitmap<2x3xf16, a>, tensor<3x5xf16> -> tensor<2x5xf32>
  func.return
}

// -----

func.func @add(%a: tensor<2x3xf32>, %b: tensor<4xf32>) {
  // expected-error@below {{shapes 2x3 and 4 do not broadcast}}
  %y = dstc.add %a, %b : tensor<2x3xf32>, tensor<4xf32> -> tensor<2x3xf32>
  func.return
}

// -----

func.func @transpose(%a: tensor<2x3xf32>) {
  // expected-error@below {{perm must permute 0 to 1}}
  %y = dstc.transpose %a {perm = array<i64: 0, 0>} : tensor<2x3xf32> -> tensor<2x3xf32>
  func.return
}

// -----

func.func @reshape(%a: tensor<2x3xf32>) {
  // expected-error@below {{6 values do not reshape to 7}}
  %y = dstc.reshape %a : tensor<2x3xf32> -> tensor<7xf32>
  func.return
}

// -----

func.func @encode(%a: tensor<2x3xf16>) {
  // expected-error@below {{tensor 2x3 and bitmap 3x2 differ in shape}}
  %y = dstc.encode %a : tensor<2x3xf16> -> !dstc.bitmap<3x2xf16, a>
  func.return
}

// -----

func.func @pool(%a: tensor<1x1x4x4xf32>) {
  // expected-error@below {{result height must be 2, not 3}}
  %y = dstc.pool2d %a {kind = #dstc<pool max>, kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : tensor<1x1x4x4xf32> -> tensor<1x1x3x2xf32>
  func.return
}

// -----

func.func @softmax(%a: tensor<2x3xf32>) {
  // expected-error@below {{axis must be 0 to 1}}
  %y = dstc.softmax %a {axis = 2 : i64} : tensor<2x3xf32> -> tensor<2x3xf32>
  func.return
}

// -----

func.func @matmul_transposed_depth(%a: tensor<2x3xf16>, %b: tensor<3x5xf16>) {
  // expected-error@below {{lhs has 2 rows, but rhs has 3 rows}}
  %y = dstc.matmul %a, %b {trans_a} : tensor<2x3xf16>, tensor<3x5xf16> -> tensor<3x5xf32>
  func.return
}

// -----

func.func @matmul_transposed_bitmap(%a: !dstc.bitmap<3x2xf16, a>, %b: tensor<3x5xf16>) {
  // expected-error@below {{a bitmap is not transposed: remove trans_a}}
  %y = dstc.matmul %a, %b {trans_a} : !dstc.bitmap<3x2xf16, a>, tensor<3x5xf16> -> tensor<2x5xf32>
  func.return
}

// -----

func.func @matmul_split(%a: tensor<2x3xf16>, %b: tensor<3x5xf16>) {
  // expected-error@below {{split must be 1 or more, not 0}}
  %y = dstc.matmul %a, %b {schedule = #dstc.schedule<dual, cta = 32x32, warp = 32x32, stages = 2, split = 0>} : tensor<2x3xf16>, tensor<3x5xf16> -> tensor<2x5xf32>
  func.return
}

// -----

func.func @matmul_residual(%a: tensor<2x3xf16>, %b: tensor<3x5xf16>, %r: tensor<5xf32>) {
  // expected-error@below {{residual must be 2x5, not 5}}
  %y = dstc.matmul %a, %b residual(%r) : tensor<2x3xf16>, tensor<3x5xf16> + tensor<5xf32> -> tensor<2x5xf32>
  func.return
}

// -----

func.func @result_window(%a: !dstc.bitmap<2x3xf16, a>, %b: !dstc.bitmap<3x5xf16, b>) {
  // expected-error@below {{the warp tile is not whole windows of 64 of the result}}
  %y = dstc.matmul %a, %b {schedule = #dstc.schedule<dual, cta = 64x64, warp = 32x64, stages = 2>} : !dstc.bitmap<2x3xf16, a>, !dstc.bitmap<3x5xf16, b> -> !dstc.bitmap<2x5xf16, a, window = 64>
  func.return
}

// -----

// expected-error@below {{window must be 32 or 64, not 48}}
func.func @bitmap_window(%a: !dstc.bitmap<2x3xf16, a, window = 48>) {
  func.return
}

// -----

func.func @schedule_window(%a: tensor<2x3xf16>, %b: tensor<3x5xf16>) {
  // expected-error@below {{warp tile M must be a multiple of 64, not 32}}
  %y = dstc.matmul %a, %b {schedule = #dstc.schedule<dual, cta = 64x64, warp = 32x64, stages = 2, window = 64>} : tensor<2x3xf16>, tensor<3x5xf16> -> tensor<2x5xf32>
  func.return
}

// -----

func.func @dense_window(%a: tensor<2x3xf16>, %b: tensor<3x5xf16>) {
  // expected-error@below {{window is for the dual engine}}
  %y = dstc.matmul %a, %b {schedule = #dstc.schedule<dense, cta = 64x64, warp = 64x64, stages = 2, window = 64>} : tensor<2x3xf16>, tensor<3x5xf16> -> tensor<2x5xf32>
  func.return
}

// -----

func.func @two_windows(%a: !dstc.bitmap<2x3xf16, a>, %b: tensor<3x5xf16>) {
  // expected-error@below {{lhs has window 32, but the schedule 64}}
  %y = dstc.matmul %a, %b {schedule = #dstc.schedule<dual, cta = 64x64, warp = 64x64, stages = 2, window = 64>} : !dstc.bitmap<2x3xf16, a>, tensor<3x5xf16> -> tensor<2x5xf32>
  func.return
}

// -----

func.func @turns_and_split(%a: tensor<2x3xf16>, %b: tensor<3x5xf16>) {
  // expected-error@below {{ctas is for the dual engine without split, and positive, not 8}}
  %y = dstc.matmul %a, %b {schedule = #dstc.schedule<dual, cta = 64x64, warp = 64x64, stages = 2, split = 2, ctas = 8>} : tensor<2x3xf16>, tensor<3x5xf16> -> tensor<2x5xf32>
  func.return
}

// -----

func.func @cut_without_turns(%a: tensor<2x3xf16>, %b: tensor<3x5xf16>) {
  // expected-error@below {{cut needs ctas, and is positive, not 2}}
  %y = dstc.matmul %a, %b {schedule = #dstc.schedule<dual, cta = 64x64, warp = 64x64, stages = 2, cut = 2>} : tensor<2x3xf16>, tensor<3x5xf16> -> tensor<2x5xf32>
  func.return
}

// -----

func.func @split_on_the_nm_engine(%a: tensor<2x3xf16>, %b: tensor<3x5xf16>) {
  // expected-error@below {{the nm engine has 2 stages, and no split}}
  %y = dstc.matmul %a, %b {schedule = #dstc.schedule<nm, cta = 64x64, warp = 64x64, stages = 2, split = 2>} : tensor<2x3xf16>, tensor<3x5xf16> -> tensor<2x5xf32>
  func.return
}

// -----

func.func @cut_of_small_tiles(%a: tensor<2x3xf16>, %b: tensor<3x5xf16>) {
  // expected-error@below {{cut needs warp tiles of 64 or more along M or N}}
  %y = dstc.matmul %a, %b {schedule = #dstc.schedule<dual, cta = 64x64, warp = 32x32, stages = 2, ctas = 2, cut = 2>} : tensor<2x3xf16>, tensor<3x5xf16> -> tensor<2x5xf32>
  func.return
}

// -----

func.func @skip_and_turns(%a: tensor<2x3xf16>, %b: tensor<3x5xf16>) {
  // expected-error@below {{skip is for the dual engine without split and ctas}}
  %y = dstc.matmul %a, %b {schedule = #dstc.schedule<dual, cta = 64x64, warp = 64x64, stages = 2, skip, ctas = 2>} : tensor<2x3xf16>, tensor<3x5xf16> -> tensor<2x5xf32>
  func.return
}

// -----

func.func @occupied(%a: tensor<2x3xf16>, %b: tensor<3x5xf16>) {
  // expected-error@below {{occupied is a share (0 to 1) for each of (32, 64, 128) vectors, not (0.1, 0.2)}}
  %y = dstc.matmul %a, %b {a_occupied = array<f64: 0.1, 0.2>} : tensor<2x3xf16>, tensor<3x5xf16> -> tensor<2x5xf32>
  func.return
}

// -----

func.func @result_window_of_cut_tiles(%a: !dstc.bitmap<2x3xf16, a>, %b: !dstc.bitmap<3x5xf16, b>) {
  // expected-error@below {{the warp tile is not whole windows of 64 of the result}}
  %y = dstc.matmul %a, %b {schedule = #dstc.schedule<dual, cta = 64x64, warp = 64x64, stages = 2, ctas = 2, cut = 1>} : !dstc.bitmap<2x3xf16, a>, !dstc.bitmap<3x5xf16, b> -> !dstc.bitmap<2x5xf16, a, window = 64>
  func.return
}
