// RUN: dstc-opt %s --split-input-file --verify-diagnostics

// expected-error@below {{grid must be three positive numbers}}
dstc_tile.kernel @k ["x"] grid = [1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  dstc_tile.return
}

// -----

// expected-error@below {{grid must be three positive numbers}}
dstc_tile.kernel @k ["x"] grid = [1, 0, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  dstc_tile.return
}

// -----

// expected-error@below {{warps must be 1 to 32, not 33}}
dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 33, shared = 0, acc = 1 {
^bb0(%x: i32):
  dstc_tile.return
}

// -----

// expected-error@below {{the body must have 2 i32 arguments}}
dstc_tile.kernel @k ["x", "y"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  dstc_tile.return
}

// -----

// expected-error@below {{the body must have 1 i32 arguments}}
dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: f32):
  dstc_tile.return
}

// -----

// expected-error@below {{dstc_tile.acc_clear: tile 1 is beyond the kernel's 1}}
dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  dstc_tile.acc_clear 1
  dstc_tile.return
}

// -----

// expected-error@below {{dstc_tile.acc_read: tile 0 is beyond the kernel's 0}}
dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 0 {
^bb0(%x: i32):
  %r = dstc_tile.acc_read 0, 0
  dstc_tile.return
}

// -----

// expected-error@below {{dstc_tile.acc_clear: tile 32 is beyond the kernel's 1}}
dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  // expected-error@below {{tile must be 0 to 31}}
  dstc_tile.acc_clear 32
  dstc_tile.return
}

// -----

// expected-error@below {{dstc_tile.acc_read: tile -1 is beyond the kernel's 1}}
dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  // expected-error@below {{tile must be 0 to 31}}
  %r = dstc_tile.acc_read -1, 0
  dstc_tile.return
}

// -----

