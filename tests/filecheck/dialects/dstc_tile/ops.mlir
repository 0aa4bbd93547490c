// RUN: dstc-opt %s | dstc-opt | filecheck %s
// RUN: dstc-opt %s --print-op-generic | filecheck %s --check-prefix=GENERIC
// RUN: dstc-opt %s --print-op-generic | dstc-opt | filecheck %s

dstc_tile.kernel @k ["x", "y"] grid = [2, 3, 1], warps = 4, shared = 1024, acc = 2 attributes {dstc.source = ["conv1"]} {
^bb0(%x: i32, %y: i32):
  %lane = dstc_tile.id lane
  %warp = dstc_tile.id warp
  %cx = dstc_tile.id cta_x
  %cy = dstc_tile.id cta_y
  %cz = dstc_tile.id cta_z
  %c4 = arith.constant 4 : i32
  %p = arith.cmpi ult, %lane, %c4 : i32
  %v = dstc_tile.load global %x + 16 : f32
  %h = dstc_tile.load global %x + 0 bits 16 if %p else %c4 : i32 : i32
  %f = dstc_tile.load shared %lane + -16 : vector<4xi32>
  %g = dstc_tile.load shared %lane + 0 if %p else %f : vector<4xi32> : vector<4xi32>
  dstc_tile.store shared %f, %lane + 0 : vector<4xi32>
  dstc_tile.store global %h, %y + 4 bits 8 if %p : i32
  dstc_tile.prefetch %x + 32
  dstc_tile.prefetch %x + 64 if %p
  dstc_tile.atomic_or %h, %y + 8 if %p
  %was = dstc_tile.atomic_add %h, %y if %p
  %vv = dstc_tile.combine %v, %v : f32, f32 -> vector<2xf32>
  %hh = dstc_tile.halves %h, %h : %cx, %cy -> vector<2xi32>
  dstc_tile.barrier
  %b = dstc_tile.ballot %p
  %s = dstc_tile.shuffle %b, %lane
  %n = dstc_tile.popcount %s
  %exp = dstc_tile.mufu ex2 %v
  %u = dstc_tile.pack %v, %v
  %lo = dstc_tile.unpack %u
  %hi = dstc_tile.unpack high %u
  %q = dstc_tile.splat 0 : vector<8xf32>
  %r = dstc_tile.hmma "AROW" "BCOL" %f, %g, %q
  %rs = dstc_tile.hmma_step "ACOL" "BROW" %h, %s, %r
  %e = dstc_tile.extract %r[3] : vector<8xf32> -> f32
  %vals = dstc_tile.load_values %x, %n : vector<8xi32>
  dstc_tile.acc_clear 0
  dstc_tile.spwmma 0, %vals %b, %vals %s : vector<8xi32>, vector<8xi32>
  dstc_tile.spwmma 1, %vals %b, %vals %s {high_a, high_b} : vector<8xi32>, vector<8xi32>
  %t = dstc_tile.acc_read 0, 3
  %tt = dstc_tile.acc_read 1, 0 transposed
  dstc_tile.return
}

func.func @main(%x: tensor<4x4xf16>) -> tensor<4x4xf32> {
  %y = dstc_tile.launch @k(%x) {op = "relu", engine = "dual", macs = 64 : i64, dstc.source = ["relu1"]} : (tensor<4x4xf16>) -> tensor<4x4xf32>
  func.return %y : tensor<4x4xf32>
}

