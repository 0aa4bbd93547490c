#id = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d0)>
func.func private @twice(%a: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %e = tensor.empty() : tensor<2x4xf32>
  %0 = linalg.add ins(%a, %a : tensor<2x4xf32>, tensor<2x4xf32>) outs(%e : tensor<2x4xf32>) -> tensor<2x4xf32>
  return %0 : tensor<2x4xf32>
}
func.func @forward(%table: tensor<9x4xf32>, %ids: tensor<2xi64>, %x: tensor<2x6xf32>) -> (tensor<2x7xf32>, tensor<2xi64>, tensor<2xf32>) {
  %e = tensor.empty() : tensor<2x4xf32>
  %0 = linalg.generic {indexing_maps = [#row, #id], iterator_types = ["parallel", "parallel"]} ins(%ids : tensor<2xi64>) outs(%e : tensor<2x4xf32>) {
  ^bb0(%in: i64, %out: f32):
    %i = arith.index_cast %in : i64 to index
    %j = linalg.index 1 : index
    %v = tensor.extract %table[%i, %j] : tensor<9x4xf32>
    linalg.yield %v : f32
  } -> tensor<2x4xf32>
  %1 = func.call @twice(%0) : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %2 = tensor.extract_slice %x[0, 1] [2, 3] [1, 2] : tensor<2x6xf32> to tensor<2x3xf32>
  %3 = tensor.concat dim(1) %1, %2 : (tensor<2x4xf32>, tensor<2x3xf32>) -> tensor<2x7xf32>
  %4 = tensor.extract_slice %x[0, 0] [1, 2] [1, 1] : tensor<2x6xf32> to tensor<1x2xf32>
  %5 = tensor.insert_slice %4 into %3[1, 2] [1, 2] [1, 1] : tensor<1x2xf32> into tensor<2x7xf32>
  %low = arith.constant 0xFF800000 : f32
  %none = arith.constant 0 : i64
  %t = tensor.empty() : tensor<2xf32>
  %p = tensor.empty() : tensor<2xi64>
  %t0 = linalg.fill ins(%low : f32) outs(%t : tensor<2xf32>) -> tensor<2xf32>
  %p0 = linalg.fill ins(%none : i64) outs(%p : tensor<2xi64>) -> tensor<2xi64>
  %6:2 = linalg.generic {indexing_maps = [#id, #row, #row], iterator_types = ["parallel", "reduction"]} ins(%x : tensor<2x6xf32>) outs(%t0, %p0 : tensor<2xf32>, tensor<2xi64>) {
  ^bb0(%in: f32, %out: f32, %at: i64):
    %i = linalg.index 1 : index
    %j = arith.index_cast %i : index to i64
    %m = arith.maximumf %in, %out : f32
    %c = arith.cmpf ogt, %in, %out : f32
    %k = arith.select %c, %j, %at : i64
    linalg.yield %m, %k : f32, i64
  } -> (tensor<2xf32>, tensor<2xi64>)
  %r = linalg.reduce { arith.addf } ins(%x : tensor<2x6xf32>) outs(%6#0 : tensor<2xf32>) dimensions = [1]
  return %5, %6#1, %r : tensor<2x7xf32>, tensor<2xi64>, tensor<2xf32>
}
