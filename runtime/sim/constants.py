"""Integer constants of the simulator's compiled code, generated from the instruction table.

In: the instruction table. Out: opcodes, columns of the state arrays, stall causes, trap codes and
the order of the machine parameters. Compiled code treats them all as literals.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from ...backend.isa.table import INSTRUCTIONS, SPECIAL_REGISTERS, Unit


def _numbered(name: str, fields: str) -> Any:
    """A named tuple whose fields are 0, 1, 2...: compiled code reads it as literals."""
    names = [word for line in fields.splitlines() for word in line.split("#")[0].split()]
    return namedtuple(name, names)(*range(len(names)))


MODELLED = (
    "MOV", "S2R", "SEL", "PRMT", "SHFL", "VOTE", "VOTEP", "IADD3", "ISUB", "IMAD", "IMNMX", "LOP",
    "SHL", "SHR", "SHF", "POPC", "FLO", "BREV", "ISETP", "PLOP", "FADD", "FMUL", "FFMA", "FMNMX",
    "FSETP", "MUFU", "I2F", "F2I", "F2F", "PACK", "LDG", "STG", "LDS", "STS", "RED", "ATOM",
    "PREFETCH", "LDV", "NOP", "BRA", "BSSY", "BSYNC", "EXIT", "BAR", "HMMA", "HMMA.SP", "SPWMMA",
    "BOHMMA", "OHMMA", "ACLR", "ARD", "AWR", "SPWMMA64",
)  # fmt: skip
"""Instructions that the simulator executes: a test holds it equal to the table."""
Op: Any = namedtuple("Op", [m.replace(".", "_") for m in MODELLED])(
    *(INSTRUCTIONS[m].opcode for m in MODELLED)
)
"""Opcode of every instruction, under its mnemonic (HMMA_SP: HMMA.SP)."""


_SPECIAL = [name.removeprefix("SR_") for name in SPECIAL_REGISTERS]
SR: Any = namedtuple("SR", _SPECIAL)(*range(len(_SPECIAL)))
"""Index of every special register."""

Pipe = _numbered(
    "Pipe",
    """
    NONE ALU FMA MUFU LSU TENSOR ACC
    """,
)
"""Issue resources of a sub-core; NONE never blocks."""

PIPE_OF_UNIT = {
    Unit.ALU: Pipe.ALU,
    Unit.FMA: Pipe.FMA,
    Unit.MUFU: Pipe.MUFU,
    Unit.BRANCH: Pipe.NONE,
    Unit.SHARED: Pipe.LSU,
    Unit.GLOBAL: Pipe.LSU,
    Unit.TENSOR: Pipe.TENSOR,
    Unit.BARRIER: Pipe.NONE,
}


Cause = _numbered(
    "Cause",
    """
    ISSUED SCOREBOARD_ALU SCOREBOARD_MUFU SCOREBOARD_SHARED
    SCOREBOARD_L1 SCOREBOARD_L2 SCOREBOARD_DRAM  # in the order of `Level`
    SCOREBOARD_TENSOR UNIT TENSOR ACCUMULATOR SHARED_QUEUE GLOBAL_QUEUE BRANCH
    BARRIER NO_WARP
    """,
)
"""What a sub-core cycle went to."""
UNSETTLED = len(Cause)
"""Stands for the cause of a wait for a load until the quantum's end tells which level served it."""

Level = _numbered(
    "Level",
    """
    L1 L2 DRAM
    """,
)
"""Who served a sector."""
L = _numbered(
    "L",
    """
    STAMP  # accesses so far
    SLICE SET WAY  # where the last one went
    """,
)
"""State of L2 as a whole."""

LEVEL_BITS = 2
"""A stamp is a time times 4, plus the `Level`: the latest stamp tells who came last."""

CAUSE_OF_UNIT = {
    Unit.ALU: Cause.SCOREBOARD_ALU,
    Unit.FMA: Cause.SCOREBOARD_ALU,
    Unit.MUFU: Cause.SCOREBOARD_MUFU,
    Unit.BRANCH: Cause.BRANCH,
    Unit.SHARED: Cause.SCOREBOARD_SHARED,
    Unit.GLOBAL: Cause.SCOREBOARD_L1,
    Unit.TENSOR: Cause.SCOREBOARD_TENSOR,
    Unit.BARRIER: Cause.BARRIER,
}


