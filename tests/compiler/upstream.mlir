// Every op of MLIR's own dialects that kernels and functions of ours use, in the custom syntax.
module {
  func.func private @callee(i32) -> i32
  func.func @integers(%a: i32, %b: i32, %p: i1) -> (i32, i1) {
    %c = arith.constant 7 : i32
    %t = arith.constant true
    %0 = arith.addi %a, %b : i32
    %1 = arith.subi %0, %c : i32
    %2 = arith.muli %1, %b : i32
    %3 = arith.divui %2, %c : i32
    %4 = arith.remui %3, %c : i32
    %5 = arith.minui %4, %a : i32
    %6 = arith.maxui %5, %b : i32
    %7 = arith.minsi %6, %a : i32
    %8 = arith.maxsi %7, %b : i32
    %9 = arith.andi %8, %a : i32
    %10 = arith.ori %9, %b : i32
    %11 = arith.xori %10, %c : i32
    %12 = arith.shli %11, %c : i32
    %13 = arith.shrui %12, %c : i32
    %14 = arith.shrsi %13, %c : i32
    %15 = arith.cmpi ult, %14, %a : i32
    %16 = arith.cmpi sge, %14, %b : i32
    %17 = arith.andi %15, %16 : i1
    %18 = arith.select %17, %14, %a : i32
    %19 = arith.extui %17 : i1 to i32
    %20 = arith.extsi %p : i1 to i32
    %21 = arith.trunci %20 : i32 to i1
    %22 = arith.xori %21, %t : i1
    %23 = func.call @callee(%18) : (i32) -> i32
    %24 = arith.addi %23, %19 : i32
    func.return %24, %22 : i32, i1
  }
  func.func @floats(%x: f32, %y: f32, %n: i32, %v: vector<4xf32>, %i: index) -> (f32, vector<4xf32>) {
    %z = arith.constant 0.000000e+00 : f32
    %inf = arith.constant 0xff800000 : f32
    %d = arith.constant dense<[1.000000e+00, 2.000000e+00, 3.000000e+00, 4.000000e+00]> : vector<4xf32>
    %0 = arith.addf %x, %y : f32
    %1 = arith.subf %0, %z : f32
    %2 = arith.mulf %1, %y : f32
    %3 = arith.divf %2, %x : f32
    %4 = arith.maxnumf %3, %inf : f32
    %5 = arith.minnumf %4, %x : f32
    %6 = arith.maximumf %5, %z : f32
    %7 = arith.minimumf %6, %y : f32
    %8 = arith.negf %7 : f32
    %9 = arith.cmpf olt, %8, %x : f32
    %10 = arith.select %9, %8, %x : f32
    %11 = arith.fptosi %10 : f32 to i32
    %12 = arith.fptoui %10 : f32 to i32
    %13 = arith.sitofp %11 : i32 to f32
    %14 = arith.uitofp %12 : i32 to f32
    %15 = arith.bitcast %14 : f32 to i32
    %16 = arith.bitcast %15 : i32 to f32
    %17 = arith.index_cast %i : index to i32
    %18 = arith.addf %16, %13 : f32
    %19 = arith.mulf %v, %d : vector<4xf32>
    func.return %18, %19 : f32, vector<4xf32>
  }
  func.func @control(%low: i32, %high: i32, %step: i32, %p: i1, %x: f32) -> (f32, i32) {
    %sum = scf.for %k = %low to %high step %step iter_args(%acc = %x) -> (f32) : i32 {
      %more = arith.addf %acc, %x : f32
      scf.yield %more : f32
    }
    %either = scf.if %p -> (f32) {
      scf.yield %sum : f32
    } else {
      %none = arith.negf %sum : f32
      scf.yield %none : f32
    }
    %last = scf.while (%w = %low) : (i32) -> i32 {
      %on = arith.cmpi slt, %w, %high : i32
      scf.condition(%on) %w : i32
    } do {
    ^bb0(%u: i32):
      %next = arith.addi %u, %step : i32
      scf.yield %next : i32
    }
    scf.if %p {
      %unused = arith.addi %last, %step : i32
    }
    func.return %either, %last : f32, i32
  }
}
