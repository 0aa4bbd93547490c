// Nothing: what is left is the launch.
//   dstc sim benchmarks/micro/launch.s --machine v100
.kernel launch
    EXIT ;
.end
