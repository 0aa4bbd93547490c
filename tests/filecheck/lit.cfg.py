"""lit configuration: `lit tests/filecheck` runs these tests by hand."""

import os
import sys
import tempfile

import lit.formats

config.name = "dstc"  # noqa: F821  lit provides `config`
config.test_format = lit.formats.ShTest()  # noqa: F821
config.suffixes = [".mlir"]  # noqa: F821
config.test_source_root = os.path.dirname(__file__)  # noqa: F821
config.test_exec_root = os.environ.get("DSTC_LIT_OUT", config.test_source_root)  # noqa: F821
config.environment["PATH"] = os.pathsep.join(  # noqa: F821
    [os.path.dirname(sys.executable), os.environ.get("PATH", "")]
)
config.environment["TMPDIR"] = os.environ.get("DSTC_LIT_OUT", tempfile.gettempdir())  # noqa: F821
