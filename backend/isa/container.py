"""The binary container of a program, version 1 (docs/isa.md, 'Program container').

In: a `Program`. Out: bytes, and back; every byte is covered by a check, so that a truncated or
altered file raises a one-line `DstcError` and nothing else.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, TypeVar, cast

import numpy as np

from .errors import DstcError
from .layout import round_up
from .program import Buffer, HostStep, Kernel, Launch, Plan, Port, Program

MAGIC = b"DSTC"
VERSION = 1
HEADER = struct.Struct("<4sIIIQII")
"""Magic, version, sections, bytes of names, bytes of the file, crc32 of table and names, zero."""
SECTION = struct.Struct("<IIIIQQ")
"""Kind, offset and size of the name in the names, crc32 of the contents, their offset and size."""
META, TEXT, DATA = 1, 2, 3
SECTION_KINDS = {META: "meta", TEXT: "text", DATA: "data"}
"""meta: JSON, once and first; text: a kernel's code, little-endian u64 pairs; data: raw bytes."""
SECTION_ALIGN = 64
"""Each section starts at a multiple of this many bytes; the gaps are zero."""

T = TypeVar("T")
Section = tuple[int, str, bytes]
"""Kind, name, contents."""


def pack(program: Program) -> bytes:
    """The container's bytes: deterministic."""
    kernels = [_kernel_meta(kernel) for kernel in program.kernels.values()]
    meta = {"kernels": kernels, "plan": None if program.plan is None else _plan_meta(program.plan)}
    text = json.dumps(meta, sort_keys=True, separators=(",", ":"))
    sections: list[Section] = [(META, "", text.encode())]
    sections += [(TEXT, k.name, k.code.astype("<u8").tobytes()) for k in program.kernels.values()]
    sections += [(DATA, name, bytes(blob)) for name, blob in program.data.items()]
    return pack_sections(sections)


def pack_sections(sections: Sequence[Section]) -> bytes:
    """A container of the given sections, in order."""
    names = b"".join(name.encode(errors="surrogatepass") for _, name, _ in sections)
    offset = HEADER.size + len(sections) * SECTION.size + len(names)
    table, body, at = bytearray(), bytearray(), 0
    for kind, name, contents in sections:
        size = len(name.encode(errors="surrogatepass"))
        start = round_up(offset + len(body), SECTION_ALIGN)
        body += bytes(start - offset - len(body)) + contents
        table += SECTION.pack(kind, at, size, zlib.crc32(contents), start, len(contents))
        at += size
    head = bytes(table) + names
    header = HEADER.pack(
        MAGIC, VERSION, len(sections), len(names), offset + len(body), zlib.crc32(head), 0
    )
    return header + head + bytes(body)


def unpack(data: bytes, name: str) -> Program:
    """The program in `data`, its kernels and plan not yet validated; `DstcError` names `name`."""
    try:
        return _unpack(data)
    except DstcError as error:
        raise DstcError(f"{name}: {error}") from None


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise DstcError(what)


