// RUN: dstc-opt %s -p verify-registers | filecheck %s
// RUN: sed 's/R1>/R0>/' %s | not dstc-opt -p verify-registers 2>&1 | filecheck %s --check-prefix CLASH
// RUN: sed '/%i/s/R3>/R7>/' %s | not dstc-opt -p verify-registers 2>&1 | filecheck %s --check-prefix PASSED
// RUN: sed '/%h/s/R4>$/R8>/; /%h)/s/R4/R8/' %s | not dstc-opt -p verify-registers 2>&1 | filecheck %s --check-prefix TIED
// RUN: sed 's/registers = 10/registers = 4/' %s | not dstc-opt -p verify-registers 2>&1 | filecheck %s --check-prefix LIMIT
// RUN: sed 's/P1>/P0>/' %s | not dstc-opt -p verify-registers 2>&1 | filecheck %s --check-prefix PREDICATE
// RUN: sed 's/, registers = 10//' %s | not dstc-opt -p verify-registers 2>&1 | filecheck %s --check-prefix UNALLOCATED

dstc_isa.kernel @k [] warps = 1, shared = 0, acc = 0, registers = 10 {
  %a = dstc_isa.mov b(1) : () -> !dstc_isa.reg<1, R0>
  %b = dstc_isa.mov b(2) : () -> !dstc_isa.reg<1, R1>
  dstc_isa.stg<32> a(%a), b(%b) : (!dstc_isa.reg<1, R0>, !dstc_isa.reg<1, R1>) -> ()
  %p = dstc_isa.isetp<EQ.U32> b(3) : () -> !dstc_isa.pred<P0>
  %q = dstc_isa.isetp<EQ.U32> b(4) : () -> !dstc_isa.pred<P1>
  dstc_isa.bar<SYNC> guard(%p) : (!dstc_isa.pred<P0>) -> ()
  %g = dstc_isa.ldg<64> guard(%q) : (!dstc_isa.pred<P1>) -> !dstc_isa.reg<2, R4>
  %h = dstc_isa.mov b(5), into(%g[1]) : (!dstc_isa.reg<2, R4>) -> !dstc_isa.reg<2, R4>
  %i = dstc_isa.mov b(6) : () -> !dstc_isa.reg<1, R3>
  dstc_isa.jump ^l(%i : !dstc_isa.reg<1, R3>)
^l(%j: !dstc_isa.reg<1, R3>):
  dstc_isa.stg<64> a(%j), b(%h) : (!dstc_isa.reg<1, R3>, !dstc_isa.reg<2, R4>) -> ()
  dstc_isa.exit
}
// CHECK:     dstc_isa.kernel @k
// CLASH:     kernel k: `dstc_isa.stg<32> a(%a), b(%b)` reads %a from R0, which holds %b; this is a bug in allocate-registers
// PASSED:    passes %i as %j in R3, which holds nothing certain
// TIED:      must be in the registers of %g
// LIMIT:     %g is in R4, outside the 4 registers that the kernel declares
// PREDICATE: `dstc_isa.bar<SYNC> guard(%p)` reads %p from P0, which holds %q
// UNALLOCATED: kernel k: registers are not allocated; run allocate-registers first
