"""Fit the closed forms (`Fitted` in passes/cost_dense.py and cost_dual.py) to simulations.

In: rows of `estimate_accuracy.py --json` and of `chooser.py --json`, whose many tiles of a product
teach the forms to rank them. Out: the numbers with which the estimates of each engine come nearest,
and what the choice by them loses, printed or written into the passes.

    python benchmarks/chooser.py --cases 120 --seed 21 --some 12 --json tiles
    python benchmarks/chooser.py --cases 120 --seed 22 --some 6 --most-k 192 --json short
    python benchmarks/estimate_accuracy.py --cases 400 --seed 11 --thin 0.4 --json thin
    python benchmarks/estimate_fit.py tiles short thin --write
"""

import argparse
import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from dstc.compiler.bench import Gemm
from dstc.compiler.bench_estimate import counted
from dstc.dialects.dstc import Engine
from dstc.passes import cost_dense, cost_dual
from dstc.passes.cost import ScheduledProduct
from dstc.passes.cost_chip import Chip
from dstc.runtime.machine import Machine
from estimate_accuracy import rebuilt
from numpy.typing import NDArray

F64 = NDArray[np.float64]
FORMS: dict[str, Any] = {"dense": cost_dense, "dual": cost_dual}
"""Engine -> the module of its closed form."""
LINEAR = 0.12
"""Errors beyond this count linearly, not squared: no case decides alone."""
PRIOR = 0.15
"""How much a factor e on a number has to gain: numbers that hardly matter stay as they are."""
RANK = 1.0
"""What a schedule's error counts beside the mean error of its product: a choice hangs on these."""
NEAR, FAR = 1.35, 0.4
"""Schedules that take longer than this many times the best of their product count less: so much."""


def products(rows: list[dict[str, Any]]) -> NDArray[np.intp]:
    """Of each row, the number of its product."""
    facts = [
        json.dumps({name: row.get(name) for name in (*Gemm.__dataclass_fields__, "machine")})
        for row in rows
    ]
    return np.unique(facts, return_inverse=True)[1]


def residuals(
    predict: Callable[[Any], list[float]], cycles: F64, start: Any, of_product: NDArray[np.intp]
) -> Any:
    """fitted -> what least squares make small: log errors, and the distance from `start`.

    Errors by themselves, and beside those of other schedules of the product.
    """
    best = np.full(of_product.max() + 1, np.inf)
    np.minimum.at(best, of_product, cycles)
    weights = np.where(cycles <= NEAR * best[of_product], 1.0, FAR)
    of_all = np.bincount(of_product, weights)

    def damped(r: F64) -> F64:
        tail = np.sign(r) * np.sqrt(np.maximum(0, 2 * LINEAR * np.abs(r) - LINEAR**2))
        return np.sqrt(weights) * np.where(np.abs(r) < LINEAR, r, tail)

    def of(fitted: Any) -> F64:
        r = np.log(np.maximum(1.0, predict(fitted))) - np.log(cycles)
        beside = r - (np.bincount(of_product, weights * r) / of_all)[of_product]
        moved = [PRIOR * np.log(getattr(fitted, k) / v) for k, v in asdict(start).items()]
        return np.concatenate([damped(r), RANK * damped(beside), moved])

    return of


def fit(
    predict: Callable[[Any], list[float]],
    cycles: F64,
    start: Any,
    of_product: NDArray[np.intp],
    turns: int = 25,
) -> Any:
    """Damped least squares (Levenberg-Marquardt) over the logarithms of all numbers of `start`."""
    names = list(asdict(start))
    of = residuals(predict, cycles, start, of_product)
    fitted, damping = start, 1e-2
    now = of(fitted)
    for _ in range(turns):
        columns = [
            (of(replace(fitted, **{k: getattr(fitted, k) * 1.002})) - now) / np.log(1.002)
            for k in names
        ]
        jacobian = np.stack(columns, axis=1)
        square = jacobian.T @ jacobian
        before = float(now @ now)
        for _attempt in range(6):
            damped = square + damping * np.diag(np.diag(square) + 1e-9)
            step = np.clip(np.linalg.solve(damped, -jacobian.T @ now), -0.5, 0.5)
            moved = {
                k: float(getattr(fitted, k) * np.exp(s)) for k, s in zip(names, step, strict=True)
            }
            tried = replace(fitted, **moved)
            after = of(tried)
            if after @ after < before:
                fitted, now, damping = tried, after, damping / 3
                break
            damping *= 4
        if before - float(now @ now) < 1e-4 * before:
            break
    return fitted


