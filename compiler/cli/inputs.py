"""Model inputs from the command line.

In: `--input` values: NAME=file.npy, an .npz, `random[:seed]`. Out: arrays by input name.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ...backend.isa.errors import DstcError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...backend.isa.program import Port

RANDOM = "random"


def read_array(path: str) -> NDArray[Any]:
    """One array of an .npy file; `DstcError` if it is none."""
    array = _load(path)
    if not isinstance(array, np.ndarray):
        raise DstcError(f"{path}: holds several arrays; give an .npy file")
    return array


def read_inputs(given: Sequence[str]) -> tuple[dict[str, NDArray[Any]], int | None]:
    """Arrays by key (a lone array's key is empty), and the seed if `random` is asked for."""
    arrays: dict[str, NDArray[Any]] = {}
    seed: int | None = None
    for item in given:
        word, _, number = item.partition(":")
        if word == RANDOM:
            if number and not number.isdigit():
                raise DstcError(f"--input {item}: the seed is a number, as in random:7")
            seed = int(number or 0)
            continue
        name, equals, path = item.partition("=")
        loaded = _load(path if equals else item)
        if isinstance(loaded, np.ndarray):
            arrays[name if equals else ""] = loaded
        elif equals:
            raise DstcError(f"--input {item}: {path} holds several arrays; give it without a name")
        else:
            arrays.update(loaded)
    return arrays, seed


def check_names(given: Sequence[str], names: Sequence[str], labels: str | None) -> None:
    """Refuse an `--input NAME=...` whose NAME is no input of the model (and not the labels)."""
    for item in given:
        name, equals, _ = item.partition("=")
        if equals and name not in names and name != labels:
            raise DstcError(f"--input {item}: the model's inputs are {', '.join(names) or 'none'}")


def for_names(
    arrays: Mapping[str, NDArray[Any]], names: Sequence[str], extra: Sequence[str] = ()
) -> dict[str, NDArray[Any]]:
    """The arrays of the inputs `names`; a lone array goes to a lone input.

    Arrays that are neither inputs nor in `extra` are refused, unless all inputs are there: an .npz
    may hold more than a model takes.
    """
    lone = arrays.get("")
    if lone is not None:
        if len(names) != 1:
            raise DstcError(
                f"the model has {len(names)} inputs ({', '.join(names)}): give each as "
                "NAME=file.npy"
            )
        return {names[0]: lone}
    found = {n: arrays[n] for n in names if n in arrays}
    if len(found) == len(names):
        return found
    known = [k for k in arrays if k not in extra]
    if len(names) == 1 and len(known) == 1:
        return {names[0]: arrays[known[0]]}
    missing = next(n for n in names if n not in arrays)
    have = ", ".join(arrays) or "nothing"
    raise DstcError(
        f"input {missing!r} is missing (given: {have}); give it as --input {missing}=file.npy"
    )


def random_inputs(
    ports: Sequence[Port], seed: int, ranges: Mapping[str, int] | None = None
) -> dict[str, NDArray[Any]]:
    """Inputs of the ports' dtypes, the same for the same seed.

    Floats are normally distributed; integers 0 to the number in `ranges`, exclusive, or 0 and 1.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, NDArray[Any]] = {}
    for p in ports:
        if np.dtype(p.dtype).kind in "iub":
            values: NDArray[Any] = rng.integers(0, (ranges or {}).get(p.name, 2), p.shape)
        else:
            values = rng.standard_normal(p.shape, dtype=np.float32)
        found[p.name] = values.astype(np.dtype(p.dtype))
    return found


def _load(path: str) -> NDArray[Any] | dict[str, NDArray[Any]]:
    if not Path(path).exists():
        raise DstcError(f"{path}: there is no such file")
    try:
        loaded: Any = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return cast("NDArray[Any]", loaded)
        with loaded:
            return {key: loaded[key] for key in loaded.files}
    except OSError as e:
        raise DstcError(f"{path}: cannot be read: {e.strerror or e}") from e
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as e:
        raise DstcError(
            f"{path}: no .npy or .npz file of numbers, or a damaged one; write it with numpy.save"
        ) from e
