"""Programs: the container's round trips and refusals, the checks of kernels and plans."""

import copy
import json
import os
import struct
import zlib
from dataclasses import fields, replace

import numpy as np
import pytest
from dstc.backend.isa import container
from dstc.backend.isa.assembler import assemble
from dstc.backend.isa.disassembler import disassemble
from dstc.backend.isa.errors import DstcError
from dstc.backend.isa.layout import BitmapLayout
from dstc.backend.isa.program import Buffer, HostStep, Kernel, Launch, Plan, Port, Program
from hypothesis import given, settings
from hypothesis import strategies as st

from .isa_strategies import kernels


def example() -> Program:
    text = """.kernel k
.param x
.param n
.source "matmul"
  MOV R0, c[x] ;
  STG.32 [R0], RZ ;
.source "relu"
  EXIT ;
.end"""
    plan = Plan(
        "m.onnx",
        "dstc",
        [
            Buffer("x", "input", (3, 40), "f16", 32 * 64 * 2),
            Buffer("w", "constant", (40, 8), "bitmap", 4096, "w0",
                   {"vectors": 8, "depth": 40, "side": "b"}),
            Buffer("y", "output", (3,), "f32", 128),
        ],
        [
            Launch("k", "l0", "matmul", "dual", ("n0", "n1"), (1, 2, 1), ("x", 7), 960, "x", "w"),
            HostStep("Softmax", "h0", ("n2",), ("y",), ("y",), {"axis": -1}),
        ],
        [Port("x", (3, 40), "f16", "x")],
        [Port("y", (3,), "f32", "y")],
        {"batch": 3},
    )  # fmt: skip
    return Program(assemble(text).kernels, plan, {"w0": bytes(range(256)) * 2, "é": b""})


def refused(data: bytes, name: str = "f.bin") -> str:
    with pytest.raises(DstcError, match=r"^[^\n]*$") as error:
        Program.from_bytes(data, name)
    assert str(error.value).startswith(f"{name}: ")
    return str(error.value)


def test_round_trip_and_determinism():
    program = example()
    data = program.to_bytes()
    assert Program.from_bytes(data) == program
    assert Program.from_bytes(data).to_bytes() == data == example().to_bytes()


@settings(max_examples=100)
@given(st.lists(kernels(), max_size=3), st.dictionaries(st.text(), st.binary(), max_size=3))
def test_round_trip_of_random_programs(found, data):
    named = [replace(kernel, name=f"k{i}") for i, kernel in enumerate(found)]
    program = Program({kernel.name: kernel for kernel in named}, None, data)
    assert Program.from_bytes(program.to_bytes()) == program


def test_save_and_load(tmp_path):
    path = tmp_path / "new" / "f.bin"
    example().save(path)
    example().save(path)
    assert Program.load(path) == example()
    assert os.listdir(path.parent) == ["f.bin"]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DstcError, match=r"f\.bin: .* bytes, but the header says"):
        Program.load(path)
    with pytest.raises(DstcError, match="cannot be read"):
        Program.load(tmp_path)
    with pytest.raises(DstcError, match="cannot be written"):
        example().save("/proc/none/f.bin")


def test_every_flipped_bit_and_every_truncation_is_found():
    data = example().to_bytes()
    for at in range(len(data)):
        refused(data[:at])
        refused(data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :])
    refused(data + b"\0")


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data):
    refused(data)
    refused(container.MAGIC + data)


def test_a_kernel_of_random_words_is_sound_or_refused():
    rng = np.random.default_rng(0)
    for words in rng.integers(0, 2**64, (200, 3, 2), np.uint64, endpoint=False):
        with pytest.raises(DstcError, match="kernel k: instruction 0: "):
            Kernel("k", words, 255).validate()


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value, path=()):
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def sections(program: Program) -> list[container.Section]:
    """The sections of a program, read without the reader."""
    data = program.to_bytes()
    count, names_size = struct.unpack_from("<II", data, 8)
    names = data[32 + 32 * count :][:names_size]
    result = []
    for i in range(count):
        kind, at, size, _, start, length = struct.unpack_from("<IIIIQQ", data, 32 + 32 * i)
        result.append((kind, names[at : at + size].decode(), data[start : start + length]))
    return result


@settings(max_examples=500)
@given(st.data())
def test_altered_meta_is_read_or_refused(data):
    """With all checksums right: the reader does not trust what the meta section says."""
    (kind, name, contents), *others = sections(example())
    meta = json.loads(contents)
    path = data.draw(st.sampled_from(list(places(meta))))
    value = data.draw(JSON)
    if path:
        inner = meta
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
    else:
        meta = value
    image = container.pack_sections([(kind, name, json.dumps(meta).encode()), *others])
    try:
        Program.from_bytes(image, "f.bin")
    except DstcError as error:
        assert str(error).startswith("f.bin: ")
        assert len(str(error).splitlines()) == 1


