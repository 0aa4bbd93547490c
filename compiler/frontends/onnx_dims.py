"""Static shapes for an ONNX model: dynamic dimensions bound to numbers.

In: a ModelProto, sizes by dimension name, shapes by input name. Out: the proto with static
inputs, and a note for each size that was assumed; `DstcError` for what remains open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import ModelProto, ValueInfoProto

from ...backend.isa.errors import DstcError


def bind_dims(
    model: ModelProto,
    file: str,
    dims: Mapping[str, int],
    input_shapes: Mapping[str, Sequence[int]],
) -> list[str]:
    """Make all inputs of `model` static, in place; returns notes on what was assumed.

    A leading dimension (the batch) that nothing binds becomes 1, with a note.
    """
    constants = {t.name for t in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in constants]
    symbols = _symbols(inputs)
    for name, size in dims.items():
        if name not in symbols:
            known = ", ".join(symbols) or "none"
            raise DstcError(f"{file}: no dimension is named {name!r}; dynamic dimensions: {known}")
        if size < 1:
            raise DstcError(f"{file}: dimension {name!r} must be 1 or more, not {size}")
    for name in input_shapes:
        if name not in {i.name for i in inputs}:
            known = ", ".join(i.name for i in inputs)
            raise DstcError(f"{file}: no input is named {name!r}; inputs: {known}")
    bound = dict(dims)
    for value in inputs:
        if value.name in input_shapes:
            _bind_shape(value, tuple(input_shapes[value.name]), file, bound)
    notes: list[str] = []
    for value in inputs:
        _bind_rest(value, file, bound, notes)
    del model.graph.value_info[:]
    for value in model.graph.output:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in bound:
                dim.dim_value = bound[dim.dim_param]
            elif dim.dim_param:
                dim.ClearField("dim_param")
    return notes


def _symbols(inputs: Sequence[ValueInfoProto]) -> list[str]:
    names = (d.dim_param for i in inputs for d in i.type.tensor_type.shape.dim if d.dim_param)
    return list(dict.fromkeys(names))


def _bind_shape(
    value: ValueInfoProto, shape: tuple[int, ...], file: str, bound: dict[str, int]
) -> None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        for _ in shape:
            tensor.shape.dim.add()
    where = f"{file}: input {value.name!r}"
    if len(shape) != len(tensor.shape.dim):
        raise DstcError(
            f"{where} has {len(tensor.shape.dim)} dimensions, but the shape given has {len(shape)}"
        )
    for i, (dim, size) in enumerate(zip(tensor.shape.dim, shape, strict=True)):
        want = dim.dim_value if dim.HasField("dim_value") else bound.get(dim.dim_param, size)
        if want != size or size < 1:
            raise DstcError(f"{where}: dimension {i} must be {max(want, 1)}, not {size}")
        if dim.dim_param:
            bound[dim.dim_param] = size
        dim.dim_value = size


def _bind_rest(value: ValueInfoProto, file: str, bound: dict[str, int], notes: list[str]) -> None:
    tensor = value.type.tensor_type
    where = f"{file}: input {value.name!r}"
    if not tensor.HasField("shape"):
        raise DstcError(f"{where} has no shape in the model; give one")
    for i, dim in enumerate(tensor.shape.dim):
        if dim.HasField("dim_value"):
            if dim.dim_value < 1:
                raise DstcError(f"{where}: dimension {i} is {dim.dim_value}; it must be 1 or more")
            continue
        name = dim.dim_param
        if name not in bound:
            if i:
                what = f"{name!r}; set it with --dim {name}=N" if name else f"{i}; give its shape"
                raise DstcError(f"{where} has the dynamic dimension {what}")
            hint = f"--dim {name}=N" if name else "an input of the shape you want"
            notes.append(f"input {value.name!r}: batch {name or i!r} assumed 1; set it with {hint}")
            if name:
                bound[name] = 1
        dim.dim_value = bound[name] if name else 1
