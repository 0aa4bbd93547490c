"""The FileCheck tests, run by lit, one pytest test a folder so that they run in parallel."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FILECHECK = Path(__file__).parent / "filecheck"
FOLDERS = sorted({f.parent.relative_to(FILECHECK) for f in FILECHECK.rglob("*.mlir")})


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_filecheck(folder: Path, tmp_path: Path) -> None:
    files = sorted(map(str, (FILECHECK / folder).glob("*.mlir")))
    lit = Path(sys.executable).with_name("lit")
    done = subprocess.run(
        [lit, "--verbose", "--workers=1", "--no-progress-bar", "--order=lexical", *files],
        env={**os.environ, "DSTC_LIT_OUT": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
