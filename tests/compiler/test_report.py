"""The report of a run: its numbers are the run's, it needs nothing from outside, it opens."""

import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from dstc.backend.isa.errors import DstcError
from dstc.compiler.cli.main import main
from dstc.compiler.profile import Profile
from dstc.compiler.report import CAUSES, HOT_LINES, png
from dstc.compiler.run_facts import short
from dstc.runtime.device import Device
from dstc.runtime.formats import count
from dstc.runtime.pictures import MOST_COLUMNS, MOST_ROWS, Picture
from dstc.runtime.sim.constants import Cause

from .onnx_models import model, node, random

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
        found = [v for k, v in attrs if k in ("src", "href") and v]
        self.links += [v for v in found if not v.startswith(("#", "data:"))]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.rows = self.tables.setdefault(a.get("id") or "", [])
        elif tag == "tr":
            self.rows.append([])
        elif tag == "td":
            self.rows[-1].append(("", a.get("data-v")))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass  # of a drawing

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if "td" in self.open and self.rows and self.rows[-1]:
            text, value = self.rows[-1][-1]
            self.rows[-1][-1] = (text + " ".join(data.split()), value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of two products, on the dual-side engine and on v100."""
    folder = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(3)
    x, v, w = (random(rng, *shape) for shape in ((40, 48), (48, 36), (36, 10)))
    v[rng.random(v.shape) < 0.7] = 0
    nodes = [
        node("MatMul", ["x", "v"], "p"), node("Relu", ["p"], "r"), node("MatMul", ["r", "w"], "y"),
    ]  # fmt: skip
    onnx.save(model(nodes, {"x": x.shape}, constants={"v": v, "w": w}), folder / "two.onnx")
    np.savez(folder / "x.npz", x=x, labels=rng.integers(0, 10, 40))
    words = ["run", str(folder / "two.onnx"), "--input", str(folder / "x.npz"), "--no-cache"]
    words += ["--labels", "labels", "--engine", "dual", "--compare", "v100"]
    words += ["--json", str(folder / "out.json"), "--report", str(folder / "out.html")]
    assert main(words) == 0
    return folder


@pytest.fixture(scope="module")
def facts(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "out.json").read_text())


@pytest.fixture(scope="module")
def profile(facts: dict[str, Any]) -> Profile:
    return Profile.of(facts)


def changed(facts: dict[str, Any], **values: Any) -> Profile:
    """The profile of a copy of the facts with other values."""
    return Profile.of({**json.loads(json.dumps(facts)), **values})


def test_cycles_add_up(facts: dict[str, Any], profile: Profile) -> None:
    sub_cores = facts["rates"]["sms"] * facts["rates"]["sub_cores"]
    assert sum(profile.stalls.values()) == profile.cycles * sub_cores
    for k in profile.kernels:
        assert sum(k.stalls.values()) == k.cycles * sub_cores == k.sub_core_cycles
        assert sum(line.issued for line in k.lines) == k.row["warp_instructions"]
        for cause, cycles in k.stalls.items():
            if cause not in ("issued", "no_warp"):
                assert sum(line.stalls.get(cause, 0) for line in k.lines) == cycles
        assert all(0 <= unit.share <= 1 for unit in k.units), k.units
        assert k.unit("issue") == k.share_of("issued")
    facts = json.loads(json.dumps(facts))
    facts["kernels"][0]["stalls"]["tensor"] += 1
    with pytest.raises(DstcError, match="its stalls add up to"):
        Profile.of(facts)


def test_rows_are_records(profile: Profile) -> None:
    kernels = profile.to_rows("kernel")
    assert sum(row["cycles"] for row in kernels) == profile.cycles
    for level in ("layer", "kernel", "unit", "stall", "line"):
        rows = profile.to_rows(level)  # type: ignore[arg-type]
        assert rows and all(row.keys() == rows[0].keys() for row in rows)
        flat = (str, int, float, type(None))
        assert all(isinstance(v, flat) for row in rows for v in row.values())
    stalls = sum(row["sub_core_cycles"] for row in profile.to_rows("stall"))
    assert stalls == sum(profile.stalls.values())
    text = profile._repr_html_()
    assert profile.title in text and f"{profile.cycles:,} cycles" in text


def test_every_kernel_has_a_sentence(profile: Profile) -> None:
    assert all(k.advice and all(a.what.endswith(".") for a in k.advice) for k in profile.kernels)
    assert profile.advice[0][1].rule == "launches"  # of small ones: little else
    assert not any("nan" in a.what for _, a in profile.advice)


def test_numbers_of_the_page_are_those_of_the_json(folder: Path, facts: dict[str, Any]) -> None:
    page = Page((folder / "out.html").read_text())
    assert page.links == []
    kernels = facts["kernels"]
    *layers, total = page.tables["layers"][1:]
    assert [int(r[8][1] or 0) for r in layers] == [layer["cycles"] for layer in facts["layers"]]
    assert [int(r[11][1] or 0) for r in layers] == [
        layer["cycles"] for layer in facts["compare"]["v100"]["layers"]
    ]
    assert int(total[8][1] or 0) == facts["cycles"] and total[8][0] == f"{facts['cycles']:,}"
    for row, k in zip(page.tables["stalls"][1:], kernels, strict=True):
        numbers = [int(v or 0) for _, v in row[1:]]
        assert sum(numbers[:-1]) == numbers[-1] == sum(k["stalls"].values())
    for row, k in zip(page.tables["units"][1:], kernels, strict=True):
        assert (row[0][0], int(row[1][1] or 0)) == (k["name"], k["cycles"])
        assert float(row[2][1] or 0) == k["stalls"]["issued"] / sum(k["stalls"].values())
    products = [k for k in kernels if k["macs_dense"]]
    for row, k in zip(page.tables["products"][1:], products, strict=False):
        found = [int(row[i][1] or 0) for i in (4, 5, 7, 8)]
        keys = ("macs_dense", "macs_effective", "ohmma_issued", "ohmma_skipped")
        assert found == [k[key] for key in keys]
    machines = [facts, facts["compare"]["v100"]]
    assert [int(r[1][1] or 0) for r in page.tables["machines"][1:]] == [
        m["cycles"] for m in machines
    ]
    stacks = re.findall(r'class="segments".*?</span>', (folder / "out.html").read_text(), re.S)
    widths = [sum(map(float, re.findall(r"width:([\d.]+)%", s))) for s in stacks]
    assert widths == pytest.approx([100] * len(stacks), abs=0.02)


def test_names_are_escaped(facts: dict[str, Any]) -> None:
    profile = changed(facts, model="dir/<m>.onnx", notes=["dimension <n> assumed 1"])
    profile.facts["kernels"][0]["name"] = "<l2>&"
    text = profile.html()
    assert "<l2>" not in text and "<m>" not in text and "&lt;l2&gt;&amp;" in text
    page = Page(text)
    assert "dimension <n> assumed 1" in page.text and "correct" in page.text


def test_functional_and_empty_runs(facts: dict[str, Any]) -> None:
    none = {"cycles": 0, "time_us": 0.0, "compare": {}, "mode": "functional", "check": None}
    kernels = json.loads(json.dumps(facts["kernels"]))
    for k in kernels:
        k.update(cycles=0, time_us=0.0, stalls={}, pc_stalled={}, limit=None)
    profile = changed(facts, **none, kernels=kernels)
    assert "not checked" in Page(profile.html()).text and profile.advice == []
    empty = changed(facts, **none, kernels=[], layers=[])
    assert "No operator ran on the host" in Page(empty.html()).text
    with pytest.raises(DstcError, match="not the JSON of a run"):
        Profile.load(__file__)


def test_interrupted_run_says_so(
    folder: Path, facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    launch, left = Device.launch, [2]

    def stop(*args: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return launch(*args)

    monkeypatch.setattr(Device, "launch", stop)
    words = ["run", str(folder / "two.onnx"), "--input", str(folder / "x.npz"), "--engine", "dual"]
    words += ["--labels", "labels", "--json", str(folder / "part.json")]
    words += ["--output", str(folder / "no.npz"), "--report", str(folder / "part.html")]
    assert main([*words, "--compare", "v100"]) == 130
    part = json.loads((folder / "part.json").read_text())
    assert part["partial"] and not facts["partial"] and part["check"] is None
    assert not (folder / "no.npz").exists() and part["compare"] == {}
    assert [k["cycles"] for k in part["kernels"]] == [k["cycles"] for k in facts["kernels"][:2]]
    assert f"2 of {len(facts['kernels'])} steps done" in part["notes"][-1]
    assert "an interrupt stopped the run" in Page((folder / "part.html").read_text()).text


def test_pictures() -> None:
    rng = np.random.default_rng(0)
    occupied = rng.random((150, 1000)) < 0.1
    occupied[:, :500] = False
    occupied[0, 0] = True
    picture = Picture.of(occupied, count(occupied, "a"))
    assert picture.cells.shape == (MOST_ROWS, MOST_COLUMNS)
    assert picture.nonzeros == occupied.sum() and picture.histogram.sum() == 5 * 1000
    assert (picture.histogram * np.arange(33)).sum() == picture.nonzeros
    assert picture.cells[0, 0] > 0 and not picture.cells[1:, :48].any()
    assert picture.cells[:, 48:].mean() / 255 == pytest.approx(0.1, abs=0.01)
    again = Picture.of_json(json.loads(json.dumps(picture.to_json())))
    assert png(again) == png(picture) and png(picture).startswith("data:image/png;base64,iVBOR")
    tiny = Picture.of(np.eye(3, dtype=np.bool_), count(np.eye(3, dtype=np.bool_), "b"))
    assert (tiny.cells == 255 * np.eye(3)).all() and tiny.histogram[1] == 3


def test_every_cause_of_the_simulator_has_a_colour() -> None:
    assert {name.lower() for name in Cause._fields} <= set(CAUSES)
    assert len({colour for _, colour, _ in CAUSES.values()}) == len(CAUSES)


def test_short_counts() -> None:
    assert [short(n) for n in (0, 830, 8_290_000, 17_046_258, 530_841_600)] == [
        "0", "830", "8.29 M", "17.0 M", "531 M",
    ]  # fmt: skip


# In the browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    from .test_inspect import FLAGS

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    assert chromium, "the test of the page needs chromium (Debian: apt-get install chromium)"
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield found
        found.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1400), ("dark", 390)])
def test_page_opens(browser: Any, folder: Path, profile: Profile, scheme: str, width: int) -> None:
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    told: list[str] = []
    tab.on("console", lambda m: told.append(m.text))
    tab.on("pageerror", lambda e: told.append(str(e)))
    tab.on("request", lambda r: told.append(r.url) if r.url.startswith("http") else None)
    tab.goto(f"file://{folder / 'out.html'}")
    tab.wait_for_selector("html[data-ready=yes]")
    assert tab.evaluate("document.documentElement.scrollWidth") == width  # only tables scroll
    assert tab.evaluate("document.documentElement.classList.contains('dark')") == (scheme == "dark")
    cycles = "[...document.querySelectorAll('#layers tbody tr')].map((r) => +r.cells[8].dataset.v)"
    tab.click("#layers th:nth-child(9) button")
    assert tab.evaluate(cycles) == sorted(tab.evaluate(cycles), reverse=True)
    tab.click("#units tbody tr:nth-child(2) a")
    tab.wait_for_selector("#k2[open]")
    assert tab.locator("#k2 .wide .code tbody tr").count() == HOT_LINES
    tab.click("#k2 button.show")
    tab.wait_for_selector("#k2 .listing")
    kernel = profile.kernels[1]
    assert tab.locator("#k2 .listing tbody tr:not(.from)").count() == len(kernel.lines)
    text = tab.locator("#k2 .listing").inner_text()
    assert kernel.hottest(1)[0].text in text and f"{kernel.hottest(1)[0].stalled:,}" in text
    assert told == []
    tab.close()
