// Two layers with bias and ReLU, as torch-mlir lowers nn.Linear: transposed weights, a bias by broadcast.
#map = affine_map<(d0, d1) -> (d0, d1)>
#map1 = affine_map<(d0, d1) -> (d1)>
module attributes {torch.debug_module_name = "MLP"} {
  ml_program.global private mutable @global_seed(dense<0> : tensor<i64>) : tensor<i64>
  func.func @forward(%arg0: tensor<4x20xf32>, %w1: tensor<24x20xf32>, %w2: tensor<10x24xf32>) -> tensor<4x10xf32> {
    %cst = arith.constant 0.000000e+00 : f32
    %b1 = arith.constant dense_resource<torch_tensor_24_torch.float32> : tensor<24xf32>
    %b2 = arith.constant dense<[0.5, -1.0, 2.0, 0.25, 0.0, 1.0, -0.5, 3.0, -2.0, 1.5]> : tensor<10xf32>
    %0 = tensor.empty() : tensor<20x24xf32>
    %transposed = linalg.transpose ins(%w1 : tensor<24x20xf32>) outs(%0 : tensor<20x24xf32>) permutation = [1, 0]
    %1 = tensor.empty() : tensor<4x24xf32>
    %2 = linalg.fill ins(%cst : f32) outs(%1 : tensor<4x24xf32>) -> tensor<4x24xf32>
    %3 = linalg.matmul ins(%arg0, %transposed : tensor<4x20xf32>, tensor<20x24xf32>) outs(%2 : tensor<4x24xf32>) -> tensor<4x24xf32>
    %4 = linalg.generic {indexing_maps = [#map, #map1, #map], iterator_types = ["parallel", "parallel"]} ins(%3, %b1 : tensor<4x24xf32>, tensor<24xf32>) outs(%1 : tensor<4x24xf32>) {
    ^bb0(%in: f32, %in_0: f32, %out: f32):
      %10 = arith.addf %in, %in_0 : f32
      linalg.yield %10 : f32
    } -> tensor<4x24xf32>
    %5 = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]} ins(%4 : tensor<4x24xf32>) outs(%1 : tensor<4x24xf32>) {
    ^bb0(%in: f32, %out: f32):
      %10 = arith.cmpf ugt, %in, %cst : f32
      %11 = arith.select %10, %in, %cst : f32
      linalg.yield %11 : f32
    } -> tensor<4x24xf32>
    %6 = tensor.empty() : tensor<4x10xf32>
    %7 = linalg.broadcast ins(%b2 : tensor<10xf32>) outs(%6 : tensor<4x10xf32>) dimensions = [0]
    %8 = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2) -> (d0, d2)>, affine_map<(d0, d1, d2) -> (d1, d2)>, affine_map<(d0, d1, d2) -> (d0, d1)>], iterator_types = ["parallel", "parallel", "reduction"]} ins(%5, %w2 : tensor<4x24xf32>, tensor<10x24xf32>) outs(%7 : tensor<4x10xf32>) {
    ^bb0(%in: f32, %in_0: f32, %out: f32):
      %10 = arith.mulf %in, %in_0 : f32
      %11 = arith.addf %out, %10 : f32
      linalg.yield %11 : f32
    } -> tensor<4x10xf32>
    return %8 : tensor<4x10xf32>
  }
}

{-#
  dialect_resources: {
    builtin: {
      torch_tensor_24_torch.float32: "0x040000000000803F000000400000404000008040000080BF000000C0000000000000003F0000803E000000BF0000C03F0000803F000000400000404000008040000080BF000000C0000000000000003F0000803E000000BF0000C03F0000803F00000040"
    }
  }
#-}