def repacked(program: Program, change) -> bytes:
    altered = sections(program)
    return container.pack_sections(change(altered) or altered)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s[1:], "there is no meta section"),
        (lambda s: [s[0], *s[2:]], "text section is missing"),
        (lambda s: [*s, s[1]], "there are two of"),
        (lambda s: [*s, (9, "x", b"")], "unknown kind 9"),
        (lambda s: [*s, (container.TEXT, "x", b"")], "name different kernels"),
        (lambda s: [(1, "", b"{"), *s[1:]], "is not JSON"),
        (lambda s: [(1, "", b"[" * 100_000), *s[1:]], "is not JSON"),
        (lambda s: [(1, "", b"[]"), *s[1:]], "meta is not an object"),
        (lambda s: [s[0], (2, "k", s[1][2][:8]), *s[2:]], "no multiple of 16 bytes"),
        (lambda s: [s[0], (2, "k", s[1][2][:32]), *s[2:]], "its sources do not fit its code"),
    ],
)
def test_wrong_sections_are_named(change, message):
    assert message in refused(repacked(example(), change))


def test_another_version_is_named():
    data = bytearray(example().to_bytes())
    data[4:8] = struct.pack("<I", 7)
    assert "container version 7; this dstc reads 1" in refused(bytes(data))
    assert "not a dstc program" in refused(b"ELF")
    assert "the header is truncated" in refused(b"DSTC\1")


def test_the_table_is_checked_even_with_its_checksum():
    data = example().to_bytes()
    count, names = struct.unpack_from("<II", data, 8)
    end = 32 + 32 * count + names
    for at in range(32, end):
        for value in (0, 255):
            altered = bytearray(data)
            altered[at] = value
            altered[24:28] = struct.pack("<I", zlib.crc32(altered[32:end]))
            try:
                Program.from_bytes(bytes(altered), "f.bin")
            except DstcError as error:
                assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "a b"}, "the name must match"),
        ({"warps": 0}, "warps must be 1 to 32, not 0"),
        ({"warps": 33}, "warps must be 1 to 32, not 33"),
        ({"registers": 256}, "registers must be 0 to 255"),
        ({"registers": 0}, "instruction 0: register R0 does not exist; the kernel has 0"),
        ({"acc_tiles": -1}, "acc tiles must be 0 to 32"),
        ({"params": ()}, "instruction 0: parameter byte 0 does not exist"),
        ({"params": ("a", "a")}, "two parameters share a name"),
        ({"params": ("a]",)}, "parameter 'a]' must match"),
        ({"sources": ("a",)}, "1 sources for 3 instructions"),
        ({"code": np.zeros((0, 2), np.uint64), "sources": ()}, "there is no instruction"),
        ({"code": np.zeros((3, 2), np.uint64)}, "instruction 0: opcode 0x00 is undefined"),
    ],
)
def test_an_unsound_kernel_is_named(change, message):
    kernel = replace(example().kernels["k"], **change)
    with pytest.raises(DstcError, match=r"^kernel [^\n]*$") as error:
        kernel.validate()
    assert message in str(error.value)


def altered_plan(path: str, value: object) -> Program:
    program = copy.deepcopy(example())
    *keys, last = path.split(".")
    target = program.plan
    for key in keys:
        target = target[int(key)] if key.isdigit() else getattr(target, key)
    setattr(target, last, value)
    return program


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("buffers.0.name", "y", "two buffers share a name"),
        ("buffers.0.kind", "stack", "buffer 'x': kind 'stack' is unknown"),
        ("buffers.0.dtype", "f8", "dtype 'f8' is unknown"),
        ("buffers.0.dtype", "bitmap", "a bitmap buffer needs `bitmap`"),
        ("buffers.0.bytes", 4094, "4094 bytes for a layout of 4096"),
        ("buffers.0.shape", (3, -1), "its shape is negative"),
        ("buffers.1.dtype", "f16", "only a bitmap buffer has `bitmap`"),
        ("buffers.1.bitmap", {"vectors": 8, "depth": 0, "side": "b"}, "must be positive"),
        ("buffers.1.bitmap", {"vectors": 8, "depth": 1, "side": "c"}, "side must be 'a' or 'b'"),
        ("buffers.1.data", "v", "there is no data 'v'"),
        ("buffers.1.bytes", BitmapLayout(8, 40).values_offset, "512 bytes of data for 320"),
        ("inputs.0.buffer", "q", "port 'x': there is no buffer 'q'"),
        ("steps.0.kernel", "q", "step 'l0': there is no kernel 'q'"),
        ("steps.0.args", ("x",), "1 arguments for the 2 parameters of 'k'"),
        ("steps.0.args", ("q", 1), "there is no buffer 'q'"),
        ("steps.0.args", ("x", 2**32), "does not fit 32 bits"),
        ("steps.0.grid", (1, 0, 1), "must be three positive sizes"),
        ("steps.0.a_operand", "q", "there is no buffer 'q'"),
        ("steps.1.inputs", ("q",), "step 'h0': there is no buffer 'q'"),
    ],
)
def test_a_plan_that_does_not_fit_is_named(path, value, message):
    program = altered_plan(path, value)
    with pytest.raises(DstcError, match=r"^[^\n]*$") as error:
        program.validate()
    assert message in str(error.value)


def test_disassembly_says_what_it_leaves_out():
    text = disassemble(example())
    assert text.startswith("// Not shown: a plan of 2 steps, 2 blocks of data.\n")
    assert assemble(text).kernels == example().kernels


def test_a_container_holds_every_field() -> None:
    """What a plan's dataclasses have, a program that was saved has as well."""
    for kind, readers in container._READERS.items():
        assert set(readers) == {field.name for field in fields(kind)}, kind.__name__
