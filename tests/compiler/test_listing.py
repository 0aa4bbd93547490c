"""`dstc passes` and `dstc pipelines`."""

import json
from dataclasses import dataclass

import pytest
from dstc.compiler import pipelines
from dstc.compiler.cli.main import main
from dstc.passes import registry
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass


@dataclass(frozen=True)
class ExamplePass(ModulePass):
    """Do an example
    of a thing.

    And more about it.
    """

    name = "example-pass"
    tile_size: int = 32
    order: str | None = None

    def apply(self, ctx: Context, op: ModuleOp) -> None: ...


@pytest.fixture(autouse=True)
def tables(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"example-pass": lambda: ExamplePass}
    monkeypatch.setattr(registry, "get_all_passes", lambda: table)
    monkeypatch.setattr(pipelines, "PIPELINES", {"one": ["example-pass{{order={machine}}}", "cse"]})


def output(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main(words) == code
    captured = capsys.readouterr()
    return captured.err if code else captured.out


def test_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert output(capsys, "passes") == "example-pass  Do an example of a thing.\n"


def test_one_pass(capsys: pytest.CaptureFixture[str]) -> None:
    out = output(capsys, "passes", "example-pass")
    assert out.startswith("example-pass\n\nDo an example\nof a thing.\n\nAnd more")
    assert [line.split() for line in out.splitlines()[-2:]] == [
        ["tile-size", "int", "32"],
        ["order", "str|None", "none"],
    ]


def test_passes_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    facts = json.loads(output(capsys, "passes", "--json", "-"))
    assert facts["schema"] == 1
    (one,) = facts["passes"]
    assert one["name"] == "example-pass" and one["summary"] == "Do an example of a thing."
    assert one["options"][0] == {"name": "tile-size", "type": "int", "default": "32"}


def test_pipelines(capsys: pytest.CaptureFixture[str]) -> None:
    assert output(capsys, "pipelines") == "one\n  example-pass{order=dstc}\n  cse\n"
    one = output(capsys, "pipelines", "one", "--machine", "v100")
    assert one == "example-pass{order=v100},cse\n"
    assert json.loads(output(capsys, "pipelines", "--json", "-"))["pipelines"] == [
        {"name": "one", "passes": ["example-pass{order=dstc}", "cse"]}
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("passes", "exampl-pass"), "exampl-pass: no such pass; did you mean example-pass?"),
        (("passes", "zzz"), "zzz: no such pass; see `dstc passes`"),
        (("pipelines", "on"), "on: no such pipeline; did you mean one?"),
    ],
)
def test_unknown_names(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert output(capsys, *words, code=2) == f"dstc: error: {message}\n"
