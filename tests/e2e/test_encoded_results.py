"""Products that encode their own result: the bits of the IR before, one launch less."""

import numpy as np
import pytest

from .ir import check, main_of, sparse

SIZES = 70, 45, 50, 37
"""M, K, N of the first product, the other size of the second."""
SCHEDULES = {
    "plain": "dual, cta = 64x64, warp = 32x32, stages = 2",
    "swap": "dual, cta = 32x64, warp = 32x64, stages = 2, swap",
    "large": "dual, cta = 128x64, warp = 64x64, stages = 2",
    "turns": "dual, cta = 64x32, warp = 64x32, stages = 2, ctas = 2, cut = 1",
    "split": "dual, cta = 64x64, warp = 64x32, stages = 2, swap, split = 2",
}
EPILOGUES = {
    "relu": ("activation = #dstc<activation relu>, ", False),
    "bias-m": ('bias_along = "m", ', False),
    "bias-n-residual": ('bias_along = "n", ', True),
}


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("epilogue", EPILOGUES)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_chain_of_two_products(schedule: str, epilogue: str, side: str) -> None:
    m, k, n, other = SIZES
    attributes, adds = EPILOGUES[epilogue]
    a, b, y = f"tensor<{m}x{k}xf16>", f"tensor<{k}x{n}xf16>", f"tensor<{m}x{n}xf16>"
    if side == "a":
        w, z, factors = f"tensor<{n}x{other}xf16>", f"tensor<{m}x{other}xf32>", ("p", "w")
        types = f"{y}, {w}"
    else:
        w, z, factors = f"tensor<{other}x{m}xf16>", f"tensor<{other}x{n}xf32>", ("w", "p")
        types = f"{w}, {y}"
    size = m if "m" in attributes.split(",")[0] else n
    along = "bias" in epilogue
    given = f"{' bias(%c)' if along else ''}{' residual(%r)' if adds else ''}"
    extra = f"{f', tensor<{size}xf32>' if along else ''}{f' + {y}' if adds else ''}"
    how = f"schedule = #dstc.schedule<{SCHEDULES[schedule]}>"
    body = f"""%c = dstc.constant "c" : tensor<{size}xf32>
    %p = dstc.matmul %a, %b{given} {{{attributes}{how}}} : {a}, {b}{extra} -> {y}
    %y = dstc.matmul %{factors[0]}, %{factors[1]} {{{how}}} : {types} -> {z}"""
    rng = np.random.default_rng(5)
    inputs = [sparse(rng, (m, k), 0.2), sparse(rng, (k, n), 0.1)]
    inputs.append(sparse(rng, (n, other) if side == "a" else (other, m), 0.4))
    inputs.append(sparse(rng, (m, n), 0.3))
    signature = f"%a: {a}, %b: {b}, %w: {w}, %r: {y} -> {z}"
    constants = {"c": sparse(rng, (size,), 0.5).astype(np.float32)}
    interpret = schedule == "split"
    compiled = check(main_of(signature, body), inputs, interpret=interpret, constants=constants)
    plan = compiled.program.plan
    assert plan is not None and len(plan.steps) == 2
