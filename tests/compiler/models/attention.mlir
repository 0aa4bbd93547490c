// Scaled dot-product attention with a mask, a residual and a layer norm, as torch-mlir writes them: batched products, softmax by steps (the maximum with indices, as torch.max), variance in two passes.
#map = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>
#map1 = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, 0)>
#map2 = affine_map<(d0, d1, d2, d3) -> (d0, 0, 0, d3)>
#map3 = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#map4 = affine_map<(d0, d1, d2) -> (d0, d1, 0)>
#map5 = affine_map<(d0, d1, d2) -> (d2)>
module {
  func.func @main(%x: tensor<2x8x16xf32>, %wq: tensor<16x16xf32>, %wk: tensor<16x16xf32>, %wv: tensor<16x16xf32>, %mask: tensor<2x1x1x8xi1>, %gamma: tensor<16xf32>) -> tensor<2x8x16xf32> {
    %zero = arith.constant 0.000000e+00 : f32
    %low = arith.constant 0xFF800000 : f32
    %none = arith.constant -1.000000e+04 : f32
    %scale = arith.constant 3.535533905932738e-01 : f64
    %c0_i64 = arith.constant 0 : i64
    %n = arith.constant 1.600000e+01 : f32
    %eps = arith.constant 9.99999974E-6 : f32
    %flat = tensor.collapse_shape %x [[0, 1], [2]] : tensor<2x8x16xf32> into tensor<16x16xf32>
    %e0 = tensor.empty() : tensor<16x16xf32>
    %f0 = linalg.fill ins(%zero : f32) outs(%e0 : tensor<16x16xf32>) -> tensor<16x16xf32>
    %q0 = linalg.matmul ins(%flat, %wq : tensor<16x16xf32>, tensor<16x16xf32>) outs(%f0 : tensor<16x16xf32>) -> tensor<16x16xf32>
    %k0 = linalg.matmul ins(%flat, %wk : tensor<16x16xf32>, tensor<16x16xf32>) outs(%f0 : tensor<16x16xf32>) -> tensor<16x16xf32>
    %v0 = linalg.matmul ins(%flat, %wv : tensor<16x16xf32>, tensor<16x16xf32>) outs(%f0 : tensor<16x16xf32>) -> tensor<16x16xf32>
    %q1 = tensor.expand_shape %q0 [[0, 1], [2, 3]] output_shape [2, 8, 2, 8] : tensor<16x16xf32> into tensor<2x8x2x8xf32>
    %k1 = tensor.expand_shape %k0 [[0, 1], [2, 3]] output_shape [2, 8, 2, 8] : tensor<16x16xf32> into tensor<2x8x2x8xf32>
    %v1 = tensor.expand_shape %v0 [[0, 1], [2, 3]] output_shape [2, 8, 2, 8] : tensor<16x16xf32> into tensor<2x8x2x8xf32>
    %e1 = tensor.empty() : tensor<2x2x8x8xf32>
    %q2 = linalg.transpose ins(%q1 : tensor<2x8x2x8xf32>) outs(%e1 : tensor<2x2x8x8xf32>) permutation = [0, 2, 1, 3]
    %k2 = linalg.transpose ins(%k1 : tensor<2x8x2x8xf32>) outs(%e1 : tensor<2x2x8x8xf32>) permutation = [0, 2, 3, 1]
    %v2 = linalg.generic {indexing_maps = [#map, affine_map<(d0, d1, d2, d3) -> (d0, d2, d1, d3)>], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%v1 : tensor<2x8x2x8xf32>) outs(%e1 : tensor<2x2x8x8xf32>) {
    ^bb0(%in: f32, %out: f32):
      linalg.yield %in : f32
    } -> tensor<2x2x8x8xf32>
    %q3 = tensor.collapse_shape %q2 [[0, 1], [2], [3]] : tensor<2x2x8x8xf32> into tensor<4x8x8xf32>
    %k3 = tensor.collapse_shape %k2 [[0, 1], [2], [3]] : tensor<2x2x8x8xf32> into tensor<4x8x8xf32>
    %v3 = tensor.collapse_shape %v2 [[0, 1], [2], [3]] : tensor<2x2x8x8xf32> into tensor<4x8x8xf32>
    %e2 = tensor.empty() : tensor<4x8x8xf32>
    %f2 = linalg.fill ins(%zero : f32) outs(%e2 : tensor<4x8x8xf32>) -> tensor<4x8x8xf32>
    %s0 = linalg.batch_matmul ins(%q3, %k3 : tensor<4x8x8xf32>, tensor<4x8x8xf32>) outs(%f2 : tensor<4x8x8xf32>) -> tensor<4x8x8xf32>
    %s1 = tensor.expand_shape %s0 [[0, 1], [2], [3]] output_shape [2, 2, 8, 8] : tensor<4x8x8xf32> into tensor<2x2x8x8xf32>
    %s2 = linalg.generic {indexing_maps = [#map, #map2, #map], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%s1, %mask : tensor<2x2x8x8xf32>, tensor<2x1x1x8xi1>) outs(%e1 : tensor<2x2x8x8xf32>) {
    ^bb0(%in: f32, %keep: i1, %out: f32):
      %0 = arith.truncf %scale : f64 to f32
      %1 = arith.mulf %in, %0 : f32
      %2 = arith.select %keep, %1, %none : f32
      linalg.yield %2 : f32
    } -> tensor<2x2x8x8xf32>
    %e3 = tensor.empty() : tensor<2x2x8x1xf32>
    %i3 = tensor.empty() : tensor<2x2x8x1xi64>
    %top0 = linalg.fill ins(%low : f32) outs(%e3 : tensor<2x2x8x1xf32>) -> tensor<2x2x8x1xf32>
    %at0 = linalg.fill ins(%c0_i64 : i64) outs(%i3 : tensor<2x2x8x1xi64>) -> tensor<2x2x8x1xi64>
    %top:2 = linalg.generic {indexing_maps = [#map, #map1, #map1], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%s2 : tensor<2x2x8x8xf32>) outs(%top0, %at0 : tensor<2x2x8x1xf32>, tensor<2x2x8x1xi64>) {
    ^bb0(%in: f32, %out: f32, %out_1: i64):
      %0 = linalg.index 3 : index
      %1 = arith.index_cast %0 : index to i64
      %2 = arith.maximumf %in, %out : f32
      %3 = arith.cmpf ogt, %in, %out : f32
      %4 = arith.select %3, %1, %out_1 : i64
      linalg.yield %2, %4 : f32, i64
    } -> (tensor<2x2x8x1xf32>, tensor<2x2x8x1xi64>)
    %s3 = linalg.generic {indexing_maps = [#map, #map1, #map], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%s2, %top#0 : tensor<2x2x8x8xf32>, tensor<2x2x8x1xf32>) outs(%e1 : tensor<2x2x8x8xf32>) {
    ^bb0(%in: f32, %in_1: f32, %out: f32):
      %0 = arith.subf %in, %in_1 : f32
      linalg.yield %0 : f32
    } -> tensor<2x2x8x8xf32>
    %s4 = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%s3 : tensor<2x2x8x8xf32>) outs(%e1 : tensor<2x2x8x8xf32>) {
    ^bb0(%in: f32, %out: f32):
      %0 = math.exp %in : f32
      linalg.yield %0 : f32
    } -> tensor<2x2x8x8xf32>
    %f3 = linalg.fill ins(%zero : f32) outs(%e3 : tensor<2x2x8x1xf32>) -> tensor<2x2x8x1xf32>
    %s5 = linalg.generic {indexing_maps = [#map, #map1], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%s4 : tensor<2x2x8x8xf32>) outs(%f3 : tensor<2x2x8x1xf32>) {
    ^bb0(%in: f32, %out: f32):
      %0 = arith.addf %in, %out : f32
      linalg.yield %0 : f32
    } -> tensor<2x2x8x1xf32>
    %s6 = linalg.generic {indexing_maps = [#map, #map1, #map], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%s4, %s5 : tensor<2x2x8x8xf32>, tensor<2x2x8x1xf32>) outs(%e1 : tensor<2x2x8x8xf32>) {
    ^bb0(%in: f32, %in_1: f32, %out: f32):
      %0 = arith.divf %in, %in_1 : f32
      linalg.yield %0 : f32
    } -> tensor<2x2x8x8xf32>
    %s7 = tensor.collapse_shape %s6 [[0, 1], [2], [3]] : tensor<2x2x8x8xf32> into tensor<4x8x8xf32>
    %o0 = linalg.batch_matmul ins(%s7, %v3 : tensor<4x8x8xf32>, tensor<4x8x8xf32>) outs(%f2 : tensor<4x8x8xf32>) -> tensor<4x8x8xf32>
    %o1 = tensor.expand_shape %o0 [[0, 1], [2], [3]] output_shape [2, 2, 8, 8] : tensor<4x8x8xf32> into tensor<2x2x8x8xf32>
    %e4 = tensor.empty() : tensor<2x8x2x8xf32>
    %o2 = linalg.transpose ins(%o1 : tensor<2x2x8x8xf32>) outs(%e4 : tensor<2x8x2x8xf32>) permutation = [0, 2, 1, 3]
    %o3 = tensor.collapse_shape %o2 [[0], [1], [2, 3]] : tensor<2x8x2x8xf32> into tensor<2x8x16xf32>
    %e5 = tensor.empty() : tensor<2x8x16xf32>
    %r = linalg.generic {indexing_maps = [#map3, #map3, #map3], iterator_types = ["parallel", "parallel", "parallel"]} ins(%o3, %x : tensor<2x8x16xf32>, tensor<2x8x16xf32>) outs(%e5 : tensor<2x8x16xf32>) {
    ^bb0(%in: f32, %in_1: f32, %out: f32):
      %0 = arith.addf %in, %in_1 : f32
      linalg.yield %0 : f32
    } -> tensor<2x8x16xf32>
    %e6 = tensor.empty() : tensor<2x8x1xf32>
    %f6 = linalg.fill ins(%zero : f32) outs(%e6 : tensor<2x8x1xf32>) -> tensor<2x8x1xf32>
    %m0 = linalg.generic {indexing_maps = [#map3, #map4], iterator_types = ["parallel", "parallel", "reduction"]} ins(%r : tensor<2x8x16xf32>) outs(%f6 : tensor<2x8x1xf32>) {
    ^bb0(%in: f32, %out: f32):
      %0 = arith.addf %in, %out : f32
      linalg.yield %0 : f32
    } -> tensor<2x8x1xf32>
    %m1 = linalg.generic {indexing_maps = [#map4, #map3], iterator_types = ["parallel", "parallel", "parallel"]} ins(%m0 : tensor<2x8x1xf32>) outs(%e6 : tensor<2x8x1xf32>) {
    ^bb0(%in: f32, %out: f32):
      %0 = arith.divf %in, %n : f32
      linalg.yield %0 : f32
    } -> tensor<2x8x1xf32>
    %d = linalg.generic {indexing_maps = [#map3, #map4, #map3], iterator_types = ["parallel", "parallel", "parallel"]} ins(%r, %m1 : tensor<2x8x16xf32>, tensor<2x8x1xf32>) outs(%e5 : tensor<2x8x16xf32>) {
    ^bb0(%in: f32, %in_1: f32, %out: f32):
      %0 = arith.subf %in, %in_1 : f32
      linalg.yield %0 : f32
    } -> tensor<2x8x16xf32>
    %v4 = linalg.generic {indexing_maps = [#map3, #map4], iterator_types = ["parallel", "parallel", "reduction"]} ins(%d : tensor<2x8x16xf32>) outs(%f6 : tensor<2x8x1xf32>) {
    ^bb0(%in: f32, %out: f32):
      %0 = arith.mulf %in, %in : f32
      %1 = arith.addf %0, %out : f32
      linalg.yield %1 : f32
    } -> tensor<2x8x1xf32>
    %v5 = linalg.generic {indexing_maps = [#map3, #map3], iterator_types = ["parallel", "parallel", "parallel"]} ins(%v4 : tensor<2x8x1xf32>) outs(%e6 : tensor<2x8x1xf32>) {
    ^bb0(%in: f32, %out: f32):
      %0 = arith.divf %in, %n : f32
      %1 = arith.addf %0, %eps : f32
      %2 = math.rsqrt %1 : f32
      linalg.yield %2 : f32
    } -> tensor<2x8x1xf32>
    %y = linalg.generic {indexing_maps = [#map3, #map4, #map5, #map3], iterator_types = ["parallel", "parallel", "parallel"]} ins(%d, %v5, %gamma : tensor<2x8x16xf32>, tensor<2x8x1xf32>, tensor<16xf32>) outs(%e5 : tensor<2x8x16xf32>) {
    ^bb0(%in: f32, %in_1: f32, %in_2: f32, %out: f32):
      %0 = arith.mulf %in, %in_1 : f32
      %1 = arith.mulf %0, %in_2 : f32
      linalg.yield %1 : f32
    } -> tensor<2x8x16xf32>
    return %y : tensor<2x8x16xf32>
  }
}
