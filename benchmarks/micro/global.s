// Global memory: pointer chase and streaming; how much of it is read says which level answers.

// Follow pointers from X on: 8 * WARM loads, then 8 * N of which OUT gets the cycles. x.npy holds
// the chain: at each place the address of the next; buffers begin at 0x10000.
//   dstc sim benchmarks/micro/global.s --kernel chase --machine v100 --buffer X=x.npy \
//        --arg WARM=8 --arg N=64 --buffer OUT=zeros:8 --dump OUT=out.npy:uint32
.kernel chase
.param X
.param WARM
.param N
.param OUT
    MOV R4, c[X] ;
    MOV R2, 0 ;
warm:
    ISETP.LT.U32 P0, R2, c[WARM] ;
    @!P0 BRA start ;
    LDG.32 R4, [R4] ;
    LDG.32 R4, [R4] ;
    LDG.32 R4, [R4] ;
    LDG.32 R4, [R4] ;
    LDG.32 R4, [R4] ;
    LDG.32 R4, [R4] ;
    LDG.32 R4, [R4] ;
    LDG.32 R4, [R4] ;
    IADD3 R2, R2, 1, RZ ;
    BRA warm ;
start:
    MOV R5, R4 ;
    MOV R2, 0 ;
    S2R R20, SR_CLOCK ;
again:
    LDG.32 R4, [R4] ;
    LDG.32 R4, [R4] ;
    LDG.32 R4, [R4] ;
    LDG.32 R4, [R4] ;
    LDG.32 R4, [R4] ;
    LDG.32 R4, [R4] ;
    LDG.32 R4, [R4] ;
    LDG.32 R4, [R4] ;
    IADD3 R2, R2, 1, RZ ;
    ISETP.LT.U32 P0, R2, c[N] ;
    @P0 BRA again ;
    MOV R5, R4 ;
    S2R R21, SR_CLOCK ;
    ISUB R20, R21, R20 ;
    MOV R21, 0 ;
    S2R R0, SR_TID ;
    ISETP.EQ.U32 P0, R0, 0 ;
    MOV R1, c[OUT] ;
    @P0 STG.64 [R1], R20 ;              // cycles of the short and of the long part
    EXIT ;
.end

// Each warp reads 512 bytes, goes on by STEP, four times a round, N rounds. Offsets wrap at a power
// of two (MASK, less 1). STEP: what all warps read at a time.
//   dstc sim benchmarks/micro/global.s --kernel stream --machine v100 --grid 160 \
//        --buffer X=zeros:67108864 --arg STEP=1310720 --arg MASK=67108863 --arg N=10
.kernel stream
.warps 16
.param X
.param STEP
.param MASK
.param N
    S2R R0, SR_LANE ;
    S2R R1, SR_WARP ;
    S2R R2, SR_CTAID_X ;
    SHL R3, R2, 4 ;
    IADD3 R1, R1, R3, RZ ;
    SHL R1, R1, 9 ;
    SHL R0, R0, 4 ;
    IADD3 R4, R0, R1, RZ ;              // offset of the lane
    MOV R2, 0 ;
again:
    IADD3 R2, R2, 1, RZ ;
    ISETP.LT.U32 P0, R2, c[N] ;
    LOP.AND R24, R4, c[MASK] ;
    IADD3 R4, R4, c[STEP], RZ ;
    LOP.AND R25, R4, c[MASK] ;
    IADD3 R4, R4, c[STEP], RZ ;
    LOP.AND R26, R4, c[MASK] ;
    IADD3 R4, R4, c[STEP], RZ ;
    LOP.AND R27, R4, c[MASK] ;
    IADD3 R4, R4, c[STEP], RZ ;
    IADD3 R24, R24, c[X], RZ ;
    IADD3 R25, R25, c[X], RZ ;
    IADD3 R26, R26, c[X], RZ ;
    IADD3 R27, R27, c[X], RZ ;
    LDG.128 R8, [R24] ;
    LDG.128 R12, [R25] ;
    LDG.128 R16, [R26] ;
    LDG.128 R20, [R27] ;
    @P0 BRA again ;
    EXIT ;
.end

// The same for segments: 4 lanes read 64 bytes, the next 4 as many of PITCH bytes further on; a
// warp goes on by 64 bytes, four times a round, N rounds. What a k-contiguous operand looks like.
//   dstc sim benchmarks/micro/global.s --kernel segments --machine v100 --grid 80 \
//        --buffer X=zeros:83886080 --arg PITCH=8192 --arg N=24
.kernel segments
.warps 16
.param X
.param PITCH
.param N
    S2R R0, SR_LANE ;
    S2R R1, SR_WARP ;
    S2R R2, SR_CTAID_X ;
    SHL R3, R2, 4 ;
    IADD3 R1, R1, R3, RZ ;              // warp of the grid
    SHL R1, R1, 3 ;
    SHR.U32 R3, R0, 2 ;
    IADD3 R1, R1, R3, RZ ;              // its row: 8 a warp
    LOP.AND R0, R0, 3 ;
    SHL R0, R0, 4 ;
    IMAD.LO R4, R1, c[PITCH], R0 ;
    IADD3 R4, R4, c[X], RZ ;
    MOV R2, 0 ;
again:
    IADD3 R2, R2, 1, RZ ;
    ISETP.LT.U32 P0, R2, c[N] ;
    LDG.128 R8, [R4] ;
    LDG.128 R12, [R4+64] ;
    LDG.128 R16, [R4+128] ;
    LDG.128 R20, [R4+192] ;
    IADD3 R4, R4, 256, RZ ;
    @P0 BRA again ;
    EXIT ;
.end
