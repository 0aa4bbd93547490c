"""Machine descriptions: TOML files of parameters, each with unit and source.

In: the name of a shipped machine or a path, and overrides. Out: a `Machine`, a checked flat map
from `section.key` to a number that simulator and cost model read, or its file, all on its own.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..backend.isa.errors import DstcError
from ..backend.isa.files import write_atomic

Value = int | float | tuple[int, ...]
_FOLDER = Path(__file__).parent / "machines"
_META = ("name", "inherits", "summary", "features", "without", "sources")
_FIELDS = {"value", "unit", "source", "min", "max"}
DUAL_SIDE_KEYS = (
    "ohmma.interval", "ohmma.latency", "ohmma.squash_per_cycle", "bohmma.interval",
    "bohmma.latency", "spwmma.queue", "spwmma.startup", "spwmma.min_busy", "spwmma.latency",
    "accumulator.tiles", "accumulator.banks", "accumulator.collector",
    "accumulator.rows_per_cycle", "accumulator.latency", "accumulator.clear_cycles",
)  # fmt: skip
"""Parameters that a machine with the feature `dual_side` must have."""
NM_KEYS = ("hmma_sp.interval", "hmma_sp.latency", "hmma_sp.accumulate_latency")
"""Parameters that a machine with the feature `nm` must have."""
FEATURE_KEYS: dict[str, tuple[str, ...]] = {
    "dual_side": DUAL_SIDE_KEYS, "sequencer": (), "window_64": (), "nm": NM_KEYS,
    "runs": ("runs.latency",),
}  # fmt: skip
"""Features that a machine may have -> the parameters that it must then have."""
MACHINE_OF = {
    "dual_side": "dstc", "sequencer": "dstc", "window_64": "dstc-plus", "nm": "v100-nm",
    "runs": "dstc",
}  # fmt: skip
"""The shipped machine to use for a feature, and to inherit its parameters from."""


@dataclass(frozen=True)
class Parameter:
    """One number of a machine: `value` in `unit`, and where it is from."""

    key: str
    value: Value
    unit: str
    source: str
    minimum: float = 0
    maximum: float = float("inf")

    def replaced(self, text: object, origin: str) -> Parameter:
        """The parameter with another value, given as a number or as text; `DstcError` if unfit."""
        value = _converted(self, text)
        return Parameter(self.key, value, self.unit, origin, self.minimum, self.maximum)


@dataclass(frozen=True)
class Machine:
    """A machine: its parameters by `section.key`, and the optional units it has."""

    name: str
    summary: str
    features: frozenset[str]
    parameters: Mapping[str, Parameter]
    sources: Mapping[str, str]

    def __getitem__(self, key: str) -> Any:
        """Value of parameter `key`; `DstcError` if the machine has none."""
        return _required(self.name, self.parameters, key)

    def get(self, key: str, default: Value) -> Any:
        """Value of parameter `key`, or `default` where the machine lacks its unit."""
        parameter = self.parameters.get(key)
        return default if parameter is None else parameter.value

    @property
    def overridable(self) -> frozenset[str]:
        """Keys that `overridden` takes."""
        return frozenset(self.parameters) | {f"features.{name}" for name in self.features}

    def settings(self, keys: Iterable[str]) -> dict[str, Any]:
        """What overrides of `keys` left: values of its parameters, "on" or "off" of features."""
        found: dict[str, Any] = {}
        for key in keys:
            section, _, name = key.partition(".")
            if section == "features":
                found[key] = "on" if name in self.features else "off"
            elif key in self.parameters:
                found[key] = self.parameters[key].value
        return found

    @staticmethod
    def load(name: str | Path, overrides: Mapping[str, object] | None = None) -> Machine:
        """A shipped machine by name or a TOML file by path, with `overrides` put on top.

        An override `features.NAME` = "off" takes a feature away. Raises `DstcError` for an unknown
        machine, a malformed file, an unknown parameter or a value of the wrong kind or range.
        """
        return _read(_find(str(name)), ()).overridden(overrides)

    def overridden(self, overrides: Mapping[str, object] | None) -> Machine:
        """The machine with `overrides` put on top; raises `DstcError` as `load` does."""
        parameters, features = dict(self.parameters), set(self.features)
        for key, value in (overrides or {}).items():
            section, _, name = key.partition(".")
            if section == "features":
                features -= {self._switched_off(name, value)}
                continue
            if key not in parameters:
                raise DstcError(
                    f"machine {self.name} has no parameter '{key}'{_hint(key, parameters)}; "
                    f"`dstc machines {self.name}` lists them"
                )
            parameters[key] = parameters[key].replaced(value, "set by the user")
        kept = frozenset(features)
        _check(self.name, parameters, kept)
        return Machine(self.name, self.summary, kept, parameters, self.sources)

    def _switched_off(self, feature: str, value: object) -> str:
        if feature not in self.features:
            raise DstcError(
                f"machine {self.name} has no feature '{feature}'{_hint(feature, [*self.features])}"
            )
        if value not in (False, "off"):
            raise DstcError(
                f"features.{feature} can be switched off only: features.{feature}=off, not {value}"
            )
        return feature

    def save(self, path: str | Path) -> None:
        """Write a TOML file that loads as this machine and inherits from none."""
        lines = [
            "# The machine with all its parameters, as it was used.",
            f"name = {_text(self.name)}",
            f"summary = {_text(self.summary)}",
            f"features = [{', '.join(map(_text, sorted(self.features)))}]",
            "\n[sources]",
            *(f"{_key(key)} = {_text(text)}" for key, text in self.sources.items()),
        ]
        sections: dict[str, list[str]] = {}
        for key, parameter in self.parameters.items():
            section, _, name = key.partition(".")
            sections.setdefault(section, []).append(f"{_key(name)} = {_entry(parameter)}")
        for section, entries in sections.items():
            lines += [f"\n[{_key(section)}]", *entries]
        write_atomic(path, ("\n".join(lines) + "\n").encode())


def list_machines() -> list[str]:
    """Names of the shipped machines, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def _hint(word: str, known: Mapping[str, object] | list[str]) -> str:
    near = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean '{near[0]}'?" if near else ""


