module {
  func.func @main_graph(%arg0: !torch.vtensor<[?,10],f32>) -> !torch.vtensor<[?,2],f32> attributes {torch.onnx_meta.ir_version = 8 : si64, torch.onnx_meta.opset_version = 17 : si64} {
    %none = torch.constant.none
    %0 = torch.operator "onnx.Constant"() {torch.onnx.value = dense_resource<_w> : tensor<2x10xf32>} : () -> !torch.vtensor<[2,10],f32>
    %1 = torch.operator "onnx.Constant"() {torch.onnx.value = dense<[0.5, -0.5]> : tensor<2xf32>} : () -> !torch.vtensor<[2],f32>
    %2 = torch.operator "onnx.Clip"(%arg0, %none, %none) : (!torch.vtensor<[?,10],f32>, !torch.none, !torch.none) -> !torch.vtensor<[?,10],f32>
    %3 = torch.operator "onnx.Gemm"(%2, %0, %1) {torch.onnx.alpha = 1.000000e+00 : f32, torch.onnx.transB = 1 : si64} : (!torch.vtensor<[?,10],f32>, !torch.vtensor<[2,10],f32>, !torch.vtensor<[2],f32>) -> !torch.vtensor<[?,2],f32>
    return %3 : !torch.vtensor<[?,2],f32>
  }
}
{-#
  dialect_resources: { builtin: { _w: "0x08000000WEIGHTS" } }
#-}
