// RUN: dstc-opt %s --split-input-file --verify-diagnostics

dstc_isa.kernel @k ["x", "y"] warps = 4, shared = 0, acc = 1 {
  // expected-error@below {{a register group has 1, 2, 4, 8 or 16 registers, not 3}}
  %a = dstc_isa.ldg<32> : () -> !dstc_isa.reg<3>
  dstc_isa.exit
}

// -----

dstc_isa.kernel @k ["x", "y"] warps = 4, shared = 0, acc = 1 {
  // expected-error@below {{a group of 2 cannot start at R1: misaligned}}
  %a = dstc_isa.ldg<64> : () -> !dstc_isa.reg<2, R1>
  dstc_isa.exit
}

// -----

dstc_isa.kernel @k ["x", "y"] warps = 4, shared = 0, acc = 1 {
  // expected-error@below {{R252 + 4 registers run past R254}}
  %a = dstc_isa.ldg<128> : () -> !dstc_isa.reg<4, R252>
  dstc_isa.exit
}

// -----

dstc_isa.kernel @k ["x", "y"] warps = 4, shared = 0, acc = 1 {
  // expected-error@below {{expected a register, R0 to R254 or RZ}}
  %a = dstc_isa.ldg<32> : () -> !dstc_isa.reg<1, X1>
  dstc_isa.exit
}

// -----

dstc_isa.kernel @k ["x", "y"] warps = 4, shared = 0, acc = 1 {
  // expected-error@below {{predicates are P0 to P6 and PT}}
  %p = dstc_isa.isetp<EQ.U32> b(1) : () -> !dstc_isa.pred<P8>
  dstc_isa.exit
}

// -----

dstc_isa.kernel @k ["x", "y"] warps = 4, shared = 0, acc = 1 {
  // expected-error@below {{expected a predicate, P0 to P6 or PT}}
  %p = dstc_isa.isetp<EQ.U32> b(1) : () -> !dstc_isa.pred<R1>
  dstc_isa.exit
}

// -----

dstc_isa.kernel @k ["x", "y"] warps = 4, shared = 0, acc = 1 {
  %r = dstc_isa.mov b(0) : () -> !dstc_isa.reg<1>
  // expected-error@below {{each role may be given once}}
  %b = dstc_isa.popc a(%r), a(%r) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  dstc_isa.exit
}

// -----

dstc_isa.kernel @k ["x", "y"] warps = 4, shared = 0, acc = 1 {
  %r = dstc_isa.mov b(0) : () -> !dstc_isa.reg<1>
  // expected-error@below {{needs 1 modifiers (sign)}}
  %b = dstc_isa.shr a(%r), b(1) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  dstc_isa.exit
}

// -----

dstc_isa.kernel @k ["x", "y"] warps = 4, shared = 0, acc = 1 {
  %r = dstc_isa.mov b(0) : () -> !dstc_isa.reg<1>
  // expected-error@below {{modifier sign must be one of U32, S32, not U64}}
  %b = dstc_isa.shr<U64> a(%r), b(1) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  dstc_isa.exit
}

// -----

dstc_isa.kernel @k ["x", "y"] warps = 4, shared = 0, acc = 1 {
  %r = dstc_isa.mov b(0) : () -> !dstc_isa.reg<1>
  // expected-error@below {{has no operand c}}
  %b = dstc_isa.popc c(%r) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  dstc_isa.exit
}

// -----

dstc_isa.kernel @k ["x", "y"] warps = 4, shared = 0, acc = 1 {
  %r = dstc_isa.mov b(0) : () -> !dstc_isa.reg<1>
  // expected-error@below {{guard must be a predicate}}
  %b = dstc_isa.popc guard(%r) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  dstc_isa.exit
}

// -----

dstc_isa.kernel @k ["x", "y"] warps = 4, shared = 0, acc = 1 {
  // expected-error@below {{needs acc, 0 to 31}}
  dstc_isa.aclr : () -> ()
  dstc_isa.exit
}

// -----

// expected-error@below {{dstc_isa.aclr: acc 32 is beyond the kernel's 1 tiles}}
dstc_isa.kernel @k ["x", "y"] warps = 4, shared = 0, acc = 1 {
  // expected-error@below {{needs acc, 0 to 31}}
  dstc_isa.aclr acc(32) : () -> ()
  dstc_isa.exit
}

// -----

dstc_isa.kernel @k ["x", "y"] warps = 4, shared = 0, acc = 1 {
  // expected-error@below {{needs sr, one of SR_LANE, SR_WARP}}
  %b = dstc_isa.s2r : () -> !dstc_isa.reg<1>
  dstc_isa.exit
}

// -----

dstc_isa.kernel @k ["x", "y"] warps = 4, shared = 0, acc = 1 {
  // expected-error@below {{needs b: a register, an immediate, or a parameter}}
  %b = dstc_isa.mov : () -> !dstc_isa.reg<1>
  dstc_isa.exit
}

// -----

dstc_isa.kernel @k ["x", "y"] warps = 4, shared = 0, acc = 1 {
  // expected-error@below {{needs b: a register, an immediate, or a parameter}}
  %b = dstc_isa.mov b(1), param(0) : () -> !dstc_isa.reg<1>
  dstc_isa.exit
}

