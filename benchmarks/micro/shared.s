// Shared memory: pointer chase, streaming, bank conflicts.
// A kernel times 4 and then 36 of them with SR_CLOCK; the difference over 32 is free of what reading
// the clock costs.
//   dstc sim benchmarks/micro/shared.s --kernel shared_chase --machine v100 --buffer OUT=zeros:8 \
//        --dump OUT=out.npy:uint32

// each load gives the next one's address
.kernel shared_chase
.shared 128
.param OUT
    S2R R0, SR_LANE ;
    SHL R4, R0, 2 ;
    IADD3 R5, R4, 4, RZ ;
    LOP.AND R5, R5, 127 ;
    STS.32 [R4], R5 ;
    MOV R4, 0 ;
    MOV R5, R4 ;
    S2R R20, SR_CLOCK ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    MOV R5, R4 ;
    S2R R21, SR_CLOCK ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
    LDS.32 R4, [R4] ;
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

// 16 loads of 16 bytes a lane a round, 8 warps, N rounds: --arg N=100
.kernel shared_stream
.warps 8
.shared 512
.param N
    S2R R0, SR_LANE ;
    SHL R4, R0, 4 ;
    MOV R2, 0 ;
again:
    IADD3 R2, R2, 1, RZ ;
    ISETP.LT.U32 P0, R2, c[N] ;
    LDS.128 R8, [R4] ;
    LDS.128 R12, [R4] ;
    LDS.128 R16, [R4] ;
    LDS.128 R20, [R4] ;
    LDS.128 R24, [R4] ;
    LDS.128 R28, [R4] ;
    LDS.128 R32, [R4] ;
    LDS.128 R36, [R4] ;
    LDS.128 R40, [R4] ;
    LDS.128 R44, [R4] ;
    LDS.128 R48, [R4] ;
    LDS.128 R52, [R4] ;
    LDS.128 R56, [R4] ;
    LDS.128 R60, [R4] ;
    LDS.128 R64, [R4] ;
    LDS.128 R68, [R4] ;
    @P0 BRA again ;
    EXIT ;
.end

// 16 loads of 4 bytes a lane a round, lanes STRIDE bytes apart (up to 128), 8 warps:
// --arg STRIDE=8 --arg N=100
.kernel shared_conflict
.warps 8
.shared 4096
.param STRIDE
.param N
    S2R R0, SR_LANE ;
    IMAD.LO R4, R0, c[STRIDE], RZ ;
    MOV R2, 0 ;
again:
    IADD3 R2, R2, 1, RZ ;
    ISETP.LT.U32 P0, R2, c[N] ;
    LDS.32 R8, [R4] ;
    LDS.32 R9, [R4] ;
    LDS.32 R10, [R4] ;
    LDS.32 R11, [R4] ;
    LDS.32 R12, [R4] ;
    LDS.32 R13, [R4] ;
    LDS.32 R14, [R4] ;
    LDS.32 R15, [R4] ;
    LDS.32 R16, [R4] ;
    LDS.32 R17, [R4] ;
    LDS.32 R18, [R4] ;
    LDS.32 R19, [R4] ;
    LDS.32 R20, [R4] ;
    LDS.32 R21, [R4] ;
    LDS.32 R22, [R4] ;
    LDS.32 R23, [R4] ;
    @P0 BRA again ;
    EXIT ;
.end
