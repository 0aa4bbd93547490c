// RUN: dstc-opt %s | filecheck %s
// RUN: dstc-opt %s | dstc-opt | filecheck %s
// RUN: dstc-opt %s --mlir-print-op-generic | dstc-opt | filecheck %s
// RUN: dstc-opt %s --mlir-print-op-generic | filecheck %s --check-prefix GENERIC

// Every instruction, with the last choice of each modifier.
dstc_isa.kernel @every ["x"] warps = 1, shared = 0, acc = 4 {
  %r1 = dstc_isa.undef : !dstc_isa.reg<1>
  %p = dstc_isa.undef : !dstc_isa.pred
  %r4 = dstc_isa.undef : !dstc_isa.reg<4>
  %r2 = dstc_isa.undef : !dstc_isa.reg<2>
  %r8 = dstc_isa.undef : !dstc_isa.reg<8>
  %0 = dstc_isa.mov b(3) : () -> !dstc_isa.reg<1>
  %1 = dstc_isa.s2r sr(SR_CLOCK) : () -> !dstc_isa.reg<1>
  %2 = dstc_isa.sel a(%r1), pa(%p), b(3) : (!dstc_isa.reg<1>, !dstc_isa.pred) -> !dstc_isa.reg<1>
  %3 = dstc_isa.prmt a(%r1), c(%r1), b(3) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %4 = dstc_isa.shfl<BFLY> a(%r1), b(3) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %5 = dstc_isa.vote<BALLOT> pa(%p) : (!dstc_isa.pred) -> !dstc_isa.reg<1>
  %6 = dstc_isa.votep<ANY> pa(%p) : (!dstc_isa.pred) -> !dstc_isa.pred
  %7 = dstc_isa.iadd3 a(%r1), c(%r1), b(3) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %8 = dstc_isa.isub a(%r1), b(3) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %9 = dstc_isa.imad<HI> a(%r1), c(%r1), b(3) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %10 = dstc_isa.imnmx<MAX.S32> a(%r1), b(3) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %11 = dstc_isa.lop<ANDN> a(%r1), b(3) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %12 = dstc_isa.shl a(%r1), b(3) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %13 = dstc_isa.shr<S32> a(%r1), b(3) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %14 = dstc_isa.shf<R> a(%r1), c(%r1), b(3) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %15 = dstc_isa.popc a(%r1) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %16 = dstc_isa.flo a(%r1) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %17 = dstc_isa.brev a(%r1) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %18 = dstc_isa.isetp<NONE.S32> a(%r1), pa(%p), b(3) : (!dstc_isa.reg<1>, !dstc_isa.pred) -> !dstc_isa.pred
  %19 = dstc_isa.plop<XOR> pa(%p), pb(%p) : (!dstc_isa.pred, !dstc_isa.pred) -> !dstc_isa.pred
  %20 = dstc_isa.fadd a(%r1), b(3) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %21 = dstc_isa.fmul a(%r1), b(3) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %22 = dstc_isa.ffma a(%r1), c(%r1), b(3) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %23 = dstc_isa.fmnmx<MAX.NAN> a(%r1), b(3) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %24 = dstc_isa.fsetp<GE> a(%r1), pa(%p), b(3) : (!dstc_isa.reg<1>, !dstc_isa.pred) -> !dstc_isa.pred
  %25 = dstc_isa.mufu<COS> a(%r1) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %26 = dstc_isa.i2f<S32> a(%r1) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %27 = dstc_isa.f2i<S32> a(%r1) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %28 = dstc_isa.f2f<HI> a(%r1) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %29 = dstc_isa.pack a(%r1), b(3) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  %30 = dstc_isa.ldg<128> a(%r1) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<4>
  dstc_isa.stg<128> a(%r1), b(%r4) : (!dstc_isa.reg<1>, !dstc_isa.reg<4>) -> ()
  %31 = dstc_isa.lds<128> a(%r1) : (!dstc_isa.reg<1>) -> !dstc_isa.reg<4>
  dstc_isa.sts<128> a(%r1), b(%r4) : (!dstc_isa.reg<1>, !dstc_isa.reg<4>) -> ()
  dstc_isa.red<OR.F32> a(%r1), b(%r1) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>) -> ()
  %32 = dstc_isa.atom<ADD.U32> a(%r1), b(%r1) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  dstc_isa.prefetch<L1> a(%r1) : (!dstc_isa.reg<1>) -> ()
  %33 = dstc_isa.ldv<ALL> a(%r1), b(%r1) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>) -> !dstc_isa.reg<16>
  dstc_isa.nop : () -> ()
  dstc_isa.bssy : () -> ()
  dstc_isa.bsync : () -> ()
  dstc_isa.bar<SYNC> : () -> ()
  %34 = dstc_isa.hmma<884.ACOL.BCOL.STEP3> a(%r1), b(%r1), c(%r2) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>, !dstc_isa.reg<2>) -> !dstc_isa.reg<2>
  %35 = dstc_isa.hmma.sp<8816.B.ACROSS.STEP3.SLICE7> a(%r1), b(%r4), c(%r2), e(%r1) : (!dstc_isa.reg<1>, !dstc_isa.reg<4>, !dstc_isa.reg<2>, !dstc_isa.reg<1>) -> !dstc_isa.reg<2>
  dstc_isa.spwmma<323216.AHI.BHI.A256.B256> a(%r4), b(%r4), c(%r1), e(%r1), acc(0) : (!dstc_isa.reg<4>, !dstc_isa.reg<4>, !dstc_isa.reg<1>, !dstc_isa.reg<1>) -> ()
  %36 = dstc_isa.bohmma<32321.K15.AHI.BHI> a(%r1), b(%r1) : (!dstc_isa.reg<1>, !dstc_isa.reg<1>) -> !dstc_isa.reg<1>
  dstc_isa.ohmma<8161.K15.AHI.BHI.A3.B1.A256.B256> a(%r4), b(%r4), c(%r1), e(%r1), acc(0) : (!dstc_isa.reg<4>, !dstc_isa.reg<4>, !dstc_isa.reg<1>, !dstc_isa.reg<1>) -> ()
  dstc_isa.aclr acc(0) : () -> ()
  %37 = dstc_isa.ard<P3.T> acc(0) : () -> !dstc_isa.reg<8>
  dstc_isa.awr<P3.T> a(%r8), acc(0) : (!dstc_isa.reg<8>) -> ()
  dstc_isa.spwmma64<646416.A512.B512> a(%r8), b(%r8), c(%r1), e(%r1), acc(0) : (!dstc_isa.reg<8>, !dstc_isa.reg<8>, !dstc_isa.reg<1>, !dstc_isa.reg<1>) -> ()
  dstc_isa.fence
  dstc_isa.branch %p : !dstc_isa.pred, ^bb1, ^bb2
