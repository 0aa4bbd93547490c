// y[i] = a * x[i] for 32-bit floats; one lane an element, no bounds check: give 32 elements a CTA.
//   dstc asm examples/asm/scale.s -o out/scale.bin
//   dstc sim out/scale.bin --grid 2 --buffer x=x.npy --buffer y=zeros:256 --arg a=0x40000000 \
//        --dump y=y.npy:float32            # a is the bits of 2.0
.kernel scale
.warps 1
.param x
.param y
.param a
    S2R R0, SR_LANE ;
    S2R R1, SR_CTAID_X ;
    IMAD.LO R0, R1, 32, R0 ;            // element
    SHL R0, R0, 2 ;                     // its byte offset
    IADD3 R2, R0, c[x], RZ ;
    IADD3 R3, R0, c[y], RZ ;
    LDG.32 R4, [R2] ;
    FMUL R4, R4, c[a] ;
    STG.32 [R3], R4 ;
    EXIT ;
.end
