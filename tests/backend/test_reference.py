"""docs/isa.md and `dstc isa`, `dstc asm`, `dstc disasm`."""

import json

import pytest
from dstc.backend.isa.reference import document, facts
from dstc.backend.isa.table import INSTRUCTIONS
from dstc.compiler.cli.main import main


def test_the_reference_is_up_to_date(root):
    assert (root / "docs/isa.md").read_text(encoding="utf-8") == document(), (
        "run `python -m dstc.backend.isa.reference > docs/isa.md`"
    )


def test_the_reference_has_every_instruction():
    text = document()
    for mnemonic in INSTRUCTIONS:
        assert f"\n#### {mnemonic}\n" in text
    assert "TODO" not in text


def test_facts_are_json():
    rows = [facts(row) for row in INSTRUCTIONS.values()]
    assert json.loads(json.dumps(rows)) == rows


def test_isa_lists_and_details(capsys):
    assert main(["isa"]) == 0
    listing = capsys.readouterr().out
    assert all(mnemonic in listing for mnemonic in INSTRUCTIONS)
    assert main(["isa", "spwmma"]) == 0
    out = capsys.readouterr().out
    assert (
        "SPWMMA.323216.half_a.half_b[.values_a][.values_b] acc, a, b, c, e" in out
        and "dual-side extension" in out
    )
    assert main(["isa", "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == 1 and len(found["instructions"]) == len(INSTRUCTIONS)
    assert main(["isa", "LDGG"]) == 2
    assert "did you mean LDG?" in capsys.readouterr().err


def test_asm_and_disasm_are_inverse(tmp_path, capsys):
    text = tmp_path / "f.s"
    text.write_text(".kernel k\nl: @P0 BRA l\nEXIT\n.end\n")
    first, second, again = tmp_path / "1.bin", tmp_path / "2.bin", tmp_path / "again.s"
    assert main(["asm", str(text), "-o", str(first)]) == 0
    assert main(["disasm", str(first), "-o", str(again)]) == 0
    assert main(["asm", str(again), "-o", str(second)]) == 0
    assert first.read_bytes() == second.read_bytes()
    assert main(["disasm", str(first)]) == 0
    assert capsys.readouterr().out == again.read_text()


@pytest.mark.parametrize(
    ("command", "contents", "message"),
    [
        ("asm", "EXIT", "f:1:1: this is outside a kernel"),
        ("disasm", "junk", "f: not a dstc program"),
    ],
)
def test_errors_are_one_line_and_leave_no_file(tmp_path, capsys, command, contents, message):
    (tmp_path / "f").write_text(contents)
    assert main([command, str(tmp_path / "f"), "-o", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("dstc: error: ") and message in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()
