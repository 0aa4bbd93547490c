"""Matrix products through compiler and simulator: numpy's bits, for every shape and schedule."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from dstc.backend.isa.program import Launch
from dstc.compiler.bench import Gemm, compile_gemm, run_gemm, same_bits
from dstc.dialects.dstc import Engine, ScheduleAttr
from dstc.dialects.interpreters.dstc import matmul_f32, matmul_split
from dstc.runtime.device import Device
from dstc.runtime.images import from_image, to_image
from dstc.runtime.machine import Machine
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from .ir import Array, assert_same, check, dense, dual, main_of, sparse

DSTC, V100, PLUS = (Machine.load(name) for name in ("dstc", "v100", "dstc-plus"))
SMALL = Machine.load("dstc", {"sm.count": 4})

SHAPES = [(1, 1, 1), (33, 17, 5), (100, 257, 63), (64, 64, 64), (128, 128, 160)]
DENSITIES = [(0, 0.5), (0.1, 0.1), (0.5, 0), (0.5, 1), (1, 0.1), (1, 1)]

SCHEDULES = {
    "dense-16": dense((16, 16), (16, 16)),
    "dense-32": dense((32, 64), (32, 32)),
    "dense-64": dense((64, 64), (32, 32)),
    "dense-128": dense((128, 128), (64, 32)),
    "dual-32": dual((32, 32), (32, 32), 2),
    "dual-64": dual((64, 64), (32, 32), 5),
    "dual-64-swap": dual((64, 64), (32, 32), 4, swap=True),
    "dual-wide": dual((64, 128), (32, 64), 3),
    "dual-tall-swap": dual((128, 64), (64, 32), 2, swap=True),
    "dual-128": dual((128, 128), (64, 64), 3),
    "dual-128-swap": dual((128, 128), (64, 64), 2, swap=True),
    "window-64": dual((64, 128), (64, 64), 3, window=64),
    "window-64-swap": dual((128, 64), (64, 64), 2, swap=True, window=64),
    "window-64-tall": dual((128, 64), (128, 64), 2, window=64),
    "window-64-large": dual((128, 128), (128, 128), 4, window=64),
    "window-64-wide-swap": dual((64, 128), (64, 128), 2, swap=True, window=64),
}


def machine_of(schedule: ScheduleAttr) -> Machine:
    return DSTC if schedule.vectors == 32 else PLUS


def run(gemm: Gemm, a: Array, b: Array, schedule: ScheduleAttr) -> Array:
    compiled, used = compile_gemm(gemm, machine_of(schedule), schedule=schedule)
    assert used == schedule
    return compiled.run({"arg0": a, "arg1": b}, statistics=False, checks="full").outputs["out0"]


FEW = ("dense-32", "dense-128", "dual-64", "dual-wide", "dual-128-swap", "window-64")
"""For the shapes that are whole tiles, or one element."""

CASES = [
    pytest.param(shape, name, id=f"{'x'.join(map(str, shape))}-{name}")
    for shape in SHAPES
    for name in (SCHEDULES if shape[0] % 2 == 0 and shape[1] % 2 else FEW)
]


@pytest.mark.parametrize(("shape", "name"), CASES)
def test_bits(shape: tuple[int, int, int], name: str) -> None:
    schedule = SCHEDULES[name]
    compiled, _ = compile_gemm(Gemm(*shape), machine_of(schedule), schedule=schedule)
    for seed, densities in enumerate(DENSITIES):
        a, b = Gemm(*shape, *densities, seed=seed).operands()
        got = compiled.run({"arg0": a, "arg1": b}, statistics=False, checks="full").outputs["out0"]
        assert_same(got, matmul_f32(a, b), f"densities {densities}")


MOST_STAGES = {1: 6, 2: 6, 4: 4}
"""32x32 tiles of a warp -> stages for which registers and predicates suffice."""


# no shrinking: compiling a candidate takes half a second
@settings(max_examples=12, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    st.tuples(st.integers(1, 140), st.integers(1, 140), st.integers(1, 100)),
    st.sampled_from(sorted(SCHEDULES)),
    st.integers(2, 6),
    st.sampled_from([0, 0.02, 0.3, 0.7, 1]),
    st.sampled_from([0, 0.02, 0.3, 0.7, 1]),
    st.sampled_from(["random", "block"]),
)
def test_any_shape_density_and_schedule(shape, name, stages, a_density, b_density, pattern) -> None:
    s = SCHEDULES[name]
    stages = min(stages, MOST_STAGES.get(s.warp_tile[0] * s.warp_tile[1] // 1024, 2))
    engine = Engine(s.engine.data)
    schedule = ScheduleAttr.of(engine, s.cta_tile, s.warp_tile, stages, s.swapped, window=s.vectors)
    gemm = Gemm(*shape, a_density, b_density, pattern, seed=stages)
    a, b = gemm.operands()
    assert_same(run(gemm, a, b, schedule), matmul_f32(a, b), f"{schedule}")


@settings(max_examples=10, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    st.tuples(st.integers(40, 300), st.integers(40, 300), st.integers(1, 300)),
    st.sampled_from(["dual-64-swap", "dual-128", "dual-wide", "dual-tall-swap", "window-64-tall"]),
    st.integers(1, 9),
    st.integers(0, 5),
    st.sampled_from([0, 0.05, 0.3, 1]),
    st.sampled_from([0, 0.05, 0.3, 1]),
    st.sampled_from(["f16", "f32"]),
)
def test_ctas_that_take_tiles_in_turn(shape, name, ctas, cut, a_density, b_density, out) -> None:
    s = SCHEDULES[name]
    cut = cut if s.pieces != (1, 1) else 0
    schedule = dual(s.cta_tile, s.warp_tile, 2, s.swapped, window=s.vectors, ctas=ctas, cut=cut)
    gemm = Gemm(*shape, a_density, b_density, out=out)
    a, b = gemm.operands()
    want = matmul_f32(a, b)
    got = run(gemm, a, b, schedule)
    assert_same(got, want if out == "f32" else want.astype(np.float16), f"{schedule}")


def test_a_second_launch_on_the_same_buffers_takes_all_tiles_again() -> None:
    class Twice(Device):
        def launch(self, kernel: Any, grid: Sequence[int] = (1, 1, 1), args: Sequence[int] = ()):
            result = super().launch(kernel, grid, args)
            if "taken" in kernel.params:
                self.write(args[kernel.params.index("c")], np.zeros((200, 330), np.float16))
                result = super().launch(kernel, grid, args)
            return result

    gemm = Gemm(200, 330, 100, 0.3, 0.4, out="f16")
    schedule = dual((64, 64), (64, 64), 2, ctas=3, cut=2)
    compiled, _ = compile_gemm(gemm, DSTC, schedule=schedule)
    a, b = gemm.operands()
    got = compiled.run({"arg0": a, "arg1": b}, device=Twice(DSTC)).outputs["out0"]
    assert_same(got, matmul_f32(a, b).astype(np.float16), "after two launches")


@settings(max_examples=10, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    st.tuples(st.integers(1, 200), st.integers(1, 200), st.integers(1, 1300)),
    st.sampled_from(["dual-32", "dual-64-swap", "dual-128", "window-64", "window-64-wide-swap"]),
    st.tuples(*[st.sampled_from([0, 0.1, 0.4, 1])] * 2),
    st.tuples(*[st.sampled_from([0.02, 0.1, 1])] * 2),
)
def test_steps_that_are_empty_are_skipped(shape, name, tiles, inside) -> None:
    s = SCHEDULES[name]
    schedule = dual(s.cta_tile, s.warp_tile, 3, s.swapped, window=s.vectors, skip=True)
    densities = [share * density for share, density in zip(tiles, inside, strict=True)]
    gemm = Gemm(*shape, *densities, tiles=tiles)
    a, b = gemm.operands()
    assert_same(run(gemm, a, b, schedule), matmul_f32(a, b), f"{schedule}")


def test_lists_of_steps_longer_than_a_load_of_words() -> None:
    gemm = Gemm(32, 40, 32 * 32 * 16 + 500, 0.02, 0.03, tiles=(0.2, 0.3))
    a, b = gemm.operands()
    schedule = dual((32, 32), (32, 32), 3, skip=True)
    assert_same(run(gemm, a, b, schedule), matmul_f32(a, b), "1056 steps")


def test_skipping_saves_what_the_other_steps_take() -> None:
    gemm = Gemm(128, 128, 4096, 0.1, 0.1, "block")
    plain, skip = (
        run_gemm(gemm, machine=DSTC, schedule=dual((64, 64), (64, 64), 4, skip=on))
        for on in (False, True)
    )
    assert plain["bit_exact"] and skip["bit_exact"]
    assert skip["cycles"] < plain["cycles"] / 3
    assert skip["counters"]["l1_sectors"] < plain["counters"]["l1_sectors"] / 4


@pytest.mark.parametrize("dense_rows", [(128, 64), (64, 128), (64, 64)])
@pytest.mark.parametrize("window", [32, 64])
def test_wide_tiles_on_either_side(dense_rows: tuple[int, int], window: int) -> None:
    # CTAs with wide tiles on both sides, on one and on none; many of them are expected on one side
    rng = np.random.default_rng(4)
    a, b = sparse(rng, (192, 96), 0.1), sparse(rng, (96, 192), 0.1)
    a[: dense_rows[0]], b[:, : dense_rows[1]] = 1, 2
    a_density, b_density = (float(np.count_nonzero(x) / x.size) for x in (a, b))
    schedule = dual((64, 64), (64, 64), 4, window=window)
    gemm = Gemm(192, 192, 96, a_density, b_density)
    assert_same(run(gemm, a, b, schedule), matmul_f32(a, b), f"{schedule}")


@pytest.mark.parametrize("engine", ["dense", "dual"])
@pytest.mark.parametrize("pattern", ["random", "block"])
def test_bounds_hold(engine: str, pattern: str) -> None:
    for m, n, k, a, b in [(256, 256, 256, 0.2, 1), (96, 200, 333, 0.5, 0.1), (32, 32, 1000, 1, 1)]:
        row = run_gemm(Gemm(m, n, k, a, b, pattern), machine=SMALL, engine=engine, checks="full")
        assert row["bit_exact"] is True and row["engine"] == engine
        for name, bound in row["bounds"].items():
            assert bound is None or 0 < bound <= row["cycles"], name


def test_the_same_cycles_twice() -> None:
    gemm = Gemm(150, 130, 90, 0.3, 0.4)
    first, second = (run_gemm(gemm, machine=SMALL, engine="dual") for _ in range(2))
    for key in ("cycles", "stalls", "counters", "warp_instructions", "schedule", "bounds"):
        assert first[key] == second[key], key


def test_functional_mode_has_the_same_bits() -> None:
    gemm = Gemm(70, 50, 40, 0.5, 0.5)
    a, b = gemm.operands()
    for machine, engine in ((DSTC, "dual"), (V100, "dense")):
        compiled, _ = compile_gemm(gemm, machine, engine)
        device = Device(machine, mode="functional")
        got = compiled.run({"arg0": a, "arg1": b}, device=device)
        assert same_bits(got.outputs["out0"], matmul_f32(a, b)) and got.cycles == 0


def special(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """f16 values with infinities, NaN, -0, subnormals and the largest number among them."""
    values = sparse(rng, shape, 0.6)
    odd = np.array([np.inf, -np.inf, np.nan, -0.0, 6e-8, -6e-8, 65504, 0], np.float16)
    return np.where(rng.random(shape) < 0.05, rng.choice(odd, shape), values)


@pytest.mark.parametrize("schedule", ["dense-64", "dual-64", "dual-128-swap", "window-64"])
def test_infinity_nan_and_negative_zero(schedule: str) -> None:
    """0 times infinity is NaN on the dense engine; the dual engine skips it."""
    rng = np.random.default_rng(1)
    a, b = special(rng, (70, 40)), special(rng, (40, 65))
    got = run(Gemm(70, 65, 40), a, b, SCHEDULES[schedule])
    want = matmul_f32(a, b, skip_zeros=not schedule.startswith("dense"))
    assert np.isnan(want).any() and np.isfinite(want).any()
    assert_same(got, want, schedule)


def test_negative_zero_sums_are_positive() -> None:
    """An accumulator begins with +0, and +0 + -0 is +0."""
    a, b = np.full((4, 3), -0.0, np.float16), np.ones((3, 5), np.float16)
    for schedule in ("dense-32", "dual-32"):
        got = run(Gemm(4, 5, 3), a, b, SCHEDULES[schedule])
        assert not np.signbit(got).any() and not got.any()


DENSE = [
    ((16, 16), (16, 16)), ((16, 128), (16, 32)), ((32, 64), (32, 32)), ((64, 16), (32, 16)),
    ((64, 128), (64, 64)), ((128, 64), (64, 32)), ((96, 48), (48, 48)), ((64, 64), (16, 32)),
]  # fmt: skip
"""CTA and warp tiles: one to four fragments a warp, more and fewer loads than lanes."""


@settings(max_examples=24, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    st.tuples(st.integers(1, 200), st.integers(1, 200), st.integers(1, 260)),
    st.sampled_from(DENSE),
    st.integers(1, 5),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["f16", "f32"]),
)
def test_any_form_tile_and_split(shape, tiles, split, trans_a, trans_b, out) -> None:
    gemm = Gemm(*shape, 0.7, 0.9, trans_a=trans_a, trans_b=trans_b, out=out)
    row = run_gemm(gemm, machine=SMALL, engine="dense", schedule=dense(*tiles, split=split))
    assert row["bit_exact"] is True


@settings(max_examples=12, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    st.tuples(st.integers(1, 140), st.integers(1, 140), st.integers(1, 300)),
    st.sampled_from(["dual-32", "dual-64-swap", "dual-wide", "dual-128", "dual-128-swap"]),
    st.integers(2, 5),
    st.sampled_from([0.02, 0.3, 1]),
    st.sampled_from(["f16", "f32"]),
)
@example((111, 128, 2), "dual-128", 2, 1, "f32")
def test_any_dual_tile_and_split(shape, name, split, density, out) -> None:
    s = SCHEDULES[name]
    schedule = dual(s.cta_tile, s.warp_tile, 3, s.swapped, split)
    gemm = Gemm(*shape, density, 0.5, out=out, seed=split)
    row = run_gemm(gemm, machine=SMALL, engine="dual", schedule=schedule, checks="full")
    assert row["bit_exact"] is True


@pytest.mark.parametrize("engine", ["dense", "dual"])
@pytest.mark.parametrize("form", [(True, False), (False, True), (True, True)])
def test_transposed_operands_on_either_engine(engine: str, form: tuple[bool, bool]) -> None:
    gemm = Gemm(70, 90, 50, 0.3, 0.6, trans_a=form[0], trans_b=form[1])
    row = run_gemm(gemm, machine=SMALL, engine=engine)
    assert row["bit_exact"] is True and row["engine"] == engine


SPLIT = [dense((32, 64), (32, 32), split=4), dual((64, 32), (32, 32), split=4)]


@pytest.mark.parametrize("schedule", SPLIT)
def test_a_split_product_with_infinity_and_nan(schedule: ScheduleAttr) -> None:
    rng = np.random.default_rng(3)
    a, b = special(rng, (70, 140)), special(rng, (140, 65))
    skips = schedule.engine.data == Engine.DUAL
    assert_same(run(Gemm(70, 65, 140), a, b, schedule), matmul_split(a, b, 4, skips), "split")


@pytest.mark.parametrize("schedule", SPLIT)
def test_a_split_product_leaves_its_counters_as_it_found_them(schedule: ScheduleAttr) -> None:
    """Workspace and counters serve launch after launch."""
    m, n, k = 70, 65, 140
    gemm = Gemm(m, n, k)
    compiled, _ = compile_gemm(gemm, SMALL, schedule=schedule)
    plan, device = compiled.program.plan, Device(SMALL)
    assert plan is not None
    (step,) = plan.steps
    assert isinstance(step, Launch)
    buffers = {buffer.name: buffer for buffer in plan.buffers}
    at = {name: device.allocate(buffer.bytes) for name, buffer in buffers.items()}
    args = [at[a] if isinstance(a, str) else a for a in step.args]
    for seed in range(3):
        operands = Gemm(m, n, k, seed=seed).operands()
        for name, operand in zip(step.args[:2], operands, strict=True):
            device.write(at[str(name)], to_image(operand, buffers[str(name)]))
        device.launch(compiled.program.kernels[step.kernel], step.grid, args)
        c, arrivals = (buffers[str(step.args[i])] for i in (2, 4))
        got = from_image(device.read(at[c.name], c.bytes), c)
        assert_same(got, matmul_split(*operands, schedule.parts), f"launch {seed}")
        assert not device.read(at[arrivals.name], arrivals.bytes).any()


LEVELS = {
    "dense": ("dense", "default", "dense, cta = 32x32, warp = 16x16, stages = 2"),
    "split": ("dense", "default", "dense, cta = 32x64, warp = 32x32, stages = 2, split = 2"),
    "dual-split": ("dual", "default", "dual, cta = 32x64, warp = 32x32, stages = 2, split = 2"),
    "dual": ("dual", "default", "dual, cta = 32x64, warp = 32x32, stages = 2"),
    "dual-encoded": ("dual", "encoded-inputs", "dual, cta = 64x32, warp = 32x32, stages = 3, swap"),
    "window-64": ("dual", "default", "dual, cta = 64x64, warp = 64x64, stages = 2, window = 64"),
}


@pytest.mark.parametrize("name", LEVELS)
def test_every_level_has_the_same_bits(name: str) -> None:
    engine, pipeline, schedule = LEVELS[name]
    m, n, k = 35, 40, 50
    text = main_of(
        f"%a: tensor<{m}x{k}xf16>, %b: tensor<{k}x{n}xf16> -> tensor<{m}x{n}xf32>",
        f"%y = dstc.matmul %a, %b {{schedule = #dstc.schedule<{schedule}>}} : "
        f"tensor<{m}x{k}xf16>, tensor<{k}x{n}xf16> -> tensor<{m}x{n}xf32>",
    )
    rng = np.random.default_rng(0)
    inputs = [sparse(rng, (m, k), 0.3), sparse(rng, (k, n), 0.6)]
    machine = "dstc-plus" if "window" in schedule else "dstc"
    check(text, inputs, machine=machine, engine=engine, pipeline=pipeline)
