// RUN: python3 -c "import numpy as np; np.savez(r'%t.npz', w=np.ones((4, 4), 'f2')); np.savez(r'%t.in.npz', z=np.ones(3, 'f')); np.savez(r'%t.few.npz', x=np.ones((2, 4), 'f'))"
// RUN: not dstc-opt %s --constants %t.npz -p 'annotate-sparsity{density="x"}' 2>&1 | filecheck %s --check-prefix FORM
// RUN: not dstc-opt %s --constants %t.npz -p 'annotate-sparsity{density="w=0.5"}' 2>&1 | filecheck %s --check-prefix CONSTANT
// RUN: not dstc-opt %s --constants %t.npz -p 'annotate-sparsity{density="node=0.5"}' 2>&1 | filecheck %s --check-prefix NODE
// RUN: not dstc-opt %s --constants %t.npz -p 'annotate-sparsity{calibrate="%t.none.npz"}' 2>&1 | filecheck %s --check-prefix FILE
// RUN: not dstc-opt %s --constants %t.npz -p 'annotate-sparsity{calibrate="%t.in.npz"}' 2>&1 | filecheck %s --check-prefix INPUT
// RUN: not dstc-opt %s --constants %t.npz -p 'annotate-sparsity{calibrate="%t.few.npz"}' 2>&1 | filecheck %s --check-prefix SHAPE

func.func @main(%x: tensor<4x4xf16>, %v: tensor<4x4xf16>) -> (tensor<4x4xf16>, tensor<4x4xf16>) attributes {dstc.inputs = ["x", "v"]} {
  %w = dstc.constant "w" : tensor<4x4xf16>
  %y = dstc.matmul %x, %w : tensor<4x4xf16>, tensor<4x4xf16> -> tensor<4x4xf16>
  %z = dstc.matmul %x, %v {dstc.source = ["node"]} : tensor<4x4xf16>, tensor<4x4xf16> -> tensor<4x4xf16>
  func.return %y, %z : tensor<4x4xf16>, tensor<4x4xf16>
}

// FORM: expected NAME=D with D from 0 to 1, as in x=0.3
// CONSTANT: it is a constant, whose density is known
// NODE: no operand of that node alone is unknown; name one, as
// FILE: no readable .npz of calibration inputs {{.*}}; write it with numpy.savez, a name for each input
// INPUT: calibration has no input
// SHAPE: calibration input {{.*}} has the shape {{.*}} but the model takes {{.*}}give as many samples or more