def _find(name: str, base: Path | None = None) -> Path:
    if name in list_machines():
        return _FOLDER / f"{name}.toml"
    path = (base or Path()) / name
    if name.endswith(".toml") and path.is_file():
        return path
    what = "no such file" if name.endswith(".toml") else "no such machine"
    shipped = list_machines()
    raise DstcError(
        f"machine '{name}': {what}{_hint(name, shipped)}; there are {', '.join(shipped)}, "
        "or give the path of a .toml file"
    )


def _read(path: Path, seen: tuple[Path, ...]) -> Machine:
    if path in seen:
        raise DstcError(f"{path}: the machine inherits from itself; break the circle")
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DstcError(f"{path}: not a machine description: {error}") from error
    parameters: dict[str, Parameter] = {}
    sources: dict[str, str] = {}
    features: set[str] = set()
    if "inherits" in data:
        parent = _read(_find(str(data["inherits"]), path.parent), (*seen, path))
        parameters, sources = dict(parent.parameters), dict(parent.sources)
        features = set(parent.features)
    parent_keys = frozenset(parameters)
    absent = set(_strings(path, data, "without"))
    if absent - features:
        raise DstcError(
            f"{path}: 'without' names {', '.join(sorted(absent - features))}, which the machine "
            f"inherited from does not have; it has {', '.join(sorted(features)) or 'no features'}"
        )
    features = (features - absent) | set(_strings(path, data, "features"))
    own_sources = data.get("sources", {})
    if not isinstance(own_sources, dict):
        raise DstcError(f"{path}: [sources] must be a table of strings")
    sources |= {str(k): str(v) for k, v in own_sources.items()}
    for section, table in data.items():
        if section in _META:
            continue
        if not isinstance(table, dict):
            raise DstcError(f"{path}: '{section}' must be a table of parameters")
        for key, entry in table.items():
            full = f"{section}.{key}"
            parameters[full] = _parameter(path, full, entry, parameters, parent_keys)
    name = str(data.get("name", path.stem))
    return Machine(name, str(data.get("summary", "")), frozenset(features), parameters, sources)


def _strings(path: Path, data: Mapping[str, Any], key: str) -> list[str]:
    value = data.get(key, [])
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise DstcError(f"{path}: '{key}' must be a list of strings")
    return value


def _parameter(
    path: Path,
    key: str,
    given: object,
    known: Mapping[str, Parameter],
    parent_keys: frozenset[str],
) -> Parameter:
    entry: dict[str, Any] = given if isinstance(given, dict) else {"value": given}
    unknown = set(entry) - _FIELDS
    if "value" not in entry or unknown:
        raise DstcError(f"{path}: '{key}' needs {{ value, unit, source }}, has {sorted(entry)}")
    if key in parent_keys:  # an override needs no more than a value
        return known[key].replaced(entry["value"], str(entry.get("source", str(path))))
    if "unit" not in entry or "source" not in entry:
        raise DstcError(f"{path}: '{key}' needs a unit and a source")
    value = entry["value"]
    bounds = entry.get("min", 0), entry.get("max", float("inf"))
    if not all(isinstance(b, int | float) for b in bounds) or not isinstance(
        value, int | float | list
    ):
        raise DstcError(f"{path}: '{key}': value, min and max must be numbers")
    blank = Parameter(
        key,
        tuple(value) if isinstance(value, list) else value,
        str(entry["unit"]),
        str(entry["source"]),
        *map(float, bounds),
    )
    return blank.replaced(value, blank.source)