def _unpack(data: bytes) -> Program:
    _require(
        data[:4] == MAGIC, "not a dstc program (no DSTC at its start); assemble or compile one"
    )
    _require(len(data) >= HEADER.size, "the header is truncated")
    _, version, count, names_size, size, crc, zero = HEADER.unpack_from(data)
    _require(version == VERSION, f"container version {version}; this dstc reads {VERSION}")
    _require(size == len(data), f"{len(data)} bytes, but the header says {size}; copy it again")
    names_at = HEADER.size + count * SECTION.size
    end = names_at + names_size
    _require(end <= size and zero == 0, "the section table does not fit the file")
    _require(zlib.crc32(data[HEADER.size : end]) == crc, "the section table is damaged (crc32)")
    found: dict[int, dict[str, bytes]] = {kind: {} for kind in SECTION_KINDS}
    name_at = 0
    for i in range(count):
        kind, at, length, crc, start, bytes_ = SECTION.unpack_from(
            data, HEADER.size + i * SECTION.size
        )
        _require(kind in SECTION_KINDS, f"section {i} is of unknown kind {kind}")
        _require(at == name_at and at + length <= names_size, f"section {i}: its name is misplaced")
        try:
            name = data[names_at + at : names_at + at + length].decode(errors="surrogatepass")
        except UnicodeDecodeError:
            raise DstcError(f"section {i}: its name is not UTF-8") from None
        what = f"section {SECTION_KINDS[kind]} {name!r}"
        _require(start == round_up(end, SECTION_ALIGN) and start + bytes_ <= size,
                 f"{what} is misplaced")  # fmt: skip
        _require(not any(data[end:start]), f"the gap before {what} is not zero")
        contents = data[start : start + bytes_]
        _require(zlib.crc32(contents) == crc, f"{what} is damaged (crc32)")
        _require(name not in found[kind], f"there are two of {what}")
        found[kind][name] = contents
        name_at, end = at + length, start + bytes_
    _require(end == size and name_at == names_size, "something follows the last section")
    _require(list(found[META]) == [""], "there is no meta section")
    return _program(found)


def _program(found: dict[int, dict[str, bytes]]) -> Program:
    try:
        meta = json.loads(found[META][""])
    except (ValueError, RecursionError) as error:
        raise DstcError(f"the meta section is not JSON: {error}") from None
    top = _Fields(meta, "meta")
    kernels: dict[str, Kernel] = {}
    for entry in top.items("kernels", dict):
        kernel = _kernel(_Fields(entry, "kernel"), found[TEXT])
        _require(kernel.name not in kernels, f"there are two kernels {kernel.name!r}")
        kernels[kernel.name] = kernel
    _require(list(kernels) == list(found[TEXT]), "meta and text sections name different kernels")
    plan = top.get("plan", dict, type(None))
    return Program(kernels, None if plan is None else _plan(_Fields(plan, "plan")), found[DATA])


class _Fields:
    """A JSON object read with its types checked; `DstcError` names the field."""

    def __init__(self, value: object, where: str) -> None:
        _require(isinstance(value, dict), f"{where} is not an object")
        self.value = cast(dict[str, object], value)
        self.where = where

    def get(self, key: str, *kinds: type[Any]) -> Any:
        value = self.value.get(key)
        fits = isinstance(value, kinds) and not isinstance(value, bool)
        _require(fits, f"{self.where}: '{key}' is missing or of the wrong type")
        return value

    def items(self, key: str, *kinds: type[Any]) -> list[Any]:
        values: list[Any] = self.get(key, list)
        fits = all(isinstance(v, kinds) and not isinstance(v, bool) for v in values)
        _require(fits, f"{self.where}: '{key}' holds something of the wrong type")
        return values


# Sources of a kernel repeat: runs of (count, index into the distinct strings).


def _kernel_meta(kernel: Kernel) -> dict[str, object]:
    index: dict[str, int] = {}
    runs: list[list[int]] = []
    for source in kernel.sources:
        which = index.setdefault(source, len(index))
        if runs and runs[-1][1] == which:
            runs[-1][0] += 1
        else:
            runs.append([1, which])
    return {
        "name": kernel.name,
        "registers": kernel.registers,
        "warps": kernel.warps,
        "shared_bytes": kernel.shared_bytes,
        "acc_tiles": kernel.acc_tiles,
        "params": list(kernel.params),
        "sources": list(index),
        "source_runs": runs,
    }