def fit_engine(engine: str, rows: list[dict[str, Any]]) -> Any:
    """Fit an engine's numbers to its rows, and say how near they come."""
    form = FORMS[engine]
    chips = {name: Chip.of(Machine.load(name)) for name in {r["machine"] for r in rows}}
    jobs: list[tuple[Any, ...]] = []
    for row in rows:
        gemm, product = rebuilt(row)
        chip = chips[row["machine"]]
        jobs.append((*arguments(product, gemm, chip), chip))

    def predict(fitted: Any) -> list[float]:
        return [form.predict(*job, fitted).cycles for job in jobs]

    cycles = np.array([r["cycles"] for r in rows], np.float64)
    fitted = fit(predict, cycles, form.FITTED, products(rows))
    for name, numbers in (("before", form.FITTED), ("fitted", fitted)):
        estimates = np.array(predict(numbers))
        errors = np.abs(estimates / cycles - 1)
        print(
            f"{engine:5} {name}: median {np.median(errors):.1%}, p90 {np.quantile(errors, 0.9):.1%}"
            f", max {errors.max():.1%}, within 15 % {(errors <= 0.15).mean():.1%}"
            + losses(rows, cycles, estimates)
        )
    return fitted


def losses(rows: list[dict[str, Any]], cycles: F64, estimates: F64) -> str:
    """What the schedules estimated fastest lose to the fastest, of products with several rows."""
    numbers = products(rows)
    groups = [np.flatnonzero(numbers == i) for i in range(numbers.max() + 1)]
    lost = [
        cycles[at[int(np.argmin(estimates[at]))]] / cycles[at].min() - 1
        for at in groups
        if len(at) > 2
    ]
    if not lost:
        return ""
    return (
        f"; of {len(lost)} products the choice loses {np.mean(lost):.1%}, {max(lost):.1%} at most"
    )


def arguments(product: ScheduledProduct, gemm: Gemm, chip: Chip) -> tuple[Any, ...]:
    """What the engine's closed form takes before the chip."""
    if product.schedule.engine == Engine.DENSE:
        return product.dense
    return product.dual, counted(product, *gemm.operands(), chip)


def write(engine: str, fitted: Any) -> None:
    """Put the numbers into the source of the closed form, to three digits."""
    path = Path(FORMS[engine].__file__)
    text = path.read_text()
    for name, value in asdict(fitted).items():
        text, found = re.subn(
            rf"^(    {name}: float = ).*$", rf"\g<1>{value:.3g}", text, flags=re.MULTILINE
        )
        assert found == 1, name
    path.write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", help="JSON of estimate_accuracy.py")
    parser.add_argument("--write", action="store_true", help="put the numbers into the passes")
    parser.add_argument("--engines", default="dual", help=f"of {', '.join(FORMS)} (default: dual)")
    parser.add_argument(
        "--chosen", action="store_true", help="leave out rows whose schedules were drawn"
    )
    args = parser.parse_args()
    rows = [row for file in args.rows for row in json.loads(Path(file).read_text())["rows"]]
    if args.chosen:
        rows = [row for row in rows if row["chosen"]]
    for engine in args.engines.split(","):
        of_engine = [row for row in rows if row["engine"] == engine]
        if not of_engine:
            continue
        fitted = fit_engine(engine, of_engine)
        for name, value in asdict(fitted).items():
            print(f"    {name}: float = {value:.3g}")
        if args.write:
            write(engine, fitted)


if __name__ == "__main__":
    main()
