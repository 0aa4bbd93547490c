"""Machine files: inheritance, overrides, sources, errors.

In: names, paths, overrides. Out: parameters, or one line that says what there is.
"""

from __future__ import annotations

import dataclasses

import pytest
from dstc.backend.isa.errors import DstcError
from dstc.runtime.machine import Machine, list_machines


@pytest.mark.parametrize("name", list_machines())
def test_every_number_has_unit_and_source(name):
    machine = Machine.load(name)
    known = {"not hardware", "CUDA occupancy tables, compute capability 7.0"} | set(machine.sources)
    for parameter in machine.parameters.values():
        assert parameter.unit and parameter.source
        words = parameter.source.replace(";", ":").replace(",", ":").split(":")
        assert any(word.strip() in known for word in [*words, parameter.source]), parameter


def test_inheritance_and_overrides():
    v100, dstc = (
        Machine.load("v100"),
        Machine.load("dstc", {"sm.count": "0x10", "dram.peak_gb_s": 1}),
    )
    assert set(v100.parameters) < set(dstc.parameters)
    assert dstc["sm.count"] == 16 and dstc["dram.peak_gb_s"] == 1.0
    assert v100.get("ohmma.interval", 7) == 7
    assert dstc.features - v100.features == {"dual_side", "sequencer", "runs"}
    assert dstc.features - Machine.load("dstc-strict").features == {"sequencer"}


def test_each_extension_of_dstc_plus_can_be_switched_off():
    plus, dstc = Machine.load("dstc-plus"), Machine.load("dstc")
    assert plus.features - dstc.features == {"window_64"}
    assert [k for k in plus.parameters if plus[k] != dstc[k]] == ["accumulator.tiles"]
    off = {"features.window_64": "off", "accumulator.tiles": 4}
    plain = Machine.load("dstc-plus", off)
    assert plain.features == dstc.features
    assert plain.settings(off) == off and plus.settings(off)["features.window_64"] == "on"


BAD = {
    "unknown machine": (("dtsc", {}), "no such machine; did you mean 'dstc'"),
    "unknown file": (("x.toml", {}), "no such file"),
    "unknown key": (("dstc", {"sm.cuont": 1}), "did you mean 'sm.count'"),
    "not a number": (("dstc", {"sm.count": "many"}), "'many' is not a whole number"),
    "bool": (("dstc", {"sm.count": True}), "is not a whole number"),
    "fraction": (("dstc", {"sm.count": 1.5}), "is not a whole number"),
    "no such feature": (("dstc", {"features.window_64": "off"}), "has no feature 'window_64'"),
    "feature on": (("dstc-plus", {"features.window_64": "on"}), "can be switched off only"),
    "range": (("dstc", {"sm.count": 0}), "at least 1"),
    "above": (("dstc", {"dram.efficiency": 1.5}), "at most 1"),
    "nan": (("dstc", {"dram.efficiency": "nan"}), "out of range"),
    "request": (("dstc", {"l2.request_latency": 193}), "must be less than l2.latency = 193"),
    "lookahead": (("dstc", {"simulation.quantum": 500}), "no more than l2.latency"),
}


@pytest.mark.parametrize("case", BAD)
def test_errors_are_one_line(case):
    (name, overrides), message = BAD[case]
    with pytest.raises(DstcError, match=message) as caught:
        Machine.load(name, overrides)
    assert "\n" not in str(caught.value)


FILES = {
    "not toml [": "not a machine description",
    'inherits = "m.toml"': "inherits from itself",
    '[sm]\ncount = "x"': "needs a unit and a source",
    'inherits = "v100"\n[sm]\ncount = "x"': "not a whole number",
    'inherits = "v100"\nsm = 3': "must be a table",
    'inherits = "v100"\n[sm]\ncount = { valu = 3 }': "needs",
    'inherits = "v100"\n[new]\nx = { value = "a", unit = "b", source = "c" }': "must be numbers",
    'inherits = "v100"\nfeatures = "dual_side"': "list of strings",
    'name = "empty"': "lacks .*inherit from v100",
    'inherits = "v100"\nwithout = ["sequencer"]': "'without' names sequencer.*no features",
    'inherits = "v100"\nfeatures = ["dual_side"]': "lacks parameter 'ohmma.*inherit from dstc",
}


@pytest.mark.parametrize("text", FILES)
def test_bad_files(tmp_path, text):
    path = tmp_path / "m.toml"
    path.write_text(text)
    with pytest.raises(DstcError, match=FILES[text]):
        Machine.load(path)


def test_own_file(tmp_path):
    path = tmp_path / "half.toml"
    path.write_text('name = "half"\ninherits = "dstc"\n[sm]\ncount = 40\n')
    assert Machine.load(str(path))["sm.count"] == 40


@pytest.mark.parametrize("name", ["v100", "dstc"])
def test_a_saved_machine_loads_as_itself(tmp_path, name):
    machine = Machine.load(name, {"sm.count": 3, "dram.peak_gb_s": 1.25})
    odd = dataclasses.replace(
        machine, name='a "b"\\c', summary="l1\nl2\x7f\u00b5", sources={"a b": "c"}
    )
    for one in (machine, odd):
        one.save(tmp_path / "m.toml")
        assert Machine.load(tmp_path / "m.toml") == one