// expected-error@below {{dstc_tile.spwmma: tile 40 is beyond the kernel's 1}}
dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %v = dstc_tile.splat 0 : vector<8xi32>
  // expected-error@below {{tile must be 0 to 31}}
  dstc_tile.spwmma 40, %v %x, %v %x : vector<8xi32>, vector<8xi32>
  dstc_tile.return
}

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  // expected-error@below {{part must be 0 to 3}}
  %r = dstc_tile.acc_read 0, 4
  dstc_tile.return
}

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  // expected-error@below {{a narrow access is of 8 or 16 bits and i32}}
  %v = dstc_tile.load global %x + 0 bits 32 : i32
  dstc_tile.return
}

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  // expected-error@below {{a narrow access is of 8 or 16 bits and i32}}
  %v = dstc_tile.load global %x + 0 bits 16 : f32
  dstc_tile.return
}

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  // expected-error@below {{an access is of 1, 2 or 4 words of i32 or f32, not vector<3xi32>}}
  %v = dstc_tile.load global %x + 0 : vector<3xi32>
  dstc_tile.return
}

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  // expected-error@below {{an access is of 1, 2 or 4 words of i32 or f32, not f64}}
  %v = dstc_tile.load global %x + 0 : f64
  dstc_tile.return
}

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %v = dstc_tile.splat 0 : vector<8xi32>
  // expected-error@below {{an access is of 1, 2 or 4 words of i32 or f32, not vector<8xi32>}}
  dstc_tile.store global %v, %x + 0 : vector<8xi32>
  dstc_tile.return
}

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  // expected-error@below {{a default needs a predicate}}
  %v = dstc_tile.load global %x + 0 else %x : i32 : i32
  dstc_tile.return
}

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %p = arith.constant true
  %d = arith.constant 0.0 : f32
  // expected-error@below {{the default must be of the result's type}}
  %v = dstc_tile.load global %x + 0 if %p else %d : f32 : i32
  dstc_tile.return
}

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %p = arith.constant true
  // expected-error@below {{an access is of 1, 2 or 4 words of i32 or f32, not i1}}
  dstc_tile.store global %p, %x + 0 : i1
  dstc_tile.return
}

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %v = dstc_tile.splat 0 : vector<2xi32>
  // expected-error@below {{index must be 0 to 1}}
  %e = dstc_tile.extract %v[2] : vector<2xi32> -> i32
  dstc_tile.return
}

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %v = dstc_tile.splat 0 : vector<2xi32>
  // expected-error@below {{the result must be of the vector's element type}}
  %e = dstc_tile.extract %v[1] : vector<2xi32> -> f32
  dstc_tile.return
}

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  // expected-error@below {{a splat is of i32 or f32, not vector<2xf16>}}
  %v = dstc_tile.splat 0 : vector<2xf16>
  dstc_tile.return
}

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  // expected-error@below {{bits 4294967296 are no 32-bit word}}
  %v = dstc_tile.splat 4294967296 : i32
  dstc_tile.return
}

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %f = dstc_tile.splat 0 : vector<4xi32>
  %c = dstc_tile.splat 0 : vector<8xf32>
  // expected-error@below {{layouts are AROW or ACOL, and BROW or BCOL}}
  %d = dstc_tile.hmma "AROW" "ACOL" %f, %f, %c
  dstc_tile.return
}

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %f = dstc_tile.splat 0 : vector<4xi32>
  // expected-error@below {{operand 'c' at position 2 does not verify}}
  %d = "dstc_tile.hmma"(%f, %f, %f) <{layout_a = "AROW", layout_b = "BROW"}> : (vector<4xi32>, vector<4xi32>, vector<4xi32>) -> vector<8xf32>
  dstc_tile.return
}

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  // expected-error@below {{operand 'predicate' at position 0 does not verify}}
  %b = "dstc_tile.ballot"(%x) : (i32) -> i32
  dstc_tile.return
}

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  // expected-error@below {{"lane" should be of base attribute dstc_tile.id}}
  %i = "dstc_tile.id"() <{which = "lane"}> : () -> i32
  dstc_tile.return
}

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %v = arith.constant dense<0> : vector<2x4xi32>
  // expected-error@below {{an extract is from a vector of i32 or f32, not vector<2x4xi32>}}
  %e = dstc_tile.extract %v[1] : vector<2x4xi32> -> i32
  dstc_tile.return
}

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %c = dstc_tile.splat 0 : vector<8xf32>
  // expected-error@below {{layouts are AROW or ACOL, and BROW or BCOL}}
  %d = dstc_tile.hmma_step "BROW" "BCOL" %x, %x, %c
  dstc_tile.return
}

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  // expected-error@below {{2 words are no vector<4xi32>; the result has one element an operand}}
  %v = dstc_tile.combine %x, %x : i32, i32 -> vector<4xi32>
  dstc_tile.return
}

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  // expected-error@below {{elements must be of the result's element type}}
  %v = dstc_tile.combine %x, %x : i32, i32 -> vector<2xf32>
  dstc_tile.return
}

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  // expected-error@below {{condensed values are 4, 8 or 16 registers of i32, not vector<6xi32>}}
  %v = dstc_tile.load_values %x, %x : vector<6xi32>
  dstc_tile.return
}

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 1 {
^bb0(%x: i32):
  %v = dstc_tile.splat 0 : vector<16xi32>
  // expected-error@below {{a tile of 32 vectors has 4 or 8 registers of values}}
  dstc_tile.spwmma 0, %v %x, %v %x : vector<16xi32>, vector<16xi32>
  dstc_tile.return
}

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 8 {
^bb0(%x: i32):
  %v = dstc_tile.splat 0 : vector<8xi32>
  // expected-error@below {{with window 64, tile is a multiple of 4, and no half is chosen}}
  dstc_tile.spwmma 2, %v %x, %v %x {window = 64 : i64} : vector<8xi32>, vector<8xi32>
  dstc_tile.return
}

// -----

dstc_tile.kernel @k ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 8 {
^bb0(%x: i32):
  %v = dstc_tile.splat 0 : vector<8xi32>
  // expected-error@below {{window must be 32 or 64, not 48}}
  dstc_tile.spwmma 0, %v %x, %v %x {window = 48 : i64} : vector<8xi32>, vector<8xi32>
  dstc_tile.return
}