Fault = _numbered(
    "Fault",
    """
    NONE GLOBAL_BOUNDS SHARED_BOUNDS MISALIGNED REGISTER_UNINITIALISED
    PREDICATE_UNINITIALISED ACC_UNINITIALISED ACC_BOUNDS NO_REGION STACK_OVERFLOW
    BSYNC_WITHOUT_BSSY DIVERGENT_CONTROL DIVERGENT_BARRIER DIVERGENT_TENSOR RUNAWAY
    RUNAWAY_LAUNCH BAD_PC STREAM_END CAPACITY STUCK
    GLOBAL_UNINITIALISED SHARED_UNINITIALISED SHARED_RACE RUN_SLOT
    """,
)
"""Why a warp trapped."""

D = _numbered(
    "D",
    """
    OP PIPE
    OUTSIDE  # 1: reaches beyond its SM (global memory, EXIT), so may not run ahead
    PLAIN  # 1: ready once the registers at SLOT and the predicates are, and its pipe
    GUARD
    GUARD_NOT  # all ones: negated
    PA PA_NOT PB PB_NOT
    SLOT  # PLAIN: the registers that it reads or writes, filled up with the one always ready
    SLOT1 SLOT2 SLOT3 SLOT4 SLOT5 SLOT6 SLOT7
    FORM  # of alu or compare (see alu.py); HMMA: of the vector kernel
    INTERVAL LATENCY
    CAUSE  # of those that wait for the result
    CREDIT  # cycles by which a tensor result is early for the accumulator input
    DEST  # first register written
    NDEST
    RD  # element offset in the warp's frame
    RA  # element offset ...
    RA_REL  # ... in the frame (1) or in the constants (0)
    RB RB_REL RC RC_REL RE RE_REL PD
    ACC  # first accumulation tile, if it has one ...
    TILES  # ... and how many
    HALVES  # SPWMMA: 1, SPWMMA64: 2 (words of a depth in a bitmap); others: 0
    ROOM_A  # values that the registers of a SPWMMA's side hold
    ROOM_B
    MAP_A  # SPWMMA: elements from the start of the bitmap's register to its first word; OHMMA: lane
    MAP_B
    IMM  # modulo 2^32
    M0  # modifiers by index, in table order
    M1 M2 M3 M4
    EXTRA  # cycles, of INTERVAL and LATENCY, for register banks
    WIDTH  # bytes a lane
    NREG  # registers of the data operand
    FWD  # first register of an accumulator input that takes CREDIT
    NFWD
    NSRC  # groups that follow as (first, count)
    SRC
    """,
)
"""Columns of the decoded program, one row an instruction (see decode.py)."""

SLOTS = 8
SOURCE_GROUPS = 5
DECODED_COLUMNS = 64
"""At least D.SRC + 2 * SOURCE_GROUPS: whole cache lines."""
ZERO_ROWS = 16
"""Rows of zeros at the start of the register file: what RZ reads, in groups of up to 16."""
DUMP_ROWS = 8
"""Rows at the end of a warp's frame that writes to RZ go to."""
DUMP_PREDICATE = 8
PREDICATE_SLOTS = 9
FULL_MASK = 0xFFFFFFFF
STACK_DEPTH = 64
PENDING = 1 << 60
"""A time that the end of the quantum will fix."""
UNINITIALISED = 1 << 61
TICKS = 256
"""Parts of a cycle in which bandwidths are counted."""


W = _numbered(
    "W",
    """
    STATE  # WarpState
    PC
    WAKE  # cannot issue before
    CAUSE  # what it waits for until then
    DATA  # when the next instruction's operands are ready; -1: to be found out
    DATA_CAUSE  # -1: ready, and nothing that it reads was never written
    ACTIVE  # lane mask
    ALIVE  # lanes that have not exited
    DEPTH  # entries of the reconvergence stack
    COUNT  # instructions issued
    CTA  # CTA slot
    ID  # warp within the CTA
    SUB  # sub-core
    LINEAR  # number of its CTA in the grid
    ATOMIC  # 1: it issued a RED or ATOM that takes place at the quantum's end
    OWED  # idle cycles of its sub-core that waited for it while the cause was UNSETTLED
    """,
)
"""State of a resident warp."""

