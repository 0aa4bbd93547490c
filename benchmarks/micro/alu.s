// Dependent chains through the ALU, the FMA and the MUFU pipe.
// A kernel times 4 and then 36 of them with SR_CLOCK; the difference over 32 is free of what reading
// the clock costs.
//   dstc sim benchmarks/micro/alu.s --kernel iadd_latency --machine v100 --buffer OUT=zeros:8 \
//        --dump OUT=out.npy:uint32

// IADD3 after IADD3
.kernel iadd_latency
.param OUT
    MOV R4, 1 ;
    MOV R5, R4 ;
    S2R R20, SR_CLOCK ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    MOV R5, R4 ;
    S2R R21, SR_CLOCK ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    IADD3 R4, R4, 1, RZ ;
    MOV R5, R4 ;
    S2R R22, SR_CLOCK ;
    ISUB R20, R21, R20 ;
    ISUB R21, R22, R21 ;
    S2R R0, SR_TID ;
    ISETP.EQ.U32 P0, R0, 0 ;
    MOV R1, c[OUT] ;
    @P0 STG.64 [R1], R20 ;              // cycles of the short and of the long part
    EXIT ;
.end

// FFMA after FFMA
.kernel ffma_latency
.param OUT
    MOV R4, 1.0f ;
    MOV R5, R4 ;
    S2R R20, SR_CLOCK ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    MOV R5, R4 ;
    S2R R21, SR_CLOCK ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    FFMA R4, R4, R4, R4 ;
    MOV R5, R4 ;
    S2R R22, SR_CLOCK ;
    ISUB R20, R21, R20 ;
    ISUB R21, R22, R21 ;
    S2R R0, SR_TID ;
    ISETP.EQ.U32 P0, R0, 0 ;
    MOV R1, c[OUT] ;
    @P0 STG.64 [R1], R20 ;              // cycles of the short and of the long part
    EXIT ;
.end

// MUFU after MUFU
.kernel mufu_latency
.param OUT
    MOV R4, 1.0f ;
    MOV R5, R4 ;
    S2R R20, SR_CLOCK ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MOV R5, R4 ;
    S2R R21, SR_CLOCK ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MUFU.RCP R4, R4 ;
    MOV R5, R4 ;
    S2R R22, SR_CLOCK ;
    ISUB R20, R21, R20 ;
    ISUB R21, R22, R21 ;
    S2R R0, SR_TID ;
    ISETP.EQ.U32 P0, R0, 0 ;
    MOV R1, c[OUT] ;
    @P0 STG.64 [R1], R20 ;              // cycles of the short and of the long part
    EXIT ;
.end

// 32 independent FFMA a round, 8 warps, N rounds: --arg N=100
.kernel ffma_throughput
.warps 8
.param N
    MOV R4, 1.0f ;
    MOV R2, 0 ;
again:
    IADD3 R2, R2, 1, RZ ;
    ISETP.LT.U32 P0, R2, c[N] ;
    FFMA R8, R4, R4, R4 ;
    FFMA R9, R4, R4, R4 ;
    FFMA R10, R4, R4, R4 ;
    FFMA R11, R4, R4, R4 ;
    FFMA R12, R4, R4, R4 ;
    FFMA R13, R4, R4, R4 ;
    FFMA R14, R4, R4, R4 ;
    FFMA R15, R4, R4, R4 ;
    FFMA R16, R4, R4, R4 ;
    FFMA R17, R4, R4, R4 ;
    FFMA R18, R4, R4, R4 ;
    FFMA R19, R4, R4, R4 ;
    FFMA R20, R4, R4, R4 ;
    FFMA R21, R4, R4, R4 ;
    FFMA R22, R4, R4, R4 ;
    FFMA R23, R4, R4, R4 ;
    FFMA R24, R4, R4, R4 ;
    FFMA R25, R4, R4, R4 ;
    FFMA R26, R4, R4, R4 ;
    FFMA R27, R4, R4, R4 ;
    FFMA R28, R4, R4, R4 ;
    FFMA R29, R4, R4, R4 ;
    FFMA R30, R4, R4, R4 ;
    FFMA R31, R4, R4, R4 ;
    FFMA R32, R4, R4, R4 ;
    FFMA R33, R4, R4, R4 ;
    FFMA R34, R4, R4, R4 ;
    FFMA R35, R4, R4, R4 ;
    FFMA R36, R4, R4, R4 ;
    FFMA R37, R4, R4, R4 ;
    FFMA R38, R4, R4, R4 ;
    FFMA R39, R4, R4, R4 ;
    @P0 BRA again ;
    EXIT ;
.end