def _converted(parameter: Parameter, given: object) -> Value:
    """`given` as a value of `parameter`'s kind, in its range."""
    kind = type(parameter.value)
    try:
        if kind is tuple:
            items = given.split(",") if isinstance(given, str) else given
            if not isinstance(items, list | tuple):
                raise ValueError
            value: Value = tuple(int(item) for item in items)
            low, high = (min(value), max(value)) if value else (0, 0)
        else:
            if isinstance(given, bool) or not isinstance(given, int | float | str):
                raise ValueError
            value = float(given) if kind is float else int(str(given), 0)
            low = high = value
    except ValueError:
        what = {tuple: "whole numbers, a,b,c", float: "a number"}.get(kind, "a whole number")
        raise DstcError(f"parameter {parameter.key}: {given!r} is not {what}") from None
    if not (parameter.minimum <= low and high <= min(parameter.maximum, 2**40)):
        bound = f"at least {parameter.minimum:g}"
        if parameter.maximum != float("inf"):
            bound += f" and at most {parameter.maximum:g}"
        raise DstcError(f"parameter {parameter.key}: {given} is out of range; it is {bound}")
    return value


def _text(text: str) -> str:
    """A TOML string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _key(key: str) -> str:
    """A TOML key, quoted if need be."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _text(key)


def _entry(p: Parameter) -> str:
    """A parameter as a TOML table in one line."""
    value = list(p.value) if isinstance(p.value, tuple) else p.value
    fields = [f"value = {value}", f"unit = {_text(p.unit)}", f"source = {_text(p.source)}"]
    if p.minimum:
        fields.append(f"min = {p.minimum!r}")
    if p.maximum != float("inf"):
        fields.append(f"max = {p.maximum!r}")
    return f"{{ {', '.join(fields)} }}"


def _required(name: str, parameters: Mapping[str, Parameter], key: str) -> Any:
    if key not in parameters:
        parents = (MACHINE_OF[f] for f, keys in FEATURE_KEYS.items() if key in keys)
        parent = next(parents, "v100")
        raise DstcError(f"machine {name} lacks parameter '{key}'; add it, or inherit from {parent}")
    return parameters[key].value


def _check(name: str, parameters: Mapping[str, Parameter], features: frozenset[str]) -> None:
    """Parameters that the features need, and constraints between parameters."""

    def value(key: str) -> Any:
        return _required(name, parameters, key)

    unknown = sorted(features - set(FEATURE_KEYS))
    if unknown:
        raise DstcError(
            f"machine {name}: there is no feature '{unknown[0]}'{_hint(unknown[0], FEATURE_KEYS)}; "
            f"there are {', '.join(FEATURE_KEYS)}"
        )
    for feature in sorted(features):
        for key in FEATURE_KEYS[feature]:
            value(key)
    if "dual_side" in features and value("accumulator.banks") != 128:
        raise DstcError(f"machine {name}: accumulator.banks other than 128 are not modelled")
    if value("l2.request_latency") >= value("l2.latency"):
        raise DstcError(
            f"machine {name}: l2.request_latency is {value('l2.request_latency')}; it must be less "
            f"than l2.latency = {value('l2.latency')}"
        )
    longest = value("l2.latency") - value("l1.latency")
    if not value("simulation.quantum") <= longest:
        raise DstcError(
            f"machine {name}: simulation.quantum is {value('simulation.quantum')}; it may be no "
            f"more than l2.latency - l1.latency = {longest}"
        )
    line, block = value("l2.line_bytes"), value("dram.interleave_bytes")
    row = value("dram.row_bytes")
    if block % line or row % block:
        raise DstcError(
            f"machine {name}: dram.interleave_bytes = {block} must be a multiple of {line}, and "
            f"dram.row_bytes = {row} of it"
        )
    if value("dram.latency") < value("l2.latency") + value("dram.open_cycles"):
        raise DstcError(f"machine {name}: dram.latency is less than l2.latency + dram.open_cycles")
    for unit in ("hmma", "hmma_sp") if "nm" in features else ("hmma",):
        if value(f"{unit}.accumulate_latency") > value(f"{unit}.latency"):
            raise DstcError(
                f"machine {name}: {unit}.accumulate_latency is more than {unit}.latency"
            )
    if value("l1.line_bytes") != 128 or value("l2.line_bytes") != 128:
        raise DstcError(f"machine {name}: cache lines other than 128 bytes are not modelled")
    if value("shared.banks") != 32:
        raise DstcError(f"machine {name}: shared.banks other than 32 are not modelled")
    if value("sm.sub_cores") > 8 or value("sm.max_warps") % value("sm.sub_cores"):
        raise DstcError(f"machine {name}: sm.sub_cores must divide sm.max_warps and be at most 8")
    if max(value("l1.carve_bytes")) >= value("l1.capacity_bytes"):
        raise DstcError(f"machine {name}: l1.carve_bytes must leave some of l1.capacity_bytes")
