"""Files read whole and written whole.

In: a path; bytes, arrays, or a block that writes. Out: the bytes, or a file that is either the old
or the new one, never half of it; an operating system's refusal is a one-line `DstcError`.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import DstcError

if TYPE_CHECKING:
    from numpy.typing import NDArray

PathLike = str | os.PathLike[str]


def read_bytes(path: PathLike) -> bytes:
    """Contents of `path`; `DstcError` if it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DstcError(f"{os.fspath(path)}: cannot be read: {error.strerror or error}") from None


@contextmanager
def atomic_path(path: PathLike) -> Generator[Path, None, None]:
    """A temporary file beside `path`, which replaces `path` when the block ends without error.

    Missing parent folders are made, a symbolic link stays one, a file that is there keeps its
    mode. A `path` that exists and is no regular file (a device, a pipe) is written directly.
    `DstcError` if the place cannot be written.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise DstcError(f"{os.fspath(path)}: is a directory; give the name of a file")
    try:
        if target.exists() and not target.is_file():
            yield target
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:80]}.", dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask())
            temporary.replace(target)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    except BrokenPipeError:  # the reader of a pipe has seen enough
        raise
    except OSError as error:
        raise DstcError(
            f"{os.fspath(path)}: cannot be written ({error.strerror or error}); give another place"
        ) from error


def write_atomic(path: PathLike, data: bytes) -> None:
    """Writes `data` to `path` by way of `atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_npz(path: PathLike, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes an .npz file by way of `atomic_path`; the same arrays give the same bytes.

    Member by member, since `numpy.savez` refuses an array named `file`.
    """
    import numpy as np

    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
