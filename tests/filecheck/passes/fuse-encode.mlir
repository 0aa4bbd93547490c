// RUN: dstc-opt %s -p fuse-encode | filecheck %s

func.func @main(%a: !dstc.bitmap<4x8xf16, a>, %b: !dstc.bitmap<8x16xf16, b>) -> (!dstc.bitmap<4x16xf16, a>, tensor<4x16xf16>, !dstc.bitmap<4x16xf16, b>) {
  %y = dstc.matmul %a, %b {activation = #dstc<activation relu>, schedule = #dstc.schedule<dual, cta = 32x32, warp = 32x32, stages = 2>} : !dstc.bitmap<4x8xf16, a>, !dstc.bitmap<8x16xf16, b> -> tensor<4x16xf16>
  %e = dstc.encode %y : tensor<4x16xf16> -> !dstc.bitmap<4x16xf16, a>
  %z = dstc.matmul %a, %b {schedule = #dstc.schedule<dual, cta = 32x32, warp = 32x32, stages = 2>} : !dstc.bitmap<4x8xf16, a>, !dstc.bitmap<8x16xf16, b> -> tensor<4x16xf16>
  %f = dstc.encode %z : tensor<4x16xf16> -> !dstc.bitmap<4x16xf16, b>
  func.return %e, %z, %f : !dstc.bitmap<4x16xf16, a>, tensor<4x16xf16>, !dstc.bitmap<4x16xf16, b>
}
// CHECK:       %e = dstc.matmul %a, %b {activation = #dstc<activation relu>, {{.*}} -> !dstc.bitmap<4x16xf16, a>
// A result that is read as a matrix, too, is encoded by itself.
// CHECK-NEXT:  %z = dstc.matmul
// CHECK-NEXT:  %f = dstc.encode %z

// A warp's tile holds whole windows of the result, or it is encoded by itself.
func.func @windows(%a: !dstc.bitmap<64x8xf16, a>, %b: !dstc.bitmap<8x64xf16, b>) -> (!dstc.bitmap<64x64xf16, a, window = 64>, !dstc.bitmap<64x64xf16, b, window = 64>) {
  %y = dstc.matmul %a, %b {schedule = #dstc.schedule<dual, cta = 64x64, warp = 32x64, stages = 2>} : !dstc.bitmap<64x8xf16, a>, !dstc.bitmap<8x64xf16, b> -> tensor<64x64xf16>
  %e = dstc.encode %y : tensor<64x64xf16> -> !dstc.bitmap<64x64xf16, a, window = 64>
  %z = dstc.matmul %a, %b {schedule = #dstc.schedule<dual, cta = 64x64, warp = 32x64, stages = 2>} : !dstc.bitmap<64x8xf16, a>, !dstc.bitmap<8x64xf16, b> -> tensor<64x64xf16>
  %f = dstc.encode %z : tensor<64x64xf16> -> !dstc.bitmap<64x64xf16, b, window = 64>
  func.return %e, %f : !dstc.bitmap<64x64xf16, a, window = 64>, !dstc.bitmap<64x64xf16, b, window = 64>
}
// CHECK:       %e = dstc.encode
// CHECK-NEXT:  %f = dstc.matmul {{.*}} -> !dstc.bitmap<64x64xf16, b, window = 64>