def _kernel(meta: _Fields, texts: dict[str, bytes]) -> Kernel:
    name = meta.get("name", str)
    where = f"kernel {name!r}"
    text = texts.get(name)
    if text is None or len(text) % 16:
        raise DstcError(f"{where}: its text section is missing or no multiple of 16 bytes")
    strings, sources = meta.items("sources", str), list[str]()
    for run in meta.items("source_runs", list):
        fits = len(run) == 2 and all(type(v) is int for v in run)
        count, which = run if fits else (0, 0)
        _require(0 < count <= len(text) // 16 - len(sources) and 0 <= which < len(strings),
                 f"{where}: its sources do not fit its code")  # fmt: skip
        sources += [strings[which]] * count
    code = np.frombuffer(text, "<u8").astype(np.uint64).reshape(-1, 2)
    return Kernel(
        name,
        code,
        meta.get("registers", int),
        meta.get("warps", int),
        meta.get("shared_bytes", int),
        meta.get("acc_tiles", int),
        tuple(meta.items("params", str)),
        tuple(sources),
    )


# The plan's dataclasses are written field by field; these tables say how each field is read.

_Reader = Callable[[_Fields, str], Any]


def _one(*kinds: type[Any]) -> _Reader:
    return lambda meta, key: meta.get(key, *kinds)


def _many(*kinds: type[Any]) -> _Reader:
    return lambda meta, key: tuple(meta.items(key, *kinds))


_READERS: dict[type[Any], dict[str, _Reader]] = {
    Buffer: {"name": _one(str), "kind": _one(str), "shape": _many(int), "dtype": _one(str),
             "bytes": _one(int), "data": _one(str, type(None)), "bitmap": _one(dict, type(None)),
             "nm": _one(dict, type(None)), "image": _one(dict, type(None)),
             "offset": _one(int, type(None))},
    Launch: {"kernel": _one(str), "name": _one(str), "op": _one(str), "engine": _one(str),
             "source": _many(str), "grid": _many(int), "args": _many(str, int),
             "macs_dense": _one(int), "a_operand": _one(str, type(None)),
             "b_operand": _one(str, type(None)), "transposed": _one(str), "batch": _one(int),
             "a_shape": _many(int), "b_shape": _many(int), "window": _many(int)},
    HostStep: {"op": _one(str), "name": _one(str), "source": _many(str), "inputs": _many(str),
               "outputs": _many(str), "attributes": _one(dict)},
    Port: {"name": _one(str), "shape": _many(int), "dtype": _one(str), "buffer": _one(str)},
}  # fmt: skip


def _write(value: Any) -> dict[str, object]:
    return {f.name: getattr(value, f.name) for f in fields(value)}


def _read(kind: type[T], value: object, where: str) -> T:
    meta = _Fields(value, where)
    return kind(**{key: reader(meta, key) for key, reader in _READERS[kind].items()})


def _plan_meta(plan: Plan) -> dict[str, object]:
    def listed(values: Sequence[object]) -> list[dict[str, object]]:
        return [_write(value) for value in values]

    return {
        "model": plan.model,
        "machine": plan.machine,
        "metadata": plan.metadata,
        "arena": plan.arena,
        "buffers": listed(plan.buffers),
        "inputs": listed(plan.inputs),
        "outputs": listed(plan.outputs),
        "steps": [
            {"step": "launch" if isinstance(step, Launch) else "host", **_write(step)}
            for step in plan.steps
        ],
    }


def _plan(meta: _Fields) -> Plan:
    steps: list[Launch | HostStep] = []
    for entry in meta.items("steps", dict):
        kind = _Fields(entry, "step").get("step", str)
        _require(kind in ("launch", "host"), f"step kind {kind!r} is unknown")
        steps.append(_read(Launch if kind == "launch" else HostStep, entry, "step"))
    return Plan(
        meta.get("model", str),
        meta.get("machine", str),
        [_read(Buffer, entry, "buffer") for entry in meta.items("buffers", dict)],
        steps,
        [_read(Port, entry, "input") for entry in meta.items("inputs", dict)],
        [_read(Port, entry, "output") for entry in meta.items("outputs", dict)],
        meta.get("metadata", dict),
        meta.get("arena", int),
    )