WarpState = _numbered(
    "WarpState",
    """
    FREE RUNNING AT_BARRIER EXITED
    """,
)
"""Life of a warp slot."""

K = _numbered(
    "K",
    """
    KIND  # 0 region, 1 waiting lanes
    MASK
    PC  # waiting lanes: where; region: its BSYNC once reached, else -1
    """,
)
"""Entry of the reconvergence stack."""

C = _numbered(
    "C",
    """
    BUSY X Y Z
    LIVE  # warps that have not exited
    ARRIVED  # warps at the barrier
    FREE  # no CTA can start in it before
    EPOCH  # barriers that it has passed
    """,
)
"""State of a CTA slot."""

S = _numbered(
    "S",
    """
    WAKE
    GREEDY  # warp slot issued last, or -1
    IDLE_FROM IDLE_CAUSE IDLE_PC
    IDLE_WARP  # the warp that can go on first
    WARPS
    RING  # next entry of the SPWMMA queue
    COLLECTED  # the lags of the accumulation banks are those of this time
    LAGGING  # the largest of them
    PIPE
    """,
)
"""State of a sub-core; PIPE + Pipe.x: that pipe is free from this time on."""

SUB_COLUMNS = S.PIPE + len(Pipe)


M = _numbered(
    "M",
    """
    SHARED_FREE
    L1_FREE  # in sectors, not cycles
    REQUESTS RECORDS ATOMICS
    LAST  # last cycle with an issue, plus 1
    ALLOC  # allocation hit last
    FAULT FAULT_PC FAULT_WARP FAULT_LANE FAULT_ADDRESS FAULT_TIME
    FAULT_OTHER  # the other warp of a race, plus 1
    L1_CLOCK
    PORT_READ  # in ticks
    PORT_WRITE
    TAKEN  # CTAs of its own list that it started in this quantum
    RANK  # place among the SMs that have a list in this quantum, -1: none
    SPENT  # instructions issued since a warp of the launch last finished
    RETIRED  # warps that finished in this quantum
    LOGGED  # entries of its log of global stores
    LOGGED_LOW LOGGED_HIGH  # first byte and end of what they write
    RESUME  # it ran ahead of the quantum up to an instruction that others see; 0: it did not
    MISSES  # sectors asked for since the launch began
    MISSES_SETTLED  # of them, those whose arrival is known
    MISS_ROOM  # when L1 can take another load's misses; PENDING: not known yet
    RUN_ROOM  # the same for an LDV's
    STORES STORES_SETTLED STORE_ROOM  # the same for stores and atomics
    """,
)
"""State of an SM."""

Log = _numbered(
    "Log",
    """
    LOW HIGH  # first byte and end
    MASK WIDTH COUNT
    ADDRESS  # of 32 lanes
    """,
)
"""A store that takes place at the quantum's end."""
LOG_COLUMNS = Log.ADDRESS + 32

N = _numbered(
    "N",
    """
    OHMMA_ISSUED OHMMA_SKIPPED SHARED_WAVEFRONTS SHARED_CONFLICTS L1_SECTORS L1_HITS
    GLOBAL_SECTORS_WRITTEN L2_ACCESSES L2_HITS DRAM_READ DRAM_WRITTEN DRAM_ACTIVATES ATOMIC_LANES
    TENSOR_BUSY
    ACCUMULATOR_CONFLICTS  # of TENSOR_BUSY, cycles for banks alone
    STORE_END  # not a counter: cycle by which the last store has arrived
    """,
)
"""Counters of an SM or of the memory side."""

Q = _numbered(
    "Q",
    """
    TIME SECTOR KIND
    RECORD  # load or atomic record; store: mask of the bytes of the sector that it writes
    L1  # flat index of the L1 sector to fill; MERGE: the request merged with
    DONE  # stamp
    """,
)
"""A request to L2."""

Request = _numbered(
    "Request",
    """
    LOAD MERGE STORE ATOMIC
    """,
)
"""Kinds of request."""

