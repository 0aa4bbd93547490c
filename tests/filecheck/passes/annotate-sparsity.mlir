// RUN: python3 -c "import numpy as np; np.savez(r'%t.npz', w=np.diag(np.array([1, -0.0, 2, 3], 'f2')), f=np.array([0, 1, 0, np.nan], 'f2').reshape(4, 1, 1, 1), b=np.ones(4, 'f'))"
// RUN: dstc-opt %s --constants %t.npz -p annotate-sparsity | filecheck %s
// RUN: dstc-opt %s --constants %t.npz -p 'annotate-sparsity{activation-density=0.25}' | filecheck %s --check-prefix=QUARTER
// RUN: not dstc-opt %s --constants %t.npz -p 'annotate-sparsity{activation-density=2}' 2>&1 | filecheck %s --check-prefix=RANGE
// RUN: dstc-opt %s --constants %t.npz -p 'annotate-sparsity{density="y=0.125"}' | filecheck %s --check-prefix=HINT
// RUN: python3 -c "import numpy as np; np.savez(r'%t.in.npz', x=np.array([0, 1, 0, 2], 'f').reshape(1, 1, 2, 2))"
// RUN: dstc-opt %s --constants %t.npz -p 'annotate-sparsity{calibrate="%t.in.npz"}' | filecheck %s --check-prefix=MEASURED
// RUN: not dstc-opt %s --constants %t.npz -p 'annotate-sparsity{density="yy=0.1"}' 2>&1 | filecheck %s --check-prefix=NAME

func.func @main(%x: tensor<1x1x2x2xf16>) -> tensor<1x4xf32> {
  %f = dstc.constant "f" : tensor<4x1x1x1xf16>
  %b = dstc.constant "b" : tensor<4xf32>
  %w = dstc.constant "w" : tensor<4x4xf16>
  %y = dstc.conv2d %x, %f bias(%b) {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, activation = #dstc<activation relu>} : tensor<1x1x2x2xf16>, tensor<4x1x1x1xf16>, tensor<4xf32> -> tensor<1x4x2x2xf16>
  %p = dstc.pool2d %y {kind = #dstc<pool max>, kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : tensor<1x4x2x2xf16> -> tensor<1x4x1x1xf16>
  %r = dstc.reshape %p : tensor<1x4x1x1xf16> -> tensor<1x4xf16>
  %z = dstc.matmul %r, %w : tensor<1x4xf16>, tensor<4x4xf16> -> tensor<1x4xf32>
  func.return %z : tensor<1x4xf32>
}

// CHECK:       dstc.constant "f" {density = 5.000000e-01 : f64}
// CHECK-NEXT:  dstc.constant "b" {density = 1.000000e+00 : f64}
// CHECK-NEXT:  dstc.constant "w" {density = 1.875000e-01 : f64}
// CHECK:       dstc.conv2d {{.*}} a_density = 5.000000e-01 : f64, b_density = 1.000000e+00 : f64
// CHECK:       dstc.matmul {{.*}} {a_density = 5.000000e-01 : f64, b_density = 1.875000e-01 : f64}
// QUARTER:     dstc.matmul {{.*}} {a_density = 2.500000e-01 : f64, b_density = 1.875000e-01 : f64}
// RANGE:       activation-density must be 0 to 1, not 2
// HINT:        dstc.matmul {{.*}} {a_density = 1.250000e-01 : f64, b_density = 1.875000e-01 : f64}
// MEASURED:    dstc.conv2d {{.*}} a_density = 5.000000e-01 : f64, b_density = 5.000000e-01 : f64
// MEASURED:    dstc.matmul {{.*}} {a_density = 1.000000e+00 : f64, b_density = 1.875000e-01 : f64}
// NAME:        density yy=: no product takes a value of that name; did you mean y?