^bb1:
  dstc_isa.jump ^bb2
^bb2:
  dstc_isa.exit
}

// CHECK:   %{{.*}} = dstc_isa.mov
// GENERIC: "dstc_isa.mov"(
// CHECK:   %{{.*}} = dstc_isa.s2r
// GENERIC: "dstc_isa.s2r"(
// CHECK:   %{{.*}} = dstc_isa.sel
// GENERIC: "dstc_isa.sel"(
// CHECK:   %{{.*}} = dstc_isa.prmt
// GENERIC: "dstc_isa.prmt"(
// CHECK:   %{{.*}} = dstc_isa.shfl<BFLY>
// GENERIC: "dstc_isa.shfl"(
// CHECK:   %{{.*}} = dstc_isa.vote<BALLOT>
// GENERIC: "dstc_isa.vote"(
// CHECK:   %{{.*}} = dstc_isa.votep<ANY>
// GENERIC: "dstc_isa.votep"(
// CHECK:   %{{.*}} = dstc_isa.iadd3
// GENERIC: "dstc_isa.iadd3"(
// CHECK:   %{{.*}} = dstc_isa.isub
// GENERIC: "dstc_isa.isub"(
// CHECK:   %{{.*}} = dstc_isa.imad<HI>
// GENERIC: "dstc_isa.imad"(
// CHECK:   %{{.*}} = dstc_isa.imnmx<MAX.S32>
// GENERIC: "dstc_isa.imnmx"(
// CHECK:   %{{.*}} = dstc_isa.lop<ANDN>
// GENERIC: "dstc_isa.lop"(
// CHECK:   %{{.*}} = dstc_isa.shl
// GENERIC: "dstc_isa.shl"(
// CHECK:   %{{.*}} = dstc_isa.shr<S32>
// GENERIC: "dstc_isa.shr"(
// CHECK:   %{{.*}} = dstc_isa.shf<R>
// GENERIC: "dstc_isa.shf"(
// CHECK:   %{{.*}} = dstc_isa.popc
// GENERIC: "dstc_isa.popc"(
// CHECK:   %{{.*}} = dstc_isa.flo
// GENERIC: "dstc_isa.flo"(
// CHECK:   %{{.*}} = dstc_isa.brev
// GENERIC: "dstc_isa.brev"(
// CHECK:   %{{.*}} = dstc_isa.isetp<NONE.S32>
// GENERIC: "dstc_isa.isetp"(
// CHECK:   %{{.*}} = dstc_isa.plop<XOR>
// GENERIC: "dstc_isa.plop"(
// CHECK:   %{{.*}} = dstc_isa.fadd
// GENERIC: "dstc_isa.fadd"(
// CHECK:   %{{.*}} = dstc_isa.fmul
// GENERIC: "dstc_isa.fmul"(
// CHECK:   %{{.*}} = dstc_isa.ffma
// GENERIC: "dstc_isa.ffma"(
// CHECK:   %{{.*}} = dstc_isa.fmnmx<MAX.NAN>
// GENERIC: "dstc_isa.fmnmx"(
// CHECK:   %{{.*}} = dstc_isa.fsetp<GE>
// GENERIC: "dstc_isa.fsetp"(
// CHECK:   %{{.*}} = dstc_isa.mufu<COS>
// GENERIC: "dstc_isa.mufu"(
// CHECK:   %{{.*}} = dstc_isa.i2f<S32>
// GENERIC: "dstc_isa.i2f"(
// CHECK:   %{{.*}} = dstc_isa.f2i<S32>
// GENERIC: "dstc_isa.f2i"(
// CHECK:   %{{.*}} = dstc_isa.f2f<HI>
// GENERIC: "dstc_isa.f2f"(
// CHECK:   %{{.*}} = dstc_isa.pack
// GENERIC: "dstc_isa.pack"(
// CHECK:   %{{.*}} = dstc_isa.ldg<128>
// GENERIC: "dstc_isa.ldg"(
// CHECK:   dstc_isa.stg<128>
// GENERIC: "dstc_isa.stg"(
// CHECK:   %{{.*}} = dstc_isa.lds<128>
// GENERIC: "dstc_isa.lds"(
// CHECK:   dstc_isa.sts<128>
// GENERIC: "dstc_isa.sts"(
// CHECK:   dstc_isa.red<OR.F32>
// GENERIC: "dstc_isa.red"(
// CHECK:   %{{.*}} = dstc_isa.atom<ADD.U32>
// GENERIC: "dstc_isa.atom"(
// CHECK:   dstc_isa.prefetch<L1>
// GENERIC: "dstc_isa.prefetch"(
// CHECK:   %{{.*}} = dstc_isa.ldv<ALL>
// GENERIC: "dstc_isa.ldv"(
// CHECK:   dstc_isa.nop
// GENERIC: "dstc_isa.nop"(
// CHECK:   dstc_isa.bssy
// GENERIC: "dstc_isa.bssy"(
// CHECK:   dstc_isa.bsync
// GENERIC: "dstc_isa.bsync"(
// CHECK:   dstc_isa.bar<SYNC>
// GENERIC: "dstc_isa.bar"(
// CHECK:   %{{.*}} = dstc_isa.hmma<884.ACOL.BCOL.STEP3>
// GENERIC: "dstc_isa.hmma"(
// CHECK:   %{{.*}} = dstc_isa.hmma.sp<8816.B.ACROSS.STEP3.SLICE7>
// GENERIC: "dstc_isa.hmma.sp"(
// CHECK:   dstc_isa.spwmma<323216.AHI.BHI.A256.B256>
// GENERIC: "dstc_isa.spwmma"(
// CHECK:   %{{.*}} = dstc_isa.bohmma<32321.K15.AHI.BHI>
// GENERIC: "dstc_isa.bohmma"(
// CHECK:   dstc_isa.ohmma<8161.K15.AHI.BHI.A3.B1.A256.B256>
// GENERIC: "dstc_isa.ohmma"(
// CHECK:   dstc_isa.aclr
// GENERIC: "dstc_isa.aclr"(
// CHECK:   %{{.*}} = dstc_isa.ard<P3.T>
// GENERIC: "dstc_isa.ard"(
// CHECK:   dstc_isa.awr<P3.T>
// GENERIC: "dstc_isa.awr"(
// CHECK:   dstc_isa.spwmma64<646416.A512.B512>
// GENERIC: "dstc_isa.spwmma64"(
// CHECK: dstc_isa.fence
// GENERIC: "dstc_isa.fence"()
