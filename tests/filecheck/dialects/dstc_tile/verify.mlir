// RUN: dstc-opt %s --split-input-file --verify-diagnostics --parsing-diagnostics | filecheck %s

dstc_tile.kernel @k ["x"] grid = [1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  dstc_tile.return
}
// CHECK: grid must be three positive numbers

// -----

dstc_tile.kernel @k ["x"] grid = [1, 0, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  dstc_tile.return
}
// CHECK: grid must be three positive numbers

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 33, shared = 0, acc = 1 {
^bb0(%x: i32):
  dstc_tile.return
}
// CHECK: warps must be 1 to 32, not 33

// -----

dstc_tile.kernel @k ["x", "y"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  dstc_tile.return
}
// CHECK: the body must have 2 i32 arguments

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: f32):
  dstc_tile.return
}
// CHECK: the body must have 1 i32 arguments

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  dstc_tile.acc_clear 1
  dstc_tile.return
}
// CHECK: dstc_tile.acc_clear: tile 1 is beyond the kernel's 1

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 0 {
^bb0(%x: i32):
  %r = dstc_tile.acc_read 0, 0
  dstc_tile.return
}
// CHECK: dstc_tile.acc_read: tile 0 is beyond the kernel's 0

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  dstc_tile.acc_clear 32
  dstc_tile.return
}
// CHECK: tile must be 0 to 31

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %r = dstc_tile.acc_read -1, 0
  dstc_tile.return
}
// CHECK: tile must be 0 to 31

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %v = dstc_tile.splat 0 : vector<8xi32>
  dstc_tile.spwmma 40, %v %x, %v %x : vector<8xi32>, vector<8xi32>
  dstc_tile.return
}
// CHECK: tile must be 0 to 31

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %r = dstc_tile.acc_read 0, 4
  dstc_tile.return
}
// CHECK: part must be 0 to 3

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %v = dstc_tile.load global %x + 0 bits 32 : i32
  dstc_tile.return
}
// CHECK: a narrow access is of 8 or 16 bits and i32

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %v = dstc_tile.load global %x + 0 bits 16 : f32
  dstc_tile.return
}
// CHECK: a narrow access is of 8 or 16 bits and i32

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %v = dstc_tile.load global %x + 0 : vector<3xi32>
  dstc_tile.return
}
// CHECK: an access is of 1, 2 or 4 words of i32 or f32, not vector<3xi32>

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %v = dstc_tile.load global %x + 0 : f64
  dstc_tile.return
}
// CHECK: an access is of 1, 2 or 4 words of i32 or f32, not f64

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %v = dstc_tile.splat 0 : vector<8xi32>
  dstc_tile.store global %v, %x + 0 : vector<8xi32>
  dstc_tile.return
}
// CHECK: an access is of 1, 2 or 4 words of i32 or f32, not vector<8xi32>

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %v = dstc_tile.load global %x + 0 else %x : i32 : i32
  dstc_tile.return
}
// CHECK: a default needs a predicate

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %p = arith.constant true
  %d = arith.constant 0.0 : f32
  %v = dstc_tile.load global %x + 0 if %p else %d : f32 : i32
  dstc_tile.return
}
// CHECK: the default must be of the result's type

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %p = arith.constant true
  dstc_tile.store global %p, %x + 0 : i1
  dstc_tile.return
}
// CHECK: an access is of 1, 2 or 4 words of i32 or f32, not i1

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %v = dstc_tile.splat 0 : vector<2xi32>
  %e = dstc_tile.extract %v[2] : vector<2xi32> -> i32
  dstc_tile.return
}
// CHECK: index must be 0 to 1

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %v = dstc_tile.splat 0 : vector<2xi32>
  %e = dstc_tile.extract %v[1] : vector<2xi32> -> f32
  dstc_tile.return
}
// CHECK: the result must be of the vector's element type

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %v = dstc_tile.splat 0 : vector<2xf16>
  dstc_tile.return
}
// CHECK: a splat is of i32 or f32, not vector<2xf16>

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %v = dstc_tile.splat 4294967296 : i32
  dstc_tile.return
}
// CHECK: bits 4294967296 are no 32-bit word

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %f = dstc_tile.splat 0 : vector<4xi32>
  %c = dstc_tile.splat 0 : vector<8xf32>
  %d = dstc_tile.hmma "AROW" "ACOL" %f, %f, %c
  dstc_tile.return
}
// CHECK: layouts are AROW or ACOL, and BROW or BCOL

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %f = dstc_tile.splat 0 : vector<4xi32>
  %d = "dstc_tile.hmma"(%f, %f, %f) <{layout_a = "AROW", layout_b = "BROW"}> : (vector<4xi32>, vector<4xi32>, vector<4xi32>) -> vector<8xf32>
  dstc_tile.return
}
// CHECK: operand 'c' at position 2 does not verify

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %b = "dstc_tile.ballot"(%x) : (i32) -> i32
  dstc_tile.return
}
// CHECK: operand 'predicate' at position 0 does not verify

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %i = "dstc_tile.id"() <{which = "lane"}> : () -> i32
  dstc_tile.return
}
// CHECK: "lane" should be of base attribute dstc_tile.id

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %v = arith.constant dense<0> : vector<2x4xi32>
  %e = dstc_tile.extract %v[1] : vector<2x4xi32> -> i32
  dstc_tile.return
}
// CHECK: an extract is from a vector of i32 or f32, not vector<2x4xi32>

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %c = dstc_tile.splat 0 : vector<8xf32>
  %d = dstc_tile.hmma_step "BROW" "BCOL" %x, %x, %c
  dstc_tile.return
}
// CHECK: layouts are AROW or ACOL, and BROW or BCOL

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %v = dstc_tile.combine %x, %x : i32, i32 -> vector<4xi32>
  dstc_tile.return
}
// CHECK: 2 words are no vector<4xi32>; the result has one element an operand

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %v = dstc_tile.combine %x, %x : i32, i32 -> vector<2xf32>
  dstc_tile.return
}
// CHECK: elements must be of the result's element type

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %v = dstc_tile.load_values %x, %x : vector<6xi32>
  dstc_tile.return
}
// CHECK: condensed values are 4, 8 or 16 registers of i32, not vector<6xi32>

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %v = dstc_tile.splat 0 : vector<16xi32>
  dstc_tile.spwmma 0, %v %x, %v %x : vector<16xi32>, vector<16xi32>
  dstc_tile.return
}
// CHECK: a tile of 32 vectors has 4 or 8 registers of values

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 8 {
^bb0(%x: i32):
  %v = dstc_tile.splat 0 : vector<8xi32>
  dstc_tile.spwmma 2, %v %x, %v %x {window = 64 : i64} : vector<8xi32>, vector<8xi32>
  dstc_tile.return
}
// CHECK: with window 64, tile is a multiple of 4, and no half is chosen

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 8 {
^bb0(%x: i32):
  %v = dstc_tile.splat 0 : vector<8xi32>
  dstc_tile.spwmma 0, %v %x, %v %x {window = 48 : i64} : vector<8xi32>, vector<8xi32>
  dstc_tile.return
}
// CHECK: window must be 32 or 64, not 48
