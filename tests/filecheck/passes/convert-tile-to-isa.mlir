// RUN: dstc-opt %s -p convert-tile-to-isa | filecheck %s

// Constants and parameters are immediates where one fits; multiply-add and three-way additions are one instruction.
dstc_tile.kernel @arithmetic ["x", "y"] grid = [2, 3, 1], warps = 4, shared = 64, acc = 0 attributes {dstc.source = ["add"]} {
^bb0(%x: i32, %y: i32):
  %lane = dstc_tile.id lane
  %c3 = arith.constant 3 : i32
  %c4 = arith.constant 4 : i32
  %m1 = arith.constant -1 : i32
  %product = arith.muli %lane, %c3 : i32
  %address = arith.addi %product, %x : i32
  %v = dstc_tile.load global %address + 8 : i32
  %scaled = arith.shli %v, %c4 : i32
  %sum = arith.addi %scaled, %v : i32
  %partial = arith.addi %v, %lane : i32
  %three = arith.addi %partial, %sum : i32
  %less = arith.subi %three, %m1 : i32
  %power = arith.muli %less, %c4 : i32
  %both = arith.addi %c3, %x : i32
  %all = arith.ori %power, %both : i32
  dstc_tile.store global %all, %y + 0 : i32
  dstc_tile.store shared %all, %address + 4 bits 16 : i32
  dstc_tile.return
}
// CHECK-LABEL: dstc_isa.kernel @arithmetic ["x", "y"] warps = 4, shared = 64, acc = 0 attributes {grid = array<i64: 2, 3, 1>, dstc.source = ["add"]} {
// CHECK-NEXT:  %[[V0:.*]] = dstc_isa.s2r sr(SR_LANE)
// CHECK-NEXT:  %[[V1:.*]] = dstc_isa.mov param(0)
// CHECK-NEXT:  %[[V2:.*]] = dstc_isa.mov param(1)
// CHECK-NEXT:  %[[V3:.*]] = dstc_isa.imad<LO> a(%[[V0]]), c(%[[V1]]), b(3)
// CHECK-NEXT:  %[[V4:.*]] = dstc_isa.ldg<32> a(%[[V3]] + 8)
// CHECK-NEXT:  %[[V5:.*]] = dstc_isa.imad<LO> a(%[[V4]]), c(%[[V4]]), b(16)
// CHECK-NEXT:  %[[V6:.*]] = dstc_isa.iadd3 a(%[[V4]]), c(%[[V0]]), b(%[[V5]])
// CHECK-NEXT:  %[[V7:.*]] = dstc_isa.isub a(%[[V6]]), b(-1)
// CHECK-NEXT:  %[[V8:.*]] = dstc_isa.shl a(%[[V7]]), b(2)
// CHECK-NEXT:  %[[V9:.*]] = dstc_isa.iadd3 a(%[[V1]]), b(3)
// CHECK-NEXT:  %[[V10:.*]] = dstc_isa.lop<OR> a(%[[V8]]), b(%[[V9]])
// CHECK-NEXT:  dstc_isa.stg<32> a(%[[V2]]), b(%[[V10]])
// CHECK-NEXT:  dstc_isa.sts<U16> a(%[[V3]] + 4), b(%[[V10]])
// CHECK-NEXT:  dstc_isa.exit

