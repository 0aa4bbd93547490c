"""Files read whole and written whole.

In: a path, bytes. Out: the bytes, or a file that is either the old or the new one, never half of
it; an operating system's refusal is a one-line `DstcError`.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from .errors import DstcError


def read_bytes(path: str | Path) -> bytes:
    """Contents of `path`; `DstcError` if it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DstcError(f"{path}: cannot be read: {error.strerror or error}") from None


def write_atomic(path: str | Path, data: bytes) -> None:
    """Writes `data` to a temporary file beside `path` and renames it; `DstcError` on failure.

    Missing parent folders are made. A path that exists and is no regular file (a pipe) is
    written directly.
    """
    try:
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            target.write_bytes(data)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:80]}.", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(name, 0o666 & ~umask)
            os.replace(name, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
    except OSError as error:
        raise DstcError(f"{path}: cannot be written: {error.strerror or error}") from None
