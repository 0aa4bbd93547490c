"""Random kernels, and two interpreters of them: on SSA values and on machine code.

In: a seed. Out: a `dstc_isa.kernel` with loops, merges, groups, ties and guards; the stores that a
lane makes when it runs the IR, or the emitted code. Words that are undefined are None.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from dstc.backend.isa.encoding import Imm, Inst, Param, Reg, decode
from dstc.backend.isa.program import Kernel
from dstc.backend.isa.table import INSTRUCTIONS, PT, RZ, Kind
from dstc.dialects.dstc_isa import (
    BranchOp,
    ExitOp,
    IsaOp,
    JumpOp,
    KernelOp,
    PredType,
    RegType,
    UndefOp,
    Use,
)
from xdsl.ir import Block, Operation, Region, SSAValue

M = 0xFFFFFFFF
Word = int | None
Stores = list[tuple[Word, ...]]


def _hash(*words: Word) -> Word:
    if None in words:
        return None
    h = 2166136261
    for word in words:
        assert word is not None
        h = ((h ^ word) * 16777619 + 0x9E37) & M
    return h


def _strict(f: Callable[..., int]) -> Callable[..., Word]:
    return lambda *words: None if None in words else f(*words)


COMPARE = {"EQ": int.__eq__, "NE": int.__ne__, "LT": int.__lt__, "GE": int.__ge__}
LOGIC = {"AND": int.__and__, "OR": int.__or__, "XOR": int.__xor__, "ANDN": lambda a, b: a & ~b}


def semantics(mnemonic: str, mods: dict[str, str], x: dict[str, list[Word]], n: int) -> list[Word]:
    """Result words of an instruction; `x` holds its source words by role; n: words wanted."""
    match mnemonic:
        case "MOV":
            return x["b"]
        case "S2R":
            return x["sr"]
        case "IADD3":
            return [_strict(lambda a, b, c: (a + b + c) & M)(x["a"][0], x["b"][0], x["c"][0])]
        case "LOP":
            return [_strict(lambda a, b: LOGIC[mods["op"]](a, b) & M)(x["a"][0], x["b"][0])]
        case "SEL":
            (p,) = x["pa"]
            return [None] if p is None else x["a"] if p else x["b"]
        case "ISETP":
            compare = COMPARE[mods["compare"]]
            return [_strict(lambda a, b, p: int(compare(a, b) and p))(*x["a"], *x["b"], *x["pa"])]
        case "PLOP":
            return [_strict(lambda a, b: LOGIC[mods["op"]](a, b))(*x["pa"], *x["pb"])]
        case "LDG":
            return [_hash(*x["a"], i) for i in range(n)]
        case "HMMA":
            return [_hash(*x["a"], *x["b"], c) for c in x["c"]]
    raise NotImplementedError(mnemonic)


def run_ir(kernel: KernelOp, lane: int, limit: int = 20000) -> Stores:
    """Stores of a lane that runs the IR on SSA values; registers are not looked at."""
    env: dict[SSAValue, list[Word]] = {}
    stores: Stores = []
    block = kernel.body.blocks[0]
    while True:
        for op in block.ops:
            limit -= 1
            assert limit, "runaway"
            last = op
            if isinstance(op, UndefOp):
                env[op.out] = [None] * (op.out.type.registers if is_reg(op.out) else 1)
            elif isinstance(op, IsaOp):
                _ir_op(op, env, lane, stores)
        if isinstance(last, ExitOp):
            return stores
        if isinstance(last, JumpOp):
            target, values = last.target, last.values
        else:
            assert isinstance(last, BranchOp)
            (taken,) = env[last.predicate]
            assert taken is not None
            if bool(taken) != (last.negated is not None):
                target, values = last.taken, last.taken_values
            else:
                target, values = last.other, last.other_values
        env.update(zip(target.args, [list(env[v]) for v in values], strict=True))
        block = target


def is_reg(value: SSAValue) -> bool:
    return isinstance(value.type, RegType)


def _ir_op(op: IsaOp, env: dict[SSAValue, list[Word]], lane: int, stores: Stores) -> None:
    row, mods, uses, imms = op.ROW, op.modifier_choices, op.uses, op.immediate_values
    x: dict[str, list[Word]] = {}
    for operand in row.operands:
        if operand.write:
            continue
        use = uses.get(operand.role)
        if use is not None:
            count = 1 if operand.kind == Kind.PRED else op.operand_registers(operand.role)
            words = env[use.value][use.sub : use.sub + count]
            if operand.kind == Kind.ADDR:
                words = [_strict(lambda a: (a + int(imms.get("offset", 0))) & M)(words[0])]
            x[operand.role] = [None if w is None else 1 - w if use.negated else w for w in words]
        elif operand.kind == Kind.PRED:
            x[operand.role] = [1]
        elif operand.kind == Kind.SREG:
            x[operand.role] = [lane]
        elif operand.kind == Kind.FLEX:
            x["b"] = [int(imms["b"]) & M if "b" in imms else 1000 + int(imms["param"])]
        else:
            x[operand.role] = [0] * row.registers(operand, mods)
    guard: Word = 1
    if "guard" in uses:
        (guard,) = env[uses["guard"].value]
        guard = guard if guard is None or not uses["guard"].negated else 1 - guard
    if "store" in row.tags:
        if guard is None or guard:
            stores.append((*x["a"], *x["b"]) if guard else (None,) * (len(x["b"]) + 1))
        return
    if not op.outs:
        return
    out = op.outs[0]
    size = out.type.registers if isinstance(out.type, RegType) else 1
    into = uses.get("into")
    old = [None] * size if into is None else list(env[into.value])
    n = op.operand_registers("into") if is_reg(out) else 1
    new = semantics(row.mnemonic, mods, x, n)
    start = 0 if into is None else into.sub
    for i in range(n):
        if guard is None:
            old[start + i] = None
        elif guard:
            old[start + i] = new[i]
    env[out] = old


def run_code(kernel: Kernel, lane: int, seed: int = 0, limit: int = 40000) -> Stores:
    """Stores of a lane that runs the machine code, from registers full of garbage."""
    rng = random.Random(seed)
    regs: list[Word] = [rng.getrandbits(32) for _ in range(256)]
    preds: list[Word] = [rng.getrandbits(1) for _ in range(8)]
    insts = [decode(*words) for words in kernel.code.tolist()]
    stores: Stores = []
    pc = 0
    while limit:
        limit -= 1
        inst = insts[pc]
        pc += 1
        regs[RZ], preds[PT] = 0, 1
        if bool(preds[inst.guard[0]]) == inst.guard[1]:
            continue
        if inst.mnemonic == "EXIT":
            return stores
        if inst.mnemonic == "BRA":
            pc = inst.operands["target"]
        else:
            _code_op(inst, regs, preds, lane, stores)
    raise AssertionError("runaway")


def _code_op(inst: Inst, regs: list[Word], preds: list[Word], lane: int, stores: Stores) -> None:
    row, mods = INSTRUCTIONS[inst.mnemonic], dict(inst.modifiers)
    x: dict[str, list[Word]] = {}
    for operand in row.operands:
        value = inst.operands[operand.role]
        match operand.kind, value:
            case _ if operand.write:
                pass
            case Kind.PRED, (index, negated):
                x[operand.role] = [1 - preds[index] if negated else preds[index]]
            case Kind.SREG, _:
                x[operand.role] = [lane]
            case Kind.ADDR, (index, offset):
                x[operand.role] = [(regs[index] + offset) & M]
            case Kind.FLEX, Imm():
                x[operand.role] = [value.value]
            case Kind.FLEX, Param():
                x[operand.role] = [1000 + value.offset // 4]
            case _:
                index = value.index if isinstance(value, Reg) else value
                n = row.registers(operand, mods)
                x[operand.role] = [0] * n if index == RZ else regs[index : index + n]
    if "store" in row.tags:
        stores.append((*x["a"], *x["b"]))
        return
    for operand in row.operands:
        if not operand.write:
            continue
        value = inst.operands[operand.role]
        n = 1 if operand.kind == Kind.PRED else row.registers(operand, mods)
        new = semantics(inst.mnemonic, mods, x, n)
        if operand.kind == Kind.PRED:
            preds[value[0]] = new[0]
        elif value != RZ:
            regs[value : value + n] = new


def agree(ir: Stores, code: Stores) -> bool:
    """The same stores, where both define them (a swap by XOR with an undefined word loses both)."""
    return len(ir) == len(code) and all(
        len(a) == len(b)
        and all(p is None or q is None or p == q for p, q in zip(a, b, strict=True))
        for a, b in zip(ir, code, strict=True)
    )


class Generator:
    """Builds one random kernel. `size`: about how many steps."""

    def __init__(self, seed: int, size: int = 40):
        self.rng = random.Random(seed)
        self.budget = size
        self.region = Region([Block()])
        self.block = self.region.blocks[0]

    def kernel(self) -> KernelOp:
        lane = self.add("S2R", immediates={"sr": "SR_LANE"})
        regs = [lane, self.add("MOV", immediates={"param": 0})]
        pred = self.add("ISETP", {"a": lane}, modifiers=["LT", "U32"], immediates={"b": 2})
        env = [*regs, pred]
        while self.budget > 0:
            env = self.sequence(env, 0)
        for value in env[-6:]:
            self.store(value, env)
        self.block.add_op(ExitOp())
        return KernelOp("random", ["x", "y"], self.region, warps=1, shared_bytes=0, acc_tiles=0)

    def add(self, mnemonic: str, uses: dict | None = None, **kw: object) -> SSAValue:
        op = IsaOp.build(mnemonic, uses, **kw)  # pyright: ignore[reportArgumentType]
        self.block.add_op(op)
        return op.outs[0]

    def new_block(self, types: Sequence[RegType | PredType] = ()) -> Block:
        block = Block(arg_types=types)
        self.region.add_block(block)
        return block

    def reg(self, env: list[SSAValue], least: int = 1) -> Use:
        """Some register group part of `least` registers."""
        fits = [v for v in env if is_reg(v) and v.type.registers >= least]
        if not fits:
            value = self.add(
                "LDG", {"a": self.reg(env)}, modifiers=[{1: "32", 2: "64", 4: "128"}[least]]
            )
            env.append(value)
            fits = [value]
        value = self.rng.choice(fits[-8:])
        return Use(value, self.rng.randrange(0, value.type.registers, least))

    def pred(self, env: list[SSAValue]) -> Use:
        preds = [v for v in env if not is_reg(v)][-3:]
        return Use(self.rng.choice(preds), 0, self.rng.random() < 0.5)

    def store(self, value: SSAValue, env: list[SSAValue]) -> None:
        if not is_reg(value):
            value = self.add("SEL", {"a": self.reg(env), "b": self.reg(env), "pa": Use(value)})
        size = min(4, value.type.registers)
        width = {1: "32", 2: "64", 4: "128"}[size]
        sub = self.rng.randrange(0, value.type.registers, size)
        op = IsaOp.build("STG", {"a": env[0], "b": Use(value, sub)}, modifiers=[width])
        self.block.add_op(op)

    def sequence(self, env: list[SSAValue], depth: int) -> list[SSAValue]:
        env = list(env)
        for _ in range(self.rng.randrange(1, 8)):
            self.budget -= 1
            roll = self.rng.random()
            if roll < 0.12 and depth < 3 and self.budget > 0:
                env = self.conditional(env, depth)
            elif roll < 0.25 and depth < 3 and self.budget > 0:
                env = self.loop(env, depth)
            elif roll < 0.35:
                self.store(self.rng.choice(env), env)
            else:
                self.step(env)
        return env

    def step(self, env: list[SSAValue]) -> None:
        rng = self.rng
        uses: dict[str, Use] = {}
        kind = rng.choice(["MOV", "MOV", "IADD3", "LOP", "SEL", "ISETP", "PLOP", "LDG", "HMMA",
                           "UNDEF", "COPY"])  # fmt: skip
        modifiers: list[str] = []
        immediates: dict[str, int | str] = {}
        size = 1
        match kind:
            case "UNDEF":
                op = UndefOp(RegType.of(rng.choice((2, 4, 8))))
                self.block.add_op(op)
                env.append(op.out)
                return
            case "COPY":
                value = rng.choice([v for v in env if not is_reg(v) or v.type.registers == 1])
                if is_reg(value):
                    env.append(self.add("MOV", {"b": value}))
                else:
                    env.append(self.add("PLOP", {"pa": value}, modifiers=["AND"]))
                return
            case "MOV" if rng.random() < 0.5:
                immediates["b"] = rng.randrange(100)
            case "MOV":
                uses["b"] = self.reg(env)
            case "IADD3":
                uses = {"a": self.reg(env), "b": self.reg(env), "c": self.reg(env)}
            case "LOP":
                uses = {"a": self.reg(env), "b": self.reg(env)}
                modifiers = [rng.choice(list(LOGIC))]
            case "SEL":
                uses = {"a": self.reg(env), "b": self.reg(env), "pa": self.pred(env)}
            case "ISETP":
                uses = {"a": self.reg(env)}
                immediates["b"] = rng.randrange(1 << 32)
                modifiers = [rng.choice(list(COMPARE)), "U32"]
            case "PLOP":
                uses = {"pa": self.pred(env), "pb": self.pred(env)}
                modifiers = [rng.choice(["AND", "OR", "XOR"])]
            case "LDG":
                size = rng.choice((1, 2, 4))
                uses = {"a": self.reg(env)}
                modifiers = [{1: "32", 2: "64", 4: "128"}[size]]
                immediates["offset"] = 16 * rng.randrange(4)
            case _:
                size = 2
                uses = {"a": self.reg(env), "b": self.reg(env), "c": self.reg(env, 2)}
                modifiers = ["884", "AROW", "BCOL", "STEP0"]
        is_pred = kind in ("ISETP", "PLOP")
        if not is_pred and rng.random() < 0.4:
            uses["into"] = self.reg(env, size)
        elif is_pred and rng.random() < 0.3:
            uses["into"] = Use(self.pred(env).value)
        if rng.random() < 0.3 and (not is_pred or "into" in uses):
            uses["guard"] = self.pred(env)
        value = self.add(kind, uses, modifiers=modifiers, immediates=immediates)
        if is_pred and not _defined(value):
            return
        env.append(value)

    def conditional(self, env: list[SSAValue], depth: int) -> list[SSAValue]:
        branch_on = self.pred(env)
        merged = self.rng.sample(env, min(len(env), self.rng.randrange(0, 4)))
        types = [plain(v) for v in merged]
        join = self.new_block(types)
        start = self.block
        then = self.new_block()
        self.block = then
        then_env = self.sequence(env, depth + 1)
        self.block.add_op(JumpOp(join, [self.like(t, then_env) for t in types]))
        negated = self.rng.random() < 0.3
        if self.rng.random() < 0.5:
            other = self.new_block()
            self.block = other
            other_env = self.sequence(env, depth + 1)
            self.block.add_op(JumpOp(join, [self.like(t, other_env) for t in types]))
            ends = [(then, []), (other, [])]
        else:
            ends = [(then, []), (join, merged)]
        self.rng.shuffle(ends)
        start.add_op(BranchOp(branch_on.value, *ends[0], *ends[1], negated=negated))
        self.block = join
        return [*env, *join.args]

    def like(self, type_: RegType | PredType, env: list[SSAValue]) -> SSAValue:
        return self.rng.choice([v for v in env if plain(v) == type_])

    def loop(self, env: list[SSAValue], depth: int) -> list[SSAValue]:
        carried = [self.rng.choice(env) for _ in range(self.rng.randrange(0, 5))]
        types = [plain(v) for v in carried]
        zero = self.add("MOV", immediates={"b": 0})
        header = self.new_block([RegType.of(1), *types])
        self.block.add_op(JumpOp(header, [zero, *carried]))
        self.block = header
        inner = [*env, *header.args[1:]]
        turns = self.rng.randrange(1, 4)
        count = header.args[0]
        if self.rng.random() < 0.5:  # tested at the top
            more = self.add("ISETP", {"a": count}, modifiers=["LT", "U32"], immediates={"b": turns})
            body, exit_ = self.new_block(), self.new_block()
            header.add_op(BranchOp(more, body, [], exit_, []))
            self.block = body
            inner = self.sequence(inner, depth + 1)
            following = self.add("IADD3", {"a": count}, immediates={"b": 1})
            self.block.add_op(JumpOp(header, [following, *self.next(types, header, inner)]))
            self.block = exit_
            return [*env, *header.args[1:]]
        inner = self.sequence(inner, depth + 1)
        following = self.add("IADD3", {"a": count}, immediates={"b": 1})
        more = self.add("ISETP", {"a": following}, modifiers=["LT", "U32"], immediates={"b": turns})
        exit_ = self.new_block(types)
        self.block.add_op(
            BranchOp(
                more, header, [following, *self.next(types, header, inner)],
                exit_, self.next(types, header, inner),
            )
        )  # fmt: skip
        self.block = exit_
        return [*env, *exit_.args]

    def next(
        self, types: Sequence[RegType | PredType], header: Block, env: list[SSAValue]
    ) -> list[SSAValue]:
        """What the loop passes on: anything of the type, often another argument (a swap)."""
        passed: list[SSAValue] = []
        for type_ in types:
            args = [a for a in header.args[1:] if a.type == type_]
            passed.append(self.rng.choice(args) if self.rng.random() < 0.5 else
                          self.like(type_, env))  # fmt: skip
        return passed


def plain(value: SSAValue) -> RegType | PredType:
    return RegType.of(value.type.registers) if is_reg(value) else PredType.of()


def _defined(value: SSAValue) -> bool:
    """A predicate may be branched on only if it is defined: it must not depend on undef."""
    seen: set[SSAValue] = set()
    pending = [value]
    while pending:
        v = pending.pop()
        if v in seen:
            continue
        seen.add(v)
        if isinstance(v.owner, Block):
            if is_reg(v):
                return False
        elif isinstance(v.owner, UndefOp) or (
            isinstance(v.owner, IsaOp) and "guard" in v.owner.uses
        ):
            return False
        else:
            pending.extend(v.owner.operands)
    return True


def random_kernel(seed: int, size: int = 40) -> KernelOp:
    """A verified random kernel."""
    kernel = Generator(seed, size).kernel()
    kernel.verify()
    return kernel


def instructions(kernel: KernelOp) -> list[Operation]:
    """All ops of a kernel."""
    return [op for block in kernel.body.blocks for op in block.ops]