// -----

dstc_isa.kernel @k ["x", "y"] warps = 4, shared = 0, acc = 1 {
  %r = dstc_isa.mov b(0) : () -> !dstc_isa.reg<1>
  // expected-error@below {{needs operand pa}}
  %b = dstc_isa.sel a(%r), b(1) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  dstc_isa.exit
}

// -----

dstc_isa.kernel @k ["x", "y"] warps = 4, shared = 0, acc = 1 {
  %r = dstc_isa.mov b(0) : () -> !dstc_isa.reg<1>
  // expected-error@below {{pa must be a predicate}}
  %b = dstc_isa.sel a(%r), b(1), pa(%r) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  dstc_isa.exit
}

// -----

dstc_isa.kernel @k ["x", "y"] warps = 4, shared = 0, acc = 1 {
  %p = dstc_isa.isetp<EQ.U32> b(1) : () -> !dstc_isa.pred
  // expected-error@below {{a must be a register}}
  %b = dstc_isa.popc a(%p) : (!dstc_isa.pred) -> !dstc_isa.reg<1>
  dstc_isa.exit
}

// -----

dstc_isa.kernel @k ["x", "y"] warps = 4, shared = 0, acc = 1 {
  %r = dstc_isa.mov b(0) : () -> !dstc_isa.reg<1>
  // expected-error@below {{a is a register and cannot be negated}}
  %b = dstc_isa.popc a(not %r) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  dstc_isa.exit
}

// -----

dstc_isa.kernel @k ["x", "y"] warps = 4, shared = 0, acc = 1 {
  %r = dstc_isa.mov b(0) : () -> !dstc_isa.reg<1>
  // expected-error@below {{a uses 1 registers from 1 of a group of 1}}
  %b = dstc_isa.popc a(%r[1]) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  dstc_isa.exit
}

// -----

dstc_isa.kernel @k ["x", "y"] warps = 4, shared = 0, acc = 1 {
  %q = dstc_isa.undef : !dstc_isa.reg<4>
  // expected-error@below {{b uses 2 registers from 1 of a group of 4}}
  dstc_isa.stg<64> b(%q[1]) : (!dstc_isa.reg<4>) -> ()
  dstc_isa.exit
}

// -----

dstc_isa.kernel @k ["x", "y"] warps = 4, shared = 0, acc = 1 {
  %r = dstc_isa.mov b(0) : () -> !dstc_isa.reg<1>
  // expected-error@below {{must have 1 result}}
  dstc_isa.popc a(%r) : (!dstc_isa.reg<1>) -> ()
  dstc_isa.exit
}

// -----

dstc_isa.kernel @k ["x", "y"] warps = 4, shared = 0, acc = 1 {
  %r = dstc_isa.mov b(0) : () -> !dstc_isa.reg<1>
  // expected-error@below {{into needs a result}}
  dstc_isa.stg<32> b(%r), into(%r) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>) -> ()
  dstc_isa.exit
}

// -----

dstc_isa.kernel @k ["x", "y"] warps = 4, shared = 0, acc = 1 {
  // expected-error@below {{the result must be a predicate}}
  %b = dstc_isa.isetp<EQ.U32> b(1) : () -> !dstc_isa.reg<1>
  dstc_isa.exit
}

// -----

dstc_isa.kernel @k ["x", "y"] warps = 4, shared = 0, acc = 1 {
  %q = dstc_isa.undef : !dstc_isa.reg<4>
  // expected-error@below {{the result must be of the size of into}}
  %b = dstc_isa.popc into(%q[3]) : (!dstc_isa.reg<4>) -> !dstc_isa.reg<1>
  dstc_isa.exit
}

// -----

dstc_isa.kernel @k ["x", "y"] warps = 4, shared = 0, acc = 1 {
  // expected-error@below {{the result must have 2 registers}}
  %b = dstc_isa.ldg<64> : () -> !dstc_isa.reg<1>
  dstc_isa.exit
}

// -----

// expected-error@below {{dstc_isa.mov: the kernel has no parameter 2}}
dstc_isa.kernel @k ["x", "y"] warps = 4, shared = 0, acc = 1 {
  %b = dstc_isa.mov param(2) : () -> !dstc_isa.reg<1>
  dstc_isa.exit
}

// -----

// expected-error@below {{dstc_isa.aclr: acc 1 is beyond the kernel's 1 tiles}}
dstc_isa.kernel @k ["x", "y"] warps = 4, shared = 0, acc = 1 {
  dstc_isa.aclr acc(1) : () -> ()
  dstc_isa.exit
}

// -----

// expected-error@below {{warps must be 1 to 32, not 33}}
dstc_isa.kernel @k [] warps = 33, shared = 0, acc = 0 {
  dstc_isa.exit
}

// -----

// expected-error@below {{each block ends with jump, branch or exit}}
dstc_isa.kernel @k [] warps = 1, shared = 0, acc = 0 {
  // expected-error@below {{dstc_isa.nop terminates block in single-block region but is not a terminator}}
  dstc_isa.nop : () -> ()
}

// -----

// expected-error@below {{each block ends with jump, branch or exit}}
dstc_isa.kernel @k [] warps = 1, shared = 0, acc = 0 {
  "test.termop"() : () -> ()
}
