// RUN: dstc-opt %s -p encode-operands | filecheck %s

// Both operands, with their source; an encoding that is there already serves again.
func.func @both(%x: tensor<40x20xf16>, %w: tensor<20x30xf16>, %b: tensor<40xf32>) -> (tensor<40x30xf16>, tensor<40x30xf32>) {
  %y = dstc.matmul %x, %w {dstc.source = ["fc1"], schedule = #dstc.schedule<dual, cta = 32x32, warp = 32x32, stages = 3>} : tensor<40x20xf16>, tensor<20x30xf16> -> tensor<40x30xf16>
  %z = dstc.matmul %x, %w bias(%b) {bias_along = "m", activation = #dstc<activation relu>, schedule = #dstc.schedule<dual, cta = 32x32, warp = 32x32, stages = 3, swap>} : tensor<40x20xf16>, tensor<20x30xf16>, tensor<40xf32> -> tensor<40x30xf32>
  func.return %y, %z : tensor<40x30xf16>, tensor<40x30xf32>
}
// CHECK-LABEL: @both
// CHECK-NEXT:  %[[X:.*]] = dstc.encode %x {dstc.source = ["fc1"]} : tensor<40x20xf16> -> !dstc.bitmap<40x20xf16, a>
// CHECK-NEXT:  %[[W:.*]] = dstc.encode %w {dstc.source = ["fc1"]} : tensor<20x30xf16> -> !dstc.bitmap<20x30xf16, b>
// CHECK-NEXT:  %y = dstc.matmul %[[X]], %[[W]] {{.*}} : !dstc.bitmap<40x20xf16, a>, !dstc.bitmap<20x30xf16, b> -> tensor<40x30xf16>
// CHECK-NEXT:  %z = dstc.matmul %[[X]], %[[W]] bias(%b) {bias_along = "m", activation = #dstc<activation relu>, {{.*}} -> tensor<40x30xf32>
// CHECK-NEXT:  func.return %y, %z

// The left operand is encoded along rows, the right along columns: the same matrix twice.
func.func @square(%x: tensor<32x32xf16>) -> tensor<32x32xf32> {
  %y = dstc.matmul %x, %x {schedule = #dstc.schedule<dual, cta = 32x32, warp = 32x32, stages = 3>} : tensor<32x32xf16>, tensor<32x32xf16> -> tensor<32x32xf32>
  func.return %y : tensor<32x32xf32>
}
// CHECK-LABEL: @square
// CHECK-NEXT:  dstc.encode %x : {{.*}}, a>
// CHECK-NEXT:  dstc.encode %x : {{.*}}, b>

// An im2col encodes as it goes, unless something else reads it.
func.func @conv(%x: tensor<1x3x8x8xf16>, %w: tensor<4x27xf16>) -> (tensor<1x4x6x6xf16>, tensor<1x4x6x6xf16>, tensor<27x36xf16>) {
  %c = dstc.im2col %x {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, dstc.source = ["conv1"]} : tensor<1x3x8x8xf16> -> tensor<27x36xf16>
  %y = dstc.matmul %w, %c {image = array<i64: 1, 6, 6>, schedule = #dstc.schedule<dual, cta = 32x32, warp = 32x32, stages = 3>} : tensor<4x27xf16>, tensor<27x36xf16> -> tensor<1x4x6x6xf16>
  %d = dstc.im2col %x {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : tensor<1x3x8x8xf16> -> tensor<27x36xf16>
  %z = dstc.matmul %w, %d {image = array<i64: 1, 6, 6>, schedule = #dstc.schedule<dual, cta = 32x32, warp = 32x32, stages = 3>} : tensor<4x27xf16>, tensor<27x36xf16> -> tensor<1x4x6x6xf16>
  func.return %y, %z, %d : tensor<1x4x6x6xf16>, tensor<1x4x6x6xf16>, tensor<27x36xf16>
}
// CHECK-LABEL: @conv
// CHECK-NEXT:  %c = dstc.im2col %x {{.*}}dstc.source = ["conv1"]{{.*}} -> !dstc.bitmap<27x36xf16, b>
// CHECK-NEXT:  %[[W:.*]] = dstc.encode %w
// CHECK-NEXT:  dstc.matmul %[[W]], %c
// CHECK-NEXT:  %d = dstc.im2col %x {{.*}} -> tensor<27x36xf16>
// CHECK-NEXT:  %[[D:.*]] = dstc.encode %d : tensor<27x36xf16> -> !dstc.bitmap<27x36xf16, b>
// CHECK-NEXT:  dstc.matmul %[[W]], %[[D]]

// The nm engine takes one operand sparse: the left, or with swap the right; that may be stored
// transposed, and is turned over.
func.func @sparse(%x: tensor<40x20xf16>, %w: tensor<30x20xf16>) -> (tensor<40x30xf32>, tensor<40x30xf32>) {
  %y = dstc.matmul %x, %w {trans_b, a_pattern = "2:4", schedule = #dstc.schedule<nm, cta = 64x64, warp = 64x64, stages = 2>} : tensor<40x20xf16>, tensor<30x20xf16> -> tensor<40x30xf32>
  %z = dstc.matmul %x, %w {trans_b, b_pattern = "4:16", schedule = #dstc.schedule<nm, cta = 64x64, warp = 64x64, stages = 2, swap>} : tensor<40x20xf16>, tensor<30x20xf16> -> tensor<40x30xf32>
  func.return %y, %z : tensor<40x30xf32>, tensor<40x30xf32>
}
// CHECK-LABEL: @sparse
// CHECK-NEXT:  %[[X:.*]] = dstc.encode %x : tensor<40x20xf16> -> !dstc.nm<40x20xf16, 2:4, a>
// CHECK-NEXT:  dstc.matmul %[[X]], %w {{.*}}trans_b{{.*}} : !dstc.nm<40x20xf16, 2:4, a>, tensor<30x20xf16> -> tensor<40x30xf32>
// CHECK-NEXT:  %[[T:.*]] = dstc.transpose %w
// CHECK-NEXT:  %[[W:.*]] = dstc.encode %[[T]] : tensor<20x30xf16> -> !dstc.nm<20x30xf16, 4:16, b>
// CHECK-NEXT:  dstc.matmul %x, %[[W]] {{.*}} : tensor<40x20xf16>, !dstc.nm<20x30xf16, 4:16, b> -> tensor<40x30xf32>

// Left alone: the dense engine, and a product without a schedule.
func.func @dense(%x: tensor<32x32xf16>) -> (tensor<32x32xf32>, tensor<32x32xf32>) {
  %y = dstc.matmul %x, %x {schedule = #dstc.schedule<dense, cta = 32x32, warp = 32x32, stages = 2>} : tensor<32x32xf16>, tensor<32x32xf16> -> tensor<32x32xf32>
  %z = dstc.matmul %x, %x : tensor<32x32xf16>, tensor<32x32xf16> -> tensor<32x32xf32>
  func.return %y, %z : tensor<32x32xf32>, tensor<32x32xf32>
}
// CHECK-LABEL: @dense
// CHECK-NOT:   dstc.encode
// CHECK:       func.return