// CHECK:      dstc_tile.kernel @k ["x", "y"] grid = [2, 3, 1], warps = 4, shared = 1024, acc = 2 attributes {dstc.source = ["conv1"]} {
// CHECK-NEXT: ^bb0(%x: i32, %y: i32):
// CHECK-NEXT:   %lane = dstc_tile.id lane
// CHECK-NEXT:   %warp = dstc_tile.id warp
// CHECK-NEXT:   %cx = dstc_tile.id cta_x
// CHECK-NEXT:   %cy = dstc_tile.id cta_y
// CHECK-NEXT:   %cz = dstc_tile.id cta_z
// CHECK:        %v = dstc_tile.load global %x + 16 : f32
// CHECK-NEXT:   %h = dstc_tile.load global %x + 0 bits 16 if %p else %c4 : i32 : i32
// CHECK-NEXT:   %f = dstc_tile.load shared %lane + -16 : vector<4xi32>
// CHECK-NEXT:   %g = dstc_tile.load shared %lane + 0 if %p else %f : vector<4xi32> : vector<4xi32>
// CHECK-NEXT:   dstc_tile.store shared %f, %lane + 0 : vector<4xi32>
// CHECK-NEXT:   dstc_tile.store global %h, %y + 4 bits 8 if %p : i32
// CHECK-NEXT:   dstc_tile.prefetch %x + 32
// CHECK-NEXT:   dstc_tile.prefetch %x + 64 if %p
// CHECK-NEXT:   dstc_tile.atomic_or %h, %y + 8 if %p
// CHECK-NEXT:   %was = dstc_tile.atomic_add %h, %y if %p
// CHECK-NEXT:   %vv = dstc_tile.combine %v, %v : f32, f32 -> vector<2xf32>
// CHECK-NEXT:   %hh = dstc_tile.halves %h, %h : %cx, %cy -> vector<2xi32>
// CHECK-NEXT:   dstc_tile.barrier
// CHECK-NEXT:   %b = dstc_tile.ballot %p
// CHECK-NEXT:   %s = dstc_tile.shuffle %b, %lane
// CHECK-NEXT:   %n = dstc_tile.popcount %s
// CHECK-NEXT:   %exp = dstc_tile.mufu ex2 %v
// CHECK-NEXT:   %u = dstc_tile.pack %v, %v
// CHECK-NEXT:   %lo = dstc_tile.unpack %u
// CHECK-NEXT:   %hi = dstc_tile.unpack high %u
// CHECK-NEXT:   %q = dstc_tile.splat 0 : vector<8xf32>
// CHECK-NEXT:   %r = dstc_tile.hmma "AROW" "BCOL" %f, %g, %q
// CHECK-NEXT:   %rs = dstc_tile.hmma_step "ACOL" "BROW" %h, %s, %r
// CHECK-NEXT:   %e = dstc_tile.extract %r[3] : vector<8xf32> -> f32
// CHECK-NEXT:   %vals = dstc_tile.load_values %x, %n : vector<8xi32>
// CHECK-NEXT:   dstc_tile.acc_clear 0
// CHECK-NEXT:   dstc_tile.spwmma 0, %vals %b, %vals %s : vector<8xi32>, vector<8xi32>
// CHECK-NEXT:   dstc_tile.spwmma 1, %vals %b, %vals %s {high_a, high_b} : vector<8xi32>, vector<8xi32>
// CHECK-NEXT:   %t = dstc_tile.acc_read 0, 3
// CHECK-NEXT:   %tt = dstc_tile.acc_read 1, 0 transposed
// CHECK-NEXT:   dstc_tile.return
// CHECK-NEXT: }
// CHECK:        %y = dstc_tile.launch @k(%x) {
// CHECK-SAME:     op = "relu"
// CHECK-SAME:     : (tensor<4x4xf16>) -> tensor<4x4xf32>