// Division by constants: a multiplication and a shift, or a shift alone.
dstc_tile.kernel @division ["x", "y"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 0 {
^bb0(%x: i32, %y: i32):
  %lane = dstc_tile.id lane
  %c1 = arith.constant 1 : i32
  %c7 = arith.constant 7 : i32
  %c8 = arith.constant 8 : i32
  %a = arith.divui %lane, %c7 : i32
  %b = arith.remui %lane, %c7 : i32
  %c = arith.divui %lane, %c8 : i32
  %d = arith.remui %lane, %c8 : i32
  %e = arith.divui %lane, %c1 : i32
  dstc_tile.store global %a, %y + 0 : i32
  dstc_tile.store global %b, %y + 4 : i32
  dstc_tile.store global %c, %y + 8 : i32
  dstc_tile.store global %d, %y + 12 : i32
  dstc_tile.store global %e, %y + 16 : i32
  dstc_tile.return
}
// CHECK-LABEL: dstc_isa.kernel @division ["x", "y"]
// CHECK-NEXT:  %[[V0:.*]] = dstc_isa.s2r sr(SR_LANE)
// CHECK-NEXT:  %[[V1:.*]] = dstc_isa.mov param(1)
// CHECK-NEXT:  %[[V2:.*]] = dstc_isa.imad<HI> a(%[[V0]]), b(-1840700269)
// CHECK-NEXT:  %[[V3:.*]] = dstc_isa.shr<U32> a(%[[V2]]), b(2)
// CHECK-NEXT:  %[[V4:.*]] = dstc_isa.imad<HI> a(%[[V0]]), b(-1840700269)
// CHECK-NEXT:  %[[V5:.*]] = dstc_isa.shr<U32> a(%[[V4]]), b(2)
// CHECK-NEXT:  %[[V6:.*]] = dstc_isa.imad<LO> a(%[[V5]]), c(%[[V0]]), b(-7)
// CHECK-NEXT:  %[[V7:.*]] = dstc_isa.shr<U32> a(%[[V0]]), b(3)
// CHECK-NEXT:  %[[V8:.*]] = dstc_isa.lop<AND> a(%[[V0]]), b(7)
// CHECK-NEXT:  dstc_isa.stg<32> a(%[[V1]]), b(%[[V3]])
// CHECK-NEXT:  dstc_isa.stg<32> a(%[[V1]] + 4), b(%[[V6]])
// CHECK-NEXT:  dstc_isa.stg<32> a(%[[V1]] + 8), b(%[[V7]])
// CHECK-NEXT:  dstc_isa.stg<32> a(%[[V1]] + 12), b(%[[V8]])
// CHECK-NEXT:  dstc_isa.stg<32> a(%[[V1]] + 16), b(%[[V0]])
// CHECK-NEXT:  dstc_isa.exit

// Comparisons join into conjunctions; a predicated load keeps its default in a copy; what always or never holds.
dstc_tile.kernel @predicates ["x", "y"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 0 {
^bb0(%x: i32, %y: i32):
  %lane = dstc_tile.id lane
  %c9 = arith.constant 9 : i32
  %zero = arith.constant 0 : i32
  %true = arith.constant true
  %false = arith.constant false
  %p = arith.cmpi ult, %lane, %c9 : i32
  %q = arith.cmpi ult, %c9, %lane : i32
  %r = arith.cmpi sge, %lane, %x : i32
  %pq = arith.andi %p, %q : i1
  %pqr = arith.andi %pq, %r : i1
  %or = arith.ori %pqr, %pq : i1
  %not = arith.xori %or, %true : i1
  %never = arith.andi %not, %false : i1
  %u = dstc_tile.load global %x + 0 if %pqr else %lane : i32 : i32
  %w = dstc_tile.load global %x + 0 if %true else %lane : i32 : i32
  %def = dstc_tile.splat 0 : vector<4xi32>
  %v = dstc_tile.load global %x + 16 if %pqr else %def : vector<4xi32> : vector<4xi32>
  %s = arith.select %p, %u, %zero : i32
  %t = arith.select %p, %zero, %w : i32
  %sv = arith.select %p, %v, %def : vector<4xi32>
  %ballot = dstc_tile.ballot %not
  dstc_tile.store global %s, %y + 0 if %not : i32
  dstc_tile.store global %t, %y + 4 if %true : i32
  dstc_tile.store global %sv, %y + 16 if %never : vector<4xi32>
  dstc_tile.atomic_or %ballot, %y + 8 if %p
  dstc_tile.return
}
// CHECK-LABEL: dstc_isa.kernel @predicates ["x", "y"]
// CHECK-NEXT:  %[[V0:.*]] = dstc_isa.s2r sr(SR_LANE)
// CHECK-NEXT:  %[[V1:.*]] = dstc_isa.isetp<NE.U32> b(0)
// CHECK-NEXT:  %[[V2:.*]] = dstc_isa.mov param(0)
// CHECK-NEXT:  %[[V3:.*]] = dstc_isa.mov param(1)
// CHECK-NEXT:  %[[V4:.*]] = dstc_isa.isetp<LT.U32> a(%[[V0]]), b(9)
// CHECK-NEXT:  %[[V5:.*]] = dstc_isa.isetp<GT.U32> a(%[[V0]]), pa(%[[V4]]), b(9)
// CHECK-NEXT:  %[[V6:.*]] = dstc_isa.isetp<GE.S32> a(%[[V0]]), pa(%[[V5]]), param(0)
// CHECK-NEXT:  %[[V7:.*]] = dstc_isa.plop<OR> pa(%[[V6]]), pb(%[[V5]])
// CHECK-NEXT:  %[[V8:.*]] = dstc_isa.plop<XOR> pa(%[[V7]])
// CHECK-NEXT:  %[[V9:.*]] = dstc_isa.plop<AND> pa(%[[V8]]), pb(%[[V1]])
// CHECK-NEXT:  %[[V10:.*]] = dstc_isa.undef : !dstc_isa.reg<1>
// CHECK-NEXT:  %[[V11:.*]] = dstc_isa.mov b(%[[V0]]), into(%[[V10]])
// CHECK-NEXT:  %[[V12:.*]] = dstc_isa.ldg<32> a(%[[V2]]), guard(%[[V6]]), into(%[[V11]])
// CHECK-NEXT:  %[[V13:.*]] = dstc_isa.ldg<32> a(%[[V2]])
// CHECK-NEXT:  %[[V14:.*]] = dstc_isa.undef : !dstc_isa.reg<4>
// CHECK-NEXT:  %[[V15:.*]] = dstc_isa.mov into(%[[V14]]), b(0)
// CHECK-NEXT:  %[[V16:.*]] = dstc_isa.mov into(%[[V15]][1]), b(0)
// CHECK-NEXT:  %[[V17:.*]] = dstc_isa.mov into(%[[V16]][2]), b(0)
// CHECK-NEXT:  %[[V18:.*]] = dstc_isa.mov into(%[[V17]][3]), b(0)
// CHECK-NEXT:  %[[V19:.*]] = dstc_isa.ldg<128> a(%[[V2]] + 16), guard(%[[V6]]), into(%[[V18]])
// CHECK-NEXT:  %[[V20:.*]] = dstc_isa.sel a(%[[V12]]), pa(%[[V4]]), b(0)
// CHECK-NEXT:  %[[V21:.*]] = dstc_isa.sel a(%[[V13]]), pa(not %[[V4]]), b(0)
// CHECK-NEXT:  %[[V22:.*]] = dstc_isa.sel a(%[[V19]]), pa(%[[V4]]), b(0)
// CHECK-NEXT:  %[[V23:.*]] = dstc_isa.sel a(%[[V19]][1]), pa(%[[V4]]), b(0)
// CHECK-NEXT:  %[[V24:.*]] = dstc_isa.sel a(%[[V19]][2]), pa(%[[V4]]), b(0)
// CHECK-NEXT:  %[[V25:.*]] = dstc_isa.sel a(%[[V19]][3]), pa(%[[V4]]), b(0)
// CHECK-NEXT:  %[[V26:.*]] = dstc_isa.vote<BALLOT> pa(%[[V8]])
// CHECK-NEXT:  dstc_isa.stg<32> a(%[[V3]]), b(%[[V20]]), guard(%[[V8]])
// CHECK-NEXT:  dstc_isa.stg<32> a(%[[V3]] + 4), b(%[[V21]])
// CHECK-NEXT:  %[[V27:.*]] = dstc_isa.undef : !dstc_isa.reg<4>
// CHECK-NEXT:  %[[V28:.*]] = dstc_isa.mov b(%[[V22]]), into(%[[V27]])
// CHECK-NEXT:  %[[V29:.*]] = dstc_isa.mov b(%[[V23]]), into(%[[V28]][1])
// CHECK-NEXT:  %[[V30:.*]] = dstc_isa.mov b(%[[V24]]), into(%[[V29]][2])
// CHECK-NEXT:  %[[V31:.*]] = dstc_isa.mov b(%[[V25]]), into(%[[V30]][3])
// CHECK-NEXT:  dstc_isa.stg<128> a(%[[V3]] + 16), b(%[[V31]]), guard(%[[V9]])
// CHECK-NEXT:  dstc_isa.red<OR.U32> a(%[[V3]] + 8), b(%[[V26]]), guard(%[[V4]])
// CHECK-NEXT:  dstc_isa.exit

// Warp-wide ops, conversions, vectors of constants.
dstc_tile.kernel @warp ["x", "y"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 0 {
^bb0(%x: i32, %y: i32):
  %w = dstc_tile.id warp
  %cx = dstc_tile.id cta_x
  %five = arith.constant 5 : i32
  %one = arith.constant 1.0 : f32
  %s = dstc_tile.shuffle %w, %five
  %n = dstc_tile.popcount %s
  %f = dstc_tile.unpack %n
  %g = dstc_tile.unpack high %cx
  %h = arith.addf %one, %f : f32
  %i = arith.maximumf %h, %g : f32
  %p = dstc_tile.pack %i, %one
  %b = arith.bitcast %i : f32 to i32
  %z = arith.constant dense<[1, 2]> : vector<2xi32>
  %z1 = dstc_tile.extract %z[1] : vector<2xi32> -> i32
  dstc_tile.store global %p, %y + 0 bits 16 : i32
  dstc_tile.store global %b, %y + 4 : i32
  dstc_tile.barrier
  dstc_tile.store global %z, %y + 8 : vector<2xi32>
  dstc_tile.store global %z1, %y + 16 : i32
  dstc_tile.return
}
// CHECK-LABEL: dstc_isa.kernel @warp ["x", "y"]
// CHECK-NEXT:  %[[V0:.*]] = dstc_isa.s2r sr(SR_WARP)
// CHECK-NEXT:  %[[V1:.*]] = dstc_isa.s2r sr(SR_CTAID_X)
// CHECK-NEXT:  %[[V2:.*]] = dstc_isa.mov param(1)
// CHECK-NEXT:  %[[V3:.*]] = dstc_isa.mov b(2)
// CHECK-NEXT:  %[[V4:.*]] = dstc_isa.shfl<IDX> a(%[[V0]]), b(5)
// CHECK-NEXT:  %[[V5:.*]] = dstc_isa.popc a(%[[V4]])
// CHECK-NEXT:  %[[V6:.*]] = dstc_isa.f2f<LO> a(%[[V5]])
// CHECK-NEXT:  %[[V7:.*]] = dstc_isa.f2f<HI> a(%[[V1]])
// CHECK-NEXT:  %[[V8:.*]] = dstc_isa.fadd a(%[[V6]]), b(1065353216)
// CHECK-NEXT:  %[[V9:.*]] = dstc_isa.fmnmx<MAX.NAN> a(%[[V8]]), b(%[[V7]])
// CHECK-NEXT:  %[[V10:.*]] = dstc_isa.pack a(%[[V9]]), b(1065353216)
// CHECK-NEXT:  dstc_isa.stg<U16> a(%[[V2]]), b(%[[V10]])
// CHECK-NEXT:  dstc_isa.stg<32> a(%[[V2]] + 4), b(%[[V9]])
// CHECK-NEXT:  dstc_isa.bar<SYNC>
// CHECK-NEXT:  %[[V11:.*]] = dstc_isa.undef : !dstc_isa.reg<2>
// CHECK-NEXT:  %[[V12:.*]] = dstc_isa.mov into(%[[V11]]), b(1)
// CHECK-NEXT:  %[[V13:.*]] = dstc_isa.mov into(%[[V12]][1]), b(2)
// CHECK-NEXT:  dstc_isa.stg<64> a(%[[V2]] + 8), b(%[[V13]])
// CHECK-NEXT:  dstc_isa.stg<32> a(%[[V2]] + 16), b(%[[V3]])
// CHECK-NEXT:  dstc_isa.exit

// Loops: counted (entered without a test), never entered (gone), with a bound from a parameter, with a bound that differs from lane to lane (a region to come together after). Bounds are signed.
dstc_tile.kernel @loops ["x", "n", "y"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 0 {
^bb0(%x: i32, %n: i32, %y: i32):
  %lane = dstc_tile.id lane
  %c0 = arith.constant 0 : i32
  %c10 = arith.constant 10 : i32
  %c3 = arith.constant 3 : i32
  %m1 = arith.constant -1 : i32
  %f0 = arith.constant 0.0 : f32
  %counted = scf.for %i = %m1 to %c10 step %c3 iter_args(%a = %c0) -> (i32) : i32 {
    %b = arith.addi %a, %i : i32
    scf.yield %b : i32
  }
  %never = scf.for %i = %c10 to %c3 step %c3 iter_args(%a = %counted) -> (i32) : i32 {
    %b = arith.addi %a, %i : i32
    scf.yield %b : i32
  }
  %uniform:2 = scf.for %i = %c0 to %n step %c3 iter_args(%a = %never, %f = %f0) -> (i32, f32) : i32 {
    %b = dstc_tile.load global %x + 0 : f32
    %g = arith.addf %f, %b : f32
    scf.yield %i, %g : i32, f32
  }
  %divergent = scf.for %i = %c0 to %lane step %c3 iter_args(%a = %uniform#0) -> (i32) : i32 {
    %b = arith.addi %a, %i : i32
    scf.yield %b : i32
  }
  dstc_tile.store global %divergent, %y + 0 : i32
  dstc_tile.store global %uniform#1, %y + 4 : f32
  dstc_tile.return
}
// CHECK-LABEL: dstc_isa.kernel @loops ["x", "n", "y"]
// CHECK-NEXT:  %[[V0:.*]] = dstc_isa.s2r sr(SR_LANE)
// CHECK-NEXT:  %[[V1:.*]] = dstc_isa.mov param(0)
// CHECK-NEXT:  %[[V2:.*]] = dstc_isa.mov param(2)
// CHECK-NEXT:  %[[V3:.*]] = dstc_isa.mov b(0)
// CHECK-NEXT:  %[[V4:.*]] = dstc_isa.mov b(-1)
// CHECK-NEXT:  dstc_isa.jump ^bb1(%[[V4]], %[[V3]] : !dstc_isa.reg<1>, !dstc_isa.reg<1>)
// CHECK-NEXT:  ^bb1(%[[V5:.*]]: !dstc_isa.reg<1>, %[[V6:.*]]: !dstc_isa.reg<1>):
// CHECK-NEXT:  %[[V7:.*]] = dstc_isa.iadd3 a(%[[V6]]), b(%[[V5]])
// CHECK-NEXT:  %[[V8:.*]] = dstc_isa.iadd3 a(%[[V5]]), b(3)
// CHECK-NEXT:  %[[V9:.*]] = dstc_isa.isetp<LT.S32> a(%[[V8]]), b(10)
// CHECK-NEXT:  dstc_isa.branch %[[V9]]{{.*}}^bb1(%[[V8]], %[[V7]]{{.*}}^bb2(%[[V7]]
// CHECK-NEXT:  ^bb2(%[[V10:.*]]: !dstc_isa.reg<1>):
// CHECK-NEXT:  %[[V11:.*]] = dstc_isa.mov b(0)
// CHECK-NEXT:  %[[V12:.*]] = dstc_isa.mov b(0)
// CHECK-NEXT:  %[[V13:.*]] = dstc_isa.isetp<LT.S32> a(%[[V12]]), param(1)
// CHECK-NEXT:  dstc_isa.branch %[[V13]]{{.*}}^bb3(%[[V12]], %[[V10]], %[[V11]]{{.*}}^bb4(%[[V10]], %[[V11]]
// CHECK-NEXT:  ^bb3(%[[V14:.*]]: !dstc_isa.reg<1>, %[[V15:.*]]: !dstc_isa.reg<1>, %[[V16:.*]]: !dstc_isa.reg<1>):
// CHECK-NEXT:  %[[V17:.*]] = dstc_isa.ldg<32> a(%[[V1]])
// CHECK-NEXT:  %[[V18:.*]] = dstc_isa.fadd a(%[[V16]]), b(%[[V17]])
// CHECK-NEXT:  %[[V19:.*]] = dstc_isa.iadd3 a(%[[V14]]), b(3)
// CHECK-NEXT:  %[[V20:.*]] = dstc_isa.isetp<LT.S32> a(%[[V19]]), param(1)
// CHECK-NEXT:  dstc_isa.branch %[[V20]]{{.*}}^bb3(%[[V19]], %[[V14]], %[[V18]]{{.*}}^bb4(%[[V14]], %[[V18]]
// CHECK-NEXT:  ^bb4(%[[V21:.*]]: !dstc_isa.reg<1>, %[[V22:.*]]: !dstc_isa.reg<1>):
// CHECK-NEXT:  %[[V23:.*]] = dstc_isa.mov b(0)
// CHECK-NEXT:  dstc_isa.bssy
// CHECK-NEXT:  %[[V24:.*]] = dstc_isa.isetp<LT.S32> a(%[[V23]]), b(%[[V0]])
// CHECK-NEXT:  dstc_isa.branch %[[V24]]{{.*}}^bb5(%[[V23]], %[[V21]]{{.*}}^bb6(%[[V21]]
// CHECK-NEXT:  ^bb5(%[[V25:.*]]: !dstc_isa.reg<1>, %[[V26:.*]]: !dstc_isa.reg<1>):
// CHECK-NEXT:  %[[V27:.*]] = dstc_isa.iadd3 a(%[[V26]]), b(%[[V25]])
// CHECK-NEXT:  %[[V28:.*]] = dstc_isa.iadd3 a(%[[V25]]), b(3)
// CHECK-NEXT:  %[[V29:.*]] = dstc_isa.isetp<LT.S32> a(%[[V28]]), b(%[[V0]])
// CHECK-NEXT:  dstc_isa.branch %[[V29]]{{.*}}^bb5(%[[V28]], %[[V27]]{{.*}}^bb6(%[[V27]]
// CHECK-NEXT:  ^bb6(%[[V30:.*]]: !dstc_isa.reg<1>):
// CHECK-NEXT:  dstc_isa.bsync
// CHECK-NEXT:  dstc_isa.stg<32> a(%[[V2]]), b(%[[V30]])
// CHECK-NEXT:  dstc_isa.stg<32> a(%[[V2]] + 4), b(%[[V22]])
// CHECK-NEXT:  dstc_isa.exit

// A loop that goes on while its condition holds.
dstc_tile.kernel @while ["n", "y"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 0 {
^bb0(%n: i32, %y: i32):
  %c1 = arith.constant 1 : i32
  %last = scf.while (%i = %c1) : (i32) -> i32 {
    %twice = arith.addi %i, %i : i32
    %more = arith.cmpi ult, %twice, %n : i32
    scf.condition(%more) %twice : i32
  } do {
  ^bb1(%j: i32):
    %next = arith.addi %j, %c1 : i32
    scf.yield %next : i32
  } attributes {uniform}
  dstc_tile.store global %last, %y + 0 : i32
  dstc_tile.return
}
// CHECK-LABEL: dstc_isa.kernel @while ["n", "y"]
// CHECK:       dstc_isa.jump ^bb1(%[[V1:[^ ]*]] :
// CHECK-NEXT:  ^bb1(%[[V2:.*]]: !dstc_isa.reg<1>):
// CHECK-NEXT:  %[[V3:.*]] = dstc_isa.iadd3 a(%[[V2]]), b(%[[V2]])
// CHECK-NEXT:  %[[V4:.*]] = dstc_isa.isetp<LT.U32> a(%[[V3]]), param(0)
// CHECK-NEXT:  dstc_isa.branch %[[V4]]{{.*}}^bb2(%[[V3]]{{.*}}^bb3(%[[V3]]
// CHECK-NEXT:  ^bb2(%[[V5:.*]]: !dstc_isa.reg<1>):
// CHECK-NEXT:  %[[V6:.*]] = dstc_isa.iadd3 a(%[[V5]]), b(1)
// CHECK-NEXT:  dstc_isa.jump ^bb1(%[[V6]]
// CHECK-NEXT:  ^bb3(%[[V7:.*]]: !dstc_isa.reg<1>):
// CHECK-NEXT:  dstc_isa.stg<32>

// Branches: the same way for all lanes, and divergent with a result; one that is always taken is none. A comparison is made again where it is needed.
dstc_tile.kernel @branches ["y"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 0 {
^bb0(%y: i32):
  %lane = dstc_tile.id lane
  %warp = dstc_tile.id warp
  %c2 = arith.constant 2 : i32
  %p = arith.cmpi ult, %warp, %c2 : i32
  %q = arith.cmpi ult, %lane, %c2 : i32
  %true = arith.constant true
  scf.if %p {
    dstc_tile.store global %lane, %y + 0 : i32
    scf.yield
  } {uniform}
  %r = scf.if %q -> (i32) {
    %d = arith.addi %lane, %c2 : i32
    scf.yield %d : i32
  } else {
    scf.yield %c2 : i32
  }
  %s = scf.if %true -> (i32) {
    scf.yield %r : i32
  } else {
    scf.yield %c2 : i32
  }
  dstc_tile.store global %s, %y + 4 if %q : i32
  dstc_tile.return
}
// CHECK-LABEL: dstc_isa.kernel @branches ["y"]
// CHECK-NEXT:  %[[V0:.*]] = dstc_isa.s2r sr(SR_LANE)
// CHECK-NEXT:  %[[V1:.*]] = dstc_isa.s2r sr(SR_WARP)
// CHECK-NEXT:  %[[V2:.*]] = dstc_isa.mov param(0)
// CHECK-NEXT:  %[[V3:.*]] = dstc_isa.isetp<LT.U32> a(%[[V1]]), b(2)
// CHECK-NEXT:  dstc_isa.branch %[[V3]]{{.*}}^bb1{{.*}}^bb2
// CHECK-NEXT:  ^bb1:
// CHECK-NEXT:  dstc_isa.stg<32> a(%[[V2]]), b(%[[V0]])
// CHECK-NEXT:  dstc_isa.jump ^bb2
// CHECK-NEXT:  ^bb2:
// CHECK-NEXT:  %[[V4:.*]] = dstc_isa.isetp<LT.U32> a(%[[V0]]), b(2)
// CHECK-NEXT:  dstc_isa.bssy
// CHECK-NEXT:  dstc_isa.branch %[[V4]]{{.*}}^bb3{{.*}}^bb4
// CHECK-NEXT:  ^bb3:
// CHECK-NEXT:  %[[V5:.*]] = dstc_isa.iadd3 a(%[[V0]]), b(2)
// CHECK-NEXT:  dstc_isa.jump ^bb5(%[[V5]] : !dstc_isa.reg<1>)
// CHECK-NEXT:  ^bb4:
// CHECK-NEXT:  %[[V6:.*]] = dstc_isa.mov b(2)
// CHECK-NEXT:  dstc_isa.jump ^bb5(%[[V6]] : !dstc_isa.reg<1>)
// CHECK-NEXT:  ^bb5(%[[V7:.*]]: !dstc_isa.reg<1>):
// CHECK-NEXT:  dstc_isa.bsync
// CHECK-NEXT:  %[[V8:.*]] = dstc_isa.isetp<LT.U32> a(%[[V0]]), b(2)
// CHECK-NEXT:  dstc_isa.stg<32> a(%[[V2]] + 4), b(%[[V7]]), guard(%[[V8]])
// CHECK-NEXT:  dstc_isa.exit

// Four steps of HMMA are independent chains; each goes through ascending k. An accumulator is carried as four pairs of registers.
dstc_tile.kernel @dense ["x", "y"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 0 {
^bb0(%x: i32, %y: i32):
  %c0 = arith.constant 0 : i32
  %c2 = arith.constant 2 : i32
  %c1 = arith.constant 1 : i32
  %zero = dstc_tile.splat 0 : vector<8xf32>
  %a = dstc_tile.load global %x + 0 : vector<4xi32>
  %first = dstc_tile.hmma "AROW" "BCOL" %a, %a, %zero
  %acc = scf.for %i = %c0 to %c2 step %c1 iter_args(%c = %first) -> (vector<8xf32>) : i32 {
    %next = dstc_tile.hmma "AROW" "BCOL" %a, %a, %c
    scf.yield %next : vector<8xf32>
  }
  %e = dstc_tile.extract %acc[3] : vector<8xf32> -> f32
  dstc_tile.store global %e, %y + 0 : f32
  dstc_tile.return
}
// CHECK-LABEL: dstc_isa.kernel @dense ["x", "y"]
// CHECK-NEXT:  %[[V0:.*]] = dstc_isa.mov param(0)
// CHECK-NEXT:  %[[V1:.*]] = dstc_isa.mov param(1)
// CHECK-NEXT:  %[[V2:.*]] = dstc_isa.ldg<128> a(%[[V0]])
// CHECK-NEXT:  %[[V3:.*]] = dstc_isa.hmma<884.AROW.BCOL.STEP0> a(%[[V2]]), b(%[[V2]])
// CHECK-NEXT:  %[[V4:.*]] = dstc_isa.hmma<884.AROW.BCOL.STEP1> a(%[[V2]]), b(%[[V2]])
// CHECK-NEXT:  %[[V5:.*]] = dstc_isa.hmma<884.AROW.BCOL.STEP2> a(%[[V2]]), b(%[[V2]])
// CHECK-NEXT:  %[[V6:.*]] = dstc_isa.hmma<884.AROW.BCOL.STEP3> a(%[[V2]]), b(%[[V2]])
// CHECK-NEXT:  %[[V7:.*]] = dstc_isa.hmma<884.AROW.BCOL.STEP0> a(%[[V2]][1]), b(%[[V2]][1]), c(%[[V3]])
// CHECK-NEXT:  %[[V8:.*]] = dstc_isa.hmma<884.AROW.BCOL.STEP1> a(%[[V2]][1]), b(%[[V2]][1]), c(%[[V4]])
// CHECK:       %[[V18:.*]] = dstc_isa.hmma<884.AROW.BCOL.STEP3> a(%[[V2]][3]), b(%[[V2]][3]), c
// CHECK-NEXT:  %[[V19:.*]] = dstc_isa.mov b(0)
// CHECK-NEXT:  dstc_isa.jump ^bb1(%[[V19]], {{.*}}%[[V18]] : !dstc_isa.reg<1>, !dstc_isa.reg<2>
// CHECK-NEXT:  ^bb1(%[[V20:.*]]: !dstc_isa.reg<1>, %[[V21:.*]]: !dstc_isa.reg<2>, %[[V22:.*]]: !dstc_isa.reg<2>, %[[V23:.*]]: !dstc_isa.reg<2>, %[[V24:.*]]: !dstc_isa.reg<2>):
// CHECK-NEXT:  %[[V25:.*]] = dstc_isa.hmma<884.AROW.BCOL.STEP0> a(%[[V2]]), b(%[[V2]]), c(%[[V21]])
// CHECK:       %[[V29:.*]] = dstc_isa.hmma<884.AROW.BCOL.STEP0> a(%[[V2]][1]), b(%[[V2]][1]), c(%[[V25]])
// CHECK:       %[[V33:.*]] = dstc_isa.hmma<884.AROW.BCOL.STEP0> a(%[[V2]][2]), b(%[[V2]][2]), c(%[[V29]])
// CHECK:       %[[V37:.*]] = dstc_isa.hmma<884.AROW.BCOL.STEP0> a(%[[V2]][3]), b(%[[V2]][3]), c(%[[V33]])
// CHECK:       %[[V40:.*]] = dstc_isa.hmma<884.AROW.BCOL.STEP3> a(%[[V2]][3]), b(%[[V2]][3]), c
// CHECK-NEXT:  %[[V41:.*]] = dstc_isa.iadd3 a(%[[V20]]), b(1)
// CHECK-NEXT:  %[[V42:.*]] = dstc_isa.isetp<LT.S32> a(%[[V41]]), b(2)
// CHECK-NEXT:  dstc_isa.branch %[[V42]]{{.*}}^bb1(%[[V41]], %[[V37]], {{.*}}, %[[V40]]{{.*}}^bb2(%[[V37]], {{.*}}, %[[V40]]
// CHECK-NEXT:  ^bb2(%[[V43:.*]]: !dstc_isa.reg<2>, %[[V44:.*]]: !dstc_isa.reg<2>, %[[V45:.*]]: !dstc_isa.reg<2>, %[[V46:.*]]: !dstc_isa.reg<2>):
// CHECK-NEXT:  dstc_isa.stg<32> a(%[[V1]]), b(%[[V44]][1])
// CHECK-NEXT:  dstc_isa.exit

// Condensed values: two loads under the count; SPWMMA's bitmaps and halves; accumulator tiles.
dstc_tile.kernel @dual ["x", "n", "y"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 2 {
^bb0(%x: i32, %n: i32, %y: i32):
  dstc_tile.acc_clear 1
  %word = dstc_tile.load global %x + 0 : i32
  %a = dstc_tile.load_values %x, %n : vector<8xi32>
  %b = dstc_tile.load_values %y, %word : vector<8xi32>
  dstc_tile.spwmma 1, %a %word, %b %word {high_b} : vector<8xi32>, vector<8xi32>
  %r = dstc_tile.acc_read 1, 2 transposed
  %e = dstc_tile.extract %r[7] : vector<8xf32> -> f32
  dstc_tile.store global %e, %y + 0 : f32
  dstc_tile.return
}
// A header times 2^24 is its count of pieces, in the unit of which lanes are numbered; its upper 24 bits are an offset.
// CHECK-LABEL: dstc_isa.kernel @dual ["x", "n", "y"]
// CHECK-NEXT:  %[[X:.*]] = dstc_isa.mov param(0)
// CHECK-NEXT:  %[[LANE:.*]] = dstc_isa.s2r sr(SR_LANE)
// CHECK-NEXT:  %[[N:.*]] = dstc_isa.mov param(1)
// CHECK-NEXT:  %[[LOW:.*]] = dstc_isa.imad<LO> a(%[[LANE]]), b(16777216)
// CHECK-NEXT:  %[[HIGH:.*]] = dstc_isa.iadd3 a(%[[LOW]]), b(536870912)
// CHECK-NEXT:  %[[Y:.*]] = dstc_isa.mov param(2)
// CHECK-NEXT:  dstc_isa.aclr acc(1)
// CHECK-NEXT:  %[[WORD:.*]] = dstc_isa.ldg<32> a(%[[X]])
// CHECK-NEXT:  %[[U0:.*]] = dstc_isa.undef : !dstc_isa.reg<8>
// CHECK-NEXT:  %[[A0:.*]] = dstc_isa.imad<HI> a(%[[N]]), c(%[[X]]), b(16777216)
// CHECK-NEXT:  %[[NA:.*]] = dstc_isa.imad<LO> a(%[[N]]), b(16777216)
// CHECK-NEXT:  %[[P0:.*]] = dstc_isa.isetp<LT.U32> a(%[[LOW]]), b(%[[NA]])
// CHECK-NEXT:  %[[A1:.*]] = dstc_isa.ldg<128> a(%[[A0]]), guard(%[[P0]]), into(%[[U0]])
// CHECK-NEXT:  %[[P1:.*]] = dstc_isa.isetp<LT.U32> a(%[[HIGH]]), b(%[[NA]])
// CHECK-NEXT:  %[[A2:.*]] = dstc_isa.ldg<128> a(%[[A0]] + 512), guard(%[[P1]]), into(%[[A1]][4])
// CHECK-NEXT:  %[[U1:.*]] = dstc_isa.undef : !dstc_isa.reg<8>
// CHECK-NEXT:  %[[B0:.*]] = dstc_isa.imad<HI> a(%[[WORD]]), c(%[[Y]]), b(16777216)
// CHECK-NEXT:  %[[NB:.*]] = dstc_isa.imad<LO> a(%[[WORD]]), b(16777216)
// CHECK-NEXT:  %[[P2:.*]] = dstc_isa.isetp<LT.U32> a(%[[LOW]]), b(%[[NB]])
// CHECK-NEXT:  %[[B1:.*]] = dstc_isa.ldg<128> a(%[[B0]]), guard(%[[P2]]), into(%[[U1]])
// CHECK-NEXT:  %[[P3:.*]] = dstc_isa.isetp<LT.U32> a(%[[HIGH]]), b(%[[NB]])
// CHECK-NEXT:  %[[B2:.*]] = dstc_isa.ldg<128> a(%[[B0]] + 512), guard(%[[P3]]), into(%[[B1]][4])
// CHECK-NEXT:  dstc_isa.spwmma<323216.ALO.BHI._._> a(%[[A2]]), b(%[[B2]]), c(%[[WORD]]), e(%[[WORD]]), acc(1)
// CHECK-NEXT:  %[[R:.*]] = dstc_isa.ard<P2.T> acc(1)
// CHECK-NEXT:  dstc_isa.stg<32> a(%[[Y]]), b(%[[R]][7])
// CHECK-NEXT:  dstc_isa.exit
