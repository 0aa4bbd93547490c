// RUN: dstc-opt %s -p 'select-schedule{encoded-inputs=true}' | filecheck %s
// RUN: dstc-opt %s -p select-schedule | filecheck %s --check-prefix=ENCODE
// RUN: dstc-opt %s -p 'select-schedule{engine=dense}' | filecheck %s --check-prefix=DENSE
// RUN: dstc-opt %s -p 'select-schedule{engine=dual}' | filecheck %s --check-prefix=DUAL
// RUN: dstc-opt %s -p 'select-schedule{machine=v100}' | filecheck %s --check-prefix=DENSE
// RUN: not dstc-opt %s -p 'select-schedule{tune=2}' 2>&1 | filecheck %s --check-prefix=TUNE
// RUN: not dstc-opt %s -p 'select-schedule{tune=-1}' 2>&1 | filecheck %s --check-prefix=NEGATIVE

// Sparse enough for the dual engine; the sparser operand takes the 8-side.
func.func @sparse(%x: tensor<512x512xf16>, %w: tensor<512x512xf16>) -> (tensor<512x512xf16>, tensor<512x512xf16>) {
  %y = dstc.matmul %x, %w {a_density = 0.1 : f64, b_density = 1.0 : f64} : tensor<512x512xf16>, tensor<512x512xf16> -> tensor<512x512xf16>
  %z = dstc.matmul %x, %w {b_density = 0.1 : f64} : tensor<512x512xf16>, tensor<512x512xf16> -> tensor<512x512xf16>
  func.return %y, %z : tensor<512x512xf16>, tensor<512x512xf16>
}
// CHECK-LABEL: @sparse
// CHECK:       dstc.matmul {{.*}} schedule = #dstc.schedule<dual, cta = {{[0-9x]+}}, warp = {{[0-9x]+}}, stages = {{[0-9]}}>}
// CHECK:       dstc.matmul {{.*}} schedule = #dstc.schedule<dual, cta = {{[0-9x]+}}, warp = {{[0-9x]+}}, stages = {{[0-9]}}, swap>}
// So small a product does not pay for launching kernels that encode its operands.
// ENCODE-LABEL: @sparse
// ENCODE:       schedule = #dstc.schedule<dense,
// DENSE-LABEL: @sparse
// DENSE:       schedule = #dstc.schedule<dense,
// DENSE:       schedule = #dstc.schedule<dense,
// DUAL-LABEL:  @sparse

// Without a zero the dual engine gains nothing.
func.func @full(%x: tensor<64x64xf16>, %w: tensor<64x64xf16>) -> tensor<64x64xf16> {
  %y = dstc.matmul %x, %w : tensor<64x64xf16>, tensor<64x64xf16> -> tensor<64x64xf16>
  func.return %y : tensor<64x64xf16>
}
// CHECK-LABEL: @full
// CHECK:       schedule = #dstc.schedule<dense,
// DUAL-LABEL:  @full
// DUAL:        schedule = #dstc.schedule<dual,

// Large products take large tiles; a schedule that is there stays.
func.func @sizes(%x: tensor<4096x4096xf16>, %s: tensor<100x4096xf16>) -> (tensor<4096x4096xf16>, tensor<100x4096xf16>, tensor<100x4096xf16>) {
  %l = dstc.matmul %x, %x : tensor<4096x4096xf16>, tensor<4096x4096xf16> -> tensor<4096x4096xf16>
  %m = dstc.matmul %s, %x : tensor<100x4096xf16>, tensor<4096x4096xf16> -> tensor<100x4096xf16>
  %k = dstc.matmul %s, %x {schedule = #dstc.schedule<dense, cta = 16x32, warp = 16x16, stages = 2>} : tensor<100x4096xf16>, tensor<4096x4096xf16> -> tensor<100x4096xf16>
  func.return %l, %m, %k : tensor<4096x4096xf16>, tensor<100x4096xf16>, tensor<100x4096xf16>
}
// CHECK-LABEL: @sizes
// CHECK:       schedule = #dstc.schedule<{{dense|dual}}, cta = {{128x128|128x64|64x128}}, warp = {{64x64|64x32|32x64}},
// CHECK:       schedule = #dstc.schedule<{{dense|dual}}, cta =
// CHECK:       schedule = #dstc.schedule<dense, cta = 16x32, warp = 16x16, stages = 2>

// TUNE:     select-schedule: {{.*}}tune needs the simulator; use `dstc compile --tune` or `dstc run`
// NEGATIVE: select-schedule: {{.*}}tune must be a number of candidates, not -1