// GENERIC:      "dstc_tile.kernel"() <{sym_name = "k", params = ["x", "y"], grid = array<i64: 2, 3, 1>, warps = 4 : i64, shared = 1024 : i64, acc = 2 : i64}> ({
// GENERIC:        %lane = "dstc_tile.id"() <{which = #dstc_tile<id lane>}> : () -> i32
// GENERIC:        %v = "dstc_tile.load"(%x) <{space = #dstc_tile<space global>, offset = 16 : i64, operandSegmentSizes = array<i32: 1, 0, 0>}> : (i32) -> f32
// GENERIC-NEXT:   %h = "dstc_tile.load"(%x, %p, %c4) <{space = #dstc_tile<space global>, offset = 0 : i64, bits = 16 : i64, operandSegmentSizes = array<i32: 1, 1, 1>}> : (i32, i1, i32) -> i32
// GENERIC:        "dstc_tile.store"(%h, %y, %p) <{space = #dstc_tile<space global>, offset = 4 : i64, bits = 8 : i64, operandSegmentSizes = array<i32: 1, 1, 1>}> : (i32, i32, i1) -> ()
// GENERIC-NEXT:   "dstc_tile.prefetch"(%x) <{offset = 32 : i64}> : (i32) -> ()
// GENERIC-NEXT:   "dstc_tile.prefetch"(%x, %p) <{offset = 64 : i64}> : (i32, i1) -> ()
// GENERIC-NEXT:   "dstc_tile.atomic_or"(%h, %y, %p) <{offset = 8 : i64, operandSegmentSizes = array<i32: 1, 1, 1>}> : (i32, i32, i1) -> ()
// GENERIC-NEXT:   %was = "dstc_tile.atomic_add"(%h, %y, %p) : (i32, i32, i1) -> i32
// GENERIC-NEXT:   %vv = "dstc_tile.combine"(%v, %v) : (f32, f32) -> vector<2xf32>
// GENERIC-NEXT:   %hh = "dstc_tile.halves"(%h, %h, %cx, %cy)
// GENERIC-NEXT:   "dstc_tile.barrier"() : () -> ()
// GENERIC-NEXT:   %b = "dstc_tile.ballot"(%p) : (i1) -> i32
// GENERIC-NEXT:   %s = "dstc_tile.shuffle"(%b, %lane) : (i32, i32) -> i32
// GENERIC-NEXT:   %n = "dstc_tile.popcount"(%s) : (i32) -> i32
// GENERIC-NEXT:   %exp = "dstc_tile.mufu"(%v) <{function = #dstc_tile<special ex2>}> : (f32) -> f32
// GENERIC-NEXT:   %u = "dstc_tile.pack"(%v, %v) : (f32, f32) -> i32
// GENERIC-NEXT:   %lo = "dstc_tile.unpack"(%u) : (i32) -> f32
// GENERIC-NEXT:   %hi = "dstc_tile.unpack"(%u) <{high}> : (i32) -> f32
// GENERIC-NEXT:   %q = "dstc_tile.splat"() <{bits = 0 : i64}> : () -> vector<8xf32>
// GENERIC-NEXT:   %r = "dstc_tile.hmma"(%f, %g, %q) <{layout_a = "AROW", layout_b = "BCOL"}> : (vector<4xi32>, vector<4xi32>, vector<8xf32>) -> vector<8xf32>
// GENERIC-NEXT:   %rs = "dstc_tile.hmma_step"(%h, %s, %r) <{layout_a = "ACOL", layout_b = "BROW"}> : (i32, i32, vector<8xf32>) -> vector<8xf32>
// GENERIC-NEXT:   %e = "dstc_tile.extract"(%r) <{index = 3 : i64}> : (vector<8xf32>) -> f32
// GENERIC-NEXT:   %vals = "dstc_tile.load_values"(%x, %n) : (i32, i32) -> vector<8xi32>
// GENERIC-NEXT:   "dstc_tile.acc_clear"() <{tile = 0 : i64}> : () -> ()
// GENERIC-NEXT:   "dstc_tile.spwmma"(%vals, %vals, %b, %s) <{tile = 0 : i64}> : (vector<8xi32>, vector<8xi32>, i32, i32) -> ()
// GENERIC-NEXT:   "dstc_tile.spwmma"(%vals, %vals, %b, %s) <{tile = 1 : i64, high_a, high_b}> : (vector<8xi32>, vector<8xi32>, i32, i32) -> ()
// GENERIC-NEXT:   %t = "dstc_tile.acc_read"() <{tile = 0 : i64, part = 3 : i64}> : () -> vector<8xf32>
// GENERIC-NEXT:   %tt = "dstc_tile.acc_read"() <{tile = 1 : i64, part = 0 : i64, transposed}> : () -> vector<8xf32>
// GENERIC-NEXT:   "dstc_tile.return"() : () -> ()
// GENERIC:      "dstc_tile.launch"(%x) <{kernel = "k", op = "relu", engine = "dual", macs = 64 : i64}> {dstc.source = ["relu1"]} : (tensor<4x4xf16>) -> tensor<4x4xf32>
