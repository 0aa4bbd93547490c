// BAR.SYNC of CTAs of 1, 8 and 32 warps.
// A kernel times 4 and then 36 of them with SR_CLOCK; the difference over 32 is free of what reading
// the clock costs.
//   dstc sim benchmarks/micro/barrier.s --kernel barrier_8 --machine v100 --buffer OUT=zeros:8 \
//        --dump OUT=out.npy:uint32

// 1 warp
.kernel barrier_1
.warps 1
.param OUT
    S2R R20, SR_CLOCK ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    S2R R21, SR_CLOCK ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    S2R R22, SR_CLOCK ;
    ISUB R20, R21, R20 ;
    ISUB R21, R22, R21 ;
    S2R R0, SR_TID ;
    ISETP.EQ.U32 P0, R0, 0 ;
    MOV R1, c[OUT] ;
    @P0 STG.64 [R1], R20 ;              // cycles of the short and of the long part
    EXIT ;
.end

// 8 warps
.kernel barrier_8
.warps 8
.param OUT
    S2R R20, SR_CLOCK ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    S2R R21, SR_CLOCK ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    S2R R22, SR_CLOCK ;
    ISUB R20, R21, R20 ;
    ISUB R21, R22, R21 ;
    S2R R0, SR_TID ;
    ISETP.EQ.U32 P0, R0, 0 ;
    MOV R1, c[OUT] ;
    @P0 STG.64 [R1], R20 ;              // cycles of the short and of the long part
    EXIT ;
.end

// 32 warps
.kernel barrier_32
.warps 32
.param OUT
    S2R R20, SR_CLOCK ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    S2R R21, SR_CLOCK ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    BAR.SYNC ;
    S2R R22, SR_CLOCK ;
    ISUB R20, R21, R20 ;
    ISUB R21, R22, R21 ;
    S2R R0, SR_TID ;
    ISETP.EQ.U32 P0, R0, 0 ;
    MOV R1, c[OUT] ;
    @P0 STG.64 [R1], R20 ;              // cycles of the short and of the long part
    EXIT ;
.end
