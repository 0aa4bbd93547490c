"""The HTML report: it parses, needs nothing from outside and says what the facts say."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from dstc.compiler.report import CAUSES, render_report
from dstc.compiler.run_facts import layers_compared, short
from dstc.runtime.sim.constants import Cause

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Checks nesting; collects table cells by table id and everything fetched from elsewhere."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.tables: dict[str, list[list[tuple[str, str | None]]]] = {}
        self.links: list[str] = []
        self.rows: list[list[tuple[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        a = dict(attrs)
        self.links += [v for k, v in attrs if k in ("src", "href") and v]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.rows = self.tables.setdefault(a["id"] or "", [])
        elif tag == "tr":
            self.rows.append([])
        elif tag == "td":
            self.rows[-1].append(("", a.get("data-v")))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if "td" in self.open:
            text, value = self.rows[-1][-1]
            self.rows[-1][-1] = (text + data.strip(), value)


def kernel(name: str, cycles: int, **more: Any) -> dict[str, Any]:
    stalls = {"issued": 3 * cycles, "no_warp": cycles, "new_cause": 0}
    return {
        "name": name, "kernel": name, "source": [name.split("_")[0]], "op": "matmul",
        "engine": "dual", "grid": [1, 1, 1], "cycles": cycles, "time_us": cycles / 1000,
        "warp_instructions": 7 * cycles, "macs_dense": 4096, "macs_effective": 512,
        "a_density": 0.5, "b_density": 0.25, "ohmma_issued": 8, "ohmma_skipped": 24,
        "dram_bytes": 64, "limit": "issue", "counters": {}, "stalls": stalls, **more,
    }  # fmt: skip


@pytest.fixture
def facts() -> dict[str, Any]:
    none = {"a_density": None, "b_density": None, "engine": None, "op": "encode", "macs_dense": 0,
            "macs_effective": 0, "ohmma_issued": 0, "ohmma_skipped": 0}  # fmt: skip
    kernels = [kernel("l1_encode", 1000, **none), kernel("l1", 2500), kernel("<l2>&", 40)]
    return {
        "schema": 1, "model": "dir/<m>.onnx", "machine": "dstc", "engine": "auto", "mode": "cycle",
        "check": {"reference": "onnx", "machines": ["dstc", "v100"], "worst": "v100", "ok": True,
                  "max_abs_error": 0.01, "max_rel_error": 0.001,
                  "bound": 0.05},
        "cycles": 3540, "time_us": 3.54, "warp_instructions": 24780,
        "wall_seconds": {"compile": 1.0, "simulate": 2.0},
        "inputs": {"x": [4, 8]}, "outputs": {"y": [4, 2]}, "kernels": kernels,
        "host_ops": [{"name": "pool", "op": "pool2d", "source": ["pool"], "wall_seconds": 0.002}],
        "notes": ["dimension <n> assumed 1"], "accuracy": {"right": 3, "of": 4},
        "compare": {"v100": {"set": {}, "cycles": 7080, "time_us": 7.0, "warp_instructions": 5,
                             "speedup": 1.98, "speedup_cycles": 2.0,
                             "kernels": [kernel("l1", 7000), kernel("own", 80)],
                             "accuracy": {"right": 3, "of": 4}}},
    }  # fmt: skip


def test_numbers_are_the_facts(facts: dict[str, Any]) -> None:
    page = Page(render_report(facts))
    assert page.links == []
    *rows, total = page.tables["kernels"][1:]
    assert [r[0][0] for r in rows] == [k["name"] for k in facts["kernels"]]
    assert [int(r[9][1] or 0) for r in rows] == [k["cycles"] for k in facts["kernels"]]
    assert {r[11][0] for r in rows} == {"issue slots"}
    assert int(total[9][1] or 0) == facts["cycles"] and total[9][0] == "3,540"
    assert total[7][0] == "192" and total[5][0] == "8,192"
    for row, k in zip(page.tables["stalls"][1:], facts["kernels"], strict=True):
        numbers = [int(v or 0) for _, v in row[1:]]
        assert sum(numbers[:-1]) == numbers[-1] == sum(k["stalls"].values())
    products = page.tables["products"][1:-1]
    assert [r[0][0] for r in products] == ["l1", "<l2>&"]
    assert products[0][8] == ("50.0 %", "0.5")  # 512 of 8 * 128
    assert [r[1][0] for r in page.tables["machines"][1:]] == ["3,540", "7,080"]
    assert page.tables["host"][1][0][0] == "pool"
    assert "dimension <n> assumed 1" in page.text and "correct" in page.text


def test_layers_add_up(facts: dict[str, Any]) -> None:
    layers = layers_compared(facts)
    assert layers[0] == ("l1", 3500, [7000]) and layers[-1] == ("own", 0, [80])
    assert sum(here for _, here, _ in layers) == facts["cycles"]
    assert sum(theirs[0] for _, _, theirs in layers) == facts["compare"]["v100"]["cycles"]


def test_names_are_escaped(facts: dict[str, Any]) -> None:
    text = render_report(facts)
    assert "<l2>" not in text and "<m>" not in text and "&lt;l2&gt;&amp;" in text


def test_stacked_bars_are_whole(facts: dict[str, Any]) -> None:
    stacks = re.findall(r'class="segments".*?</span>', render_report(facts), re.S)
    widths = [sum(map(float, re.findall(r"width:([\d.]+)%", s))) for s in stacks]
    assert widths == pytest.approx([100] * len(facts["kernels"]))


def test_functional_and_empty_runs(facts: dict[str, Any]) -> None:
    facts.update(cycles=0, time_us=0.0, compare={}, mode="functional", check=None, host_ops=[])
    del facts["accuracy"]
    for k in facts["kernels"]:
        k.update(cycles=0, time_us=0.0, stalls={})
    assert "not checked" in Page(render_report(facts)).text
    facts["kernels"] = []
    assert "No operator ran on the host" in Page(render_report(facts)).text


def test_every_cause_of_the_simulator_has_a_colour() -> None:
    assert {name.lower() for name in Cause._fields} <= set(CAUSES)
    assert len({colour for _, colour, _ in CAUSES.values()}) == len(CAUSES)


def test_short_counts() -> None:
    assert [short(n) for n in (0, 830, 8_290_000, 17_046_258, 530_841_600)] == [
        "0", "830", "8.29 M", "17.0 M", "531 M",
    ]  # fmt: skip
