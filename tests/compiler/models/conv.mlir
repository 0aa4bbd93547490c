// Convolution, batch norm, ReLU, pooling, a second convolution with bias and stride, a mean, a linear layer: the forms of torch-mlir.
#map = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>
#map1 = affine_map<(d0, d1, d2, d3) -> (d1)>
#map2 = affine_map<(d0, d1, d2, d3) -> (0, d1, d2, d3)>
#map3 = affine_map<(d0, d1, d2, d3) -> (0, d1, 0, 0)>
#map4 = affine_map<(d0, d1, d2, d3) -> (d0, d1, 0, 0)>
#map5 = affine_map<(d0, d1) -> (0, d1)>
#map6 = affine_map<(d0, d1) -> (d0, d1)>
module attributes {torch.debug_module_name = "Net"} {
  func.func @forward(%arg0: tensor<1x3x12x12xf32>, %w: tensor<8x3x3x3xf32>, %scale: tensor<8xf32>, %shift: tensor<8xf32>, %mean: tensor<8xf32>, %var: tensor<8xf32>, %v: tensor<16x8x3x3xf32>, %c: tensor<16xf32>, %fc: tensor<16x5xf32>) -> tensor<1x5xf32> {
    %false = arith.constant false
    %cst = arith.constant 0.000000e+00 : f32
    %cst_0 = arith.constant -3.40282347E+38 : f32
    %cst_1 = arith.constant 1.000000e-05 : f64
    %cst_2 = arith.constant 9.000000e+00 : f32
    %bias = arith.constant dense<2.500000e-01> : tensor<5xf32>
    %padded = tensor.pad %arg0 low[0, 0, 1, 1] high[0, 0, 1, 1] {
    ^bb0(%i: index, %j: index, %k: index, %l: index):
      tensor.yield %cst : f32
    } : tensor<1x3x12x12xf32> to tensor<1x3x14x14xf32>
    %0 = tensor.empty() : tensor<1x8x12x12xf32>
    %1 = linalg.fill ins(%cst : f32) outs(%0 : tensor<1x8x12x12xf32>) -> tensor<1x8x12x12xf32>
    %2 = linalg.conv_2d_nchw_fchw {dilations = dense<1> : vector<2xi64>, strides = dense<1> : vector<2xi64>} ins(%padded, %w : tensor<1x3x14x14xf32>, tensor<8x3x3x3xf32>) outs(%1 : tensor<1x8x12x12xf32>) -> tensor<1x8x12x12xf32>
    %3 = arith.cmpi eq, %false, %false : i1
    cf.assert %3, "training is not supported for now"
    %4 = linalg.generic {indexing_maps = [#map, #map1, #map1, #map1, #map1, #map], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%2, %scale, %shift, %mean, %var : tensor<1x8x12x12xf32>, tensor<8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<8xf32>) outs(%2 : tensor<1x8x12x12xf32>) {
    ^bb0(%in: f32, %in_3: f32, %in_4: f32, %in_5: f32, %in_6: f32, %out: f32):
      %20 = arith.truncf %cst_1 : f64 to f32
      %21 = arith.addf %in_6, %20 : f32
      %22 = math.rsqrt %21 : f32
      %23 = arith.subf %in, %in_5 : f32
      %24 = arith.mulf %23, %22 : f32
      %25 = arith.mulf %24, %in_3 : f32
      %26 = arith.addf %25, %in_4 : f32
      linalg.yield %26 : f32
    } -> tensor<1x8x12x12xf32>
    %5 = linalg.generic {indexing_maps = [#map2, #map], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%4 : tensor<1x8x12x12xf32>) outs(%0 : tensor<1x8x12x12xf32>) {
    ^bb0(%in: f32, %out: f32):
      %20 = arith.cmpf ugt, %in, %cst : f32
      %21 = arith.select %20, %in, %cst : f32
      linalg.yield %21 : f32
    } -> tensor<1x8x12x12xf32>
    %padded_3 = tensor.pad %5 low[0, 0, 1, 1] high[0, 0, 1, 1] {
    ^bb0(%i: index, %j: index, %k: index, %l: index):
      tensor.yield %cst_0 : f32
    } : tensor<1x8x12x12xf32> to tensor<1x8x14x14xf32>
    %6 = tensor.empty() : tensor<1x8x6x6xf32>
    %7 = linalg.fill ins(%cst_0 : f32) outs(%6 : tensor<1x8x6x6xf32>) -> tensor<1x8x6x6xf32>
    %8 = tensor.empty() : tensor<3x3xf32>
    %9 = linalg.pooling_nchw_max {dilations = dense<1> : vector<2xi64>, strides = dense<2> : vector<2xi64>} ins(%padded_3, %8 : tensor<1x8x14x14xf32>, tensor<3x3xf32>) outs(%7 : tensor<1x8x6x6xf32>) -> tensor<1x8x6x6xf32>
    %padded_4 = tensor.pad %9 low[0, 0, 1, 1] high[0, 0, 1, 1] {
    ^bb0(%i: index, %j: index, %k: index, %l: index):
      tensor.yield %cst : f32
    } : tensor<1x8x6x6xf32> to tensor<1x8x8x8xf32>
    %10 = tensor.empty() : tensor<1x16x3x3xf32>
    %broadcasted = linalg.broadcast ins(%c : tensor<16xf32>) outs(%10 : tensor<1x16x3x3xf32>) dimensions = [0, 2, 3]
    %11 = linalg.conv_2d_nchw_fchw {dilations = dense<1> : vector<2xi64>, strides = dense<2> : vector<2xi64>} ins(%padded_4, %v : tensor<1x8x8x8xf32>, tensor<16x8x3x3xf32>) outs(%broadcasted : tensor<1x16x3x3xf32>) -> tensor<1x16x3x3xf32>
    %12 = tensor.empty() : tensor<1x16x1x1xf32>
    %13 = linalg.fill ins(%cst : f32) outs(%12 : tensor<1x16x1x1xf32>) -> tensor<1x16x1x1xf32>
    %14 = linalg.generic {indexing_maps = [#map, #map4], iterator_types = ["parallel", "parallel", "reduction", "reduction"]} ins(%11 : tensor<1x16x3x3xf32>) outs(%13 : tensor<1x16x1x1xf32>) {
    ^bb0(%in: f32, %out: f32):
      %20 = arith.addf %in, %out : f32
      linalg.yield %20 : f32
    } -> tensor<1x16x1x1xf32>
    %15 = linalg.generic {indexing_maps = [#map3, #map], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%14 : tensor<1x16x1x1xf32>) outs(%12 : tensor<1x16x1x1xf32>) {
    ^bb0(%in: f32, %out: f32):
      %20 = arith.divf %in, %cst_2 : f32
      linalg.yield %20 : f32
    } -> tensor<1x16x1x1xf32>
    %collapsed = tensor.collapse_shape %15 [[0], [1, 2, 3]] : tensor<1x16x1x1xf32> into tensor<1x16xf32>
    %16 = tensor.empty() : tensor<1x5xf32>
    %17 = linalg.fill ins(%cst : f32) outs(%16 : tensor<1x5xf32>) -> tensor<1x5xf32>
    %18 = linalg.matmul ins(%collapsed, %fc : tensor<1x16xf32>, tensor<16x5xf32>) outs(%17 : tensor<1x5xf32>) -> tensor<1x5xf32>
    %19 = linalg.generic {indexing_maps = [#map5, affine_map<(d0, d1) -> (d1)>, #map6], iterator_types = ["parallel", "parallel"]} ins(%18, %bias : tensor<1x5xf32>, tensor<5xf32>) outs(%16 : tensor<1x5xf32>) {
    ^bb0(%in: f32, %in_3: f32, %out: f32):
      %20 = arith.addf %in, %in_3 : f32
      linalg.yield %20 : f32
    } -> tensor<1x5xf32>
    return %19 : tensor<1x5xf32>
  }
}
