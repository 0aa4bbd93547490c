// RUN: dstc-opt %s | dstc-opt | filecheck %s

// A module of ours prints what it parses; -p takes xDSL's own passes too.
// RUN: dstc-opt %s -p canonicalize,cse | filecheck %s --check-prefix=CLEAN

func.func @f(%x: tensor<4x27xf16>) -> tensor<4x27xf16> {
  %e = dstc.encode %x : tensor<4x27xf16> -> !dstc.bitmap<4x27xf16, a>
  func.return %x : tensor<4x27xf16>
}

// CHECK:       func.func @f(%x: tensor<4x27xf16>) -> tensor<4x27xf16> {
// CHECK-NEXT:    %e = dstc.encode %x : tensor<4x27xf16> -> !dstc.bitmap<4x27xf16, a>
// CHECK-NEXT:    func.return %x : tensor<4x27xf16>

// CLEAN:       func.func @f
// CLEAN-NEXT:    func.return