R = _numbered(
    "R",
    """
    WARP
    DEST  # register, -1: none
    COUNT
    DONE  # stamp
    KIND  # 0: load, 1: RED.U32, 2: RED.F32, 3: ATOM
    MASK
    OFFSET  # of the destination in the register file
    SLOT  # row of the address and value lists
    LINEAR  # W.LINEAR at issue: the warp's slot may have another warp by then
    EXTRA  # cycles from the arrival of the last sector to use
    """,
)
"""A load or atomic whose completion the quantum's end fixes."""

Event = _numbered(
    "Event",
    """
    ISSUE  # VALUE: active lanes whose guard held; UNTIL: when its pipe is free again
    STALL  # from TIME until UNTIL; VALUE: the cause, or UNSETTLED; PC and WARP: who waits
    SETTLED  # the cause of WARP's STALLs that were UNSETTLED is VALUE
    START  # the first instruction of a warp
    END  # its last
    """,
)
"""Kinds of event."""

E = _numbered(
    "E",
    """
    KIND TIME SUB
    WARP  # slot on the SM
    PC VALUE UNTIL
    CTA  # in the grid
    ADDRESS  # of 32 lanes, if the recording has them
    """,
)
"""Columns of an event."""

PARAMETERS = (
    "predicate.latency", "branch.latency", "branch.taken_latency",
    "barrier.latency", "shared.latency", "shared.queue", "shared.shuffle_latency",
    "l1.latency", "l1.sectors_per_cycle", "l1.queue", "l2.latency",
    "l2.request_latency", "dram.latency", "dispatch.latency",
    "atomic.interval", "noc.read_bytes_per_sm_cycle", "noc.write_bytes_per_sm_cycle",
    "l2.sectors_per_slice_cycle", "l1.miss_sectors", "l1.store_sectors", "dram.banks",
    "dram.row_bytes", "dram.interleave_bytes", "dram.open_cycles", "dram.activate_cycles",
    "dram.row_cycles", "dram.queue", "dram.write_queue", "lsu.off_interval",
)  # fmt: skip
"""Machine parameters that compiled code reads, in the order of its parameter vector."""
DUAL_SIDE_PARAMETERS = (
    "ohmma.latency", "ohmma.squash_per_cycle",
    "spwmma.queue", "spwmma.startup", "spwmma.min_busy", "spwmma.latency",
    "accumulator.rows_per_cycle", "accumulator.latency", "accumulator.clear_cycles",
    "accumulator.collector",
)  # fmt: skip
"""Those of the dual-side extension, which follow; 0, and never read, without it."""


P = _numbered(
    "P",
    """
    PREDICATE BRANCH TAKEN BARRIER SHARED SHARED_QUEUE SHUFFLE L1 L1_RATE L1_QUEUE
    L2 L2_REQUEST DRAM DISPATCH ATOMIC PORT_READ PORT_WRITE L2_RATE
    MISS_SECTORS STORE_SECTORS DRAM_BANKS DRAM_ROW DRAM_INTERLEAVE DRAM_OPEN DRAM_ACTIVATE
    DRAM_CYCLE DRAM_QUEUE DRAM_WRITES LSU_OFF OHMMA SQUASH SP_QUEUE SP_STARTUP
    SP_MIN SP_LATENCY ACC_RATE ACC_LATENCY ACC_CLEAR
    ACC_COLLECTOR  # so far PARAMETERS and DUAL_SIDE_PARAMETERS
    RUNS  # runs.latency, 0 without the feature
    DRAM_TICKS  # ticks that a sector takes of its channel
    SUBS MAX_INSTRUCTIONS
    HOLDS  # 1: some instruction reads its sources for long (release times matter)
    MAX_LAUNCH  # instructions of the launch without any warp finishing
    BARRIERS  # 1: the kernel has a BAR
    WARPS_PER_CTA SHARED_BYTES ACC_TILES GRID_X GRID_Y GRID_Z
    CHECKS  # 1: reads of what was never written trap
    FRAME  # elements of a warp's frame in the register file
    RESIDENT  # warp slots an SM
    CTAS  # of the grid, those that run: the first in dispatch order
    """,
)
"""Index in the parameter vector."""
