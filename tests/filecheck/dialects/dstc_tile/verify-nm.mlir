// RUN: dstc-opt %s --split-input-file --verify-diagnostics

dstc_tile.kernel @halves ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 0 {
^bb0(%x: i32):
  // expected-error@below {{as many words as low and as high halves}}
  %h = dstc_tile.halves %x, %x : %x -> vector<2xi32>
  dstc_tile.return
}

// -----

dstc_tile.kernel @shape ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 0 {
^bb0(%x: i32):
  %d = dstc_tile.splat 0 : vector<4xi32>
  %z = dstc_tile.splat 0 : vector<8xf32>
  // expected-error@below {{shape is 888 or 8816, not 884}}
  %a = dstc_tile.hmma_sp "884" "ACROSS" 3, %x %x, %d, %z : vector<4xi32>
  dstc_tile.return
}

// -----

dstc_tile.kernel @layout ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 0 {
^bb0(%x: i32):
  %d = dstc_tile.splat 0 : vector<4xi32>
  %z = dstc_tile.splat 0 : vector<8xf32>
  // expected-error@below {{layout is ALONG or ACROSS, not ROW}}
  %a = dstc_tile.hmma_sp "8816" "ROW" 3, %x %x, %d, %z : vector<4xi32>
  dstc_tile.return
}

// -----

dstc_tile.kernel @slice ["x"] grid = [1, 1, 1], warps = 1, shared = 0, acc = 0 {
^bb0(%x: i32):
  %d = dstc_tile.splat 0 : vector<4xi32>
  %z = dstc_tile.splat 0 : vector<8xf32>
  // expected-error@below {{slice must be 0 to 3, not 4}}
  %a = dstc_tile.hmma_sp "8816" "ACROSS" 4, %x %x, %d, %z : vector<4xi32>
  dstc_tile.return
}
