// RUN: not dstc-opt %s 2>&1 | filecheck %s

func.func @f(%a: i32) -> i64 {
  func.return %a : i32
}

// CHECK:      errors.mlir:4:3: error:
// CHECK-NEXT:   func.return %a : i32
// CHECK-NEXT:   ^
