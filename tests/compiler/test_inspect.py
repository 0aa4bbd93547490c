"""dstc inspect --html: what is collected, and the page itself in headless chromium."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dstc.compiler.cli.main import main
from dstc.compiler.driver import run_pipeline
from dstc.compiler.frontends.onnx_import import load_onnx
from dstc.compiler.graph_layout import HEIGHT, WIDTH, layout
from dstc.compiler.inspect_stages import Stages
from dstc.compiler.pipelines import PIPELINES, pipeline
from dstc.compiler.rewrites import Rewrites
from dstc.runtime.machine import Machine

from ..e2e.ir import parse

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "examples" / "digits_cnn" / "digits_cnn_pruned90.onnx"
MARGIN_BYTES = 2_000_000
CHAIN = """
func.func @main(%x: tensor<32x32xf32>) -> tensor<32x32xf32> {
  %w = dstc.constant "w" : tensor<32x32xf32>
  %v = dstc.constant "v" : tensor<32x32xf32>
  %y = dstc.matmul %x, %w {dstc.source = ["one"]}
    : tensor<32x32xf32>, tensor<32x32xf32> -> tensor<32x32xf32>
  %r = dstc.relu %y {dstc.source = ["relu"]} : tensor<32x32xf32> -> tensor<32x32xf32>
  %z = dstc.matmul %r, %v {dstc.source = ["two"]}
    : tensor<32x32xf32>, tensor<32x32xf32> -> tensor<32x32xf32>
  func.return %z : tensor<32x32xf32>
}"""


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("inspect") / "out.html"
    words = ["inspect", str(MODEL), "--dim", "batch=2"]
    assert main([*words, "--html", str(file), "--json", str(file.with_suffix(".json"))]) == 0
    return file


CONVOLUTIONS = """
func.func @main(%x: tensor<1x32x8x8xf32>) -> tensor<1x4xf32> {
  %w = dstc.constant "w" : tensor<32x32x3x3xf32>
  %u = dstc.constant "u" : tensor<512x4xf32>
  %y = dstc.conv2d %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>,
    dilations = array<i64: 1, 1>, dstc.source = ["one"]}
    : tensor<1x32x8x8xf32>, tensor<32x32x3x3xf32> -> tensor<1x32x8x8xf32>
  %p = dstc.pool2d %y {kind = #dstc<pool max>, kernel = array<i64: 2, 2>,
    strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>,
    dstc.source = ["pool"]} : tensor<1x32x8x8xf32> -> tensor<1x32x4x4xf32>
  %f = dstc.reshape %p {dstc.source = ["flat"]} : tensor<1x32x4x4xf32> -> tensor<1x512xf32>
  %m = dstc.matmul %f, %u {dstc.source = ["two"]}
    : tensor<1x512xf32>, tensor<512x4xf32> -> tensor<1x4xf32>
  %s = dstc.softmax %m {axis = 1 : i64, dstc.source = ["softmax"]}
    : tensor<1x4xf32> -> tensor<1x4xf32>
  func.return %s : tensor<1x4xf32>
}"""
PATHS = {
    "chain": ("dstc-strict", "dual", "implicit", "default"),
    "windows": ("dstc", "dual", "implicit", "default"),
    "lowered": ("dstc", "dual", "explicit", "tile"),
    "n:m": ("dstc-nm", "nm", "implicit", "tile"),
}
"""(machine, engine, lowering of convolutions, pipeline): every pass has something to do."""


def followed(path: str) -> Stages:
    """The chain of products, or the convolution, all the way down."""
    machine, engine, lowering, name = PATHS[path]
    if path == "chain":
        ctx, module = parse(CHAIN, {n: np.eye(32, dtype=np.float32) for n in "wv"})
    else:
        w, u = np.zeros((32, 32, 3, 3), np.float32), np.zeros((512, 4), np.float32)
        w.reshape(32, -1)[:, ::4] = u[::4] = 1  # as n:m wants it
        ctx, module = parse(CONVOLUTIONS, {"w": w, "u": u})
    stages = Stages()
    specs = pipeline(name, machine=machine, engine=engine, lowering=lowering)
    run_pipeline(ctx, module, specs, machine=Machine.load(machine), instruments=[stages])
    assert len(stages.stages) == len(specs) + 1
    return stages


@pytest.fixture(scope="module")
def watched() -> Rewrites:
    """Two products."""
    ctx, module = parse(CHAIN, {n: np.eye(32, dtype=np.float32) for n in "wv"})
    rewrites = Rewrites()
    specs = pipeline("graph", machine="dstc", engine="dual")
    run_pipeline(ctx, module, specs, machine=Machine.load("dstc"), instruments=[rewrites])
    return rewrites


@pytest.mark.parametrize("path", PATHS)
def test_every_op_of_every_stage_comes_from_the_model(path: str) -> None:
    stages = followed(path)
    roots = {n for piece in stages.stages[0].pieces for n in piece.ops}
    lost = {
        (stage.spec, piece.name, n)
        for stage in stages.stages[1:]
        for piece in stage.pieces
        for n in piece.ops
        if n not in roots and not stages.parents[n]
    }
    assert not lost
    known: dict[int, set[str]] = {}

    def origins(n: int) -> set[str]:
        if n not in known:
            above = [origins(p) for p in stages.parents[n]]
            known[n] = set(stages.sources.get(n, ())).union(*above)
        return known[n]

    kernels = [p for p in stages.stages[-1].pieces if p.kind.endswith(".kernel")]
    assert kernels
    for piece in kernels:
        for n in piece.ops:  # instructions lead back to their nodes
            assert set(piece.source) <= origins(n), (piece.name, n)


def test_single_rewrites(watched: Rewrites) -> None:
    index = [s.split("{")[0] for s in PIPELINES["default"]].index("fuse-epilogue")
    found = watched.by_pass[index]
    assert [r.pattern for r in found] == ["ReluToActivation"]
    assert all(r.op == "dstc.relu" and "activation relu" in r.after[0] for r in found)


def test_drawing_has_no_overlaps() -> None:
    graph = load_onnx(MODEL, {"batch": 1})
    drawing = layout(graph)
    boxes = list(drawing.boxes.values())
    assert {b.name for b in boxes} == set(graph.digraph.nodes)
    for i, a in enumerate(boxes):
        assert 0 <= a.x <= drawing.width - WIDTH
        for b in boxes[:i]:
            assert abs(a.x - b.x) >= WIDTH or abs(a.y - b.y) >= HEIGHT
    for a, b, _ in drawing.lines:
        assert drawing.boxes[a].y < drawing.boxes[b].y


def test_page_needs_nothing_else(page_file: Path) -> None:
    text = page_file.read_text()
    assert len(text) < MARGIN_BYTES
    assert not re.search(r"""(src|href)\s*=|@import|url\((?!#)|https?://""", text)
    facts = json.loads(page_file.with_suffix(".json").read_text())
    assert facts["html"] == str(page_file)


# In the browser

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    assert chromium, "the test of the page needs chromium (Debian: apt-get install chromium)"
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def page(browser: Any, page_file: Path) -> Iterator[Any]:
    tab = browser.new_page(viewport={"width": 1500, "height": 950})
    told: list[str] = []
    tab.on("console", lambda m: told.append(m.text) if m.type in ("error", "warning") else None)
    tab.on("pageerror", lambda e: told.append(str(e)))
    tab.on("request", lambda r: told.append(r.url) if not r.url.startswith("file:") else None)
    tab.goto(f"file://{page_file}")
    tab.wait_for_selector("html[data-ready=yes]")
    yield tab
    assert told == []
    tab.close()


def stage(page: Any, name: str) -> Any:
    found = page.locator("#passes li[data-stage]").filter(has_text=name)
    if not found.count():
        while page.locator("#passes li.fold").count():
            page.locator("#passes li.fold").first.click()
    return found


def test_list_of_passes(page: Any) -> None:
    assert page.locator("#passes li").count() <= len(PIPELINES["default"]) + 1
    assert page.locator("#passes li.fold").count() > 0
    before = page.locator("#passes li[data-stage]").count()
    page.locator("#passes li.fold").first.click()
    assert page.locator("#passes li[data-stage]").count() > before
    row = stage(page, "fuse-epilogue")
    assert "−4" in row.inner_text() and "4 rewrites" in row.inner_text()
    row.click()
    assert row.get_attribute("aria-selected") == "true"
    assert page.locator("#ir .ln").filter(has_text="activation relu").count() == 4


def test_diff(page: Any) -> None:
    stage(page, "fuse-epilogue").click()
    page.click("#tab-diff")
    page.wait_for_selector("#sides .ln.add")
    assert page.locator("#sides .ln.del").filter(has_text="dstc.relu").count() == 4
    assert page.locator("#sides .ln.add").filter(has_text="activation relu").count() == 4
    page.select_option("#left", "0")
    page.select_option("#right", str(len(PIPELINES["default"])))
    page.wait_for_selector("#sides details[data-name=node_Conv_24_conv2d]")
    page.select_option("#left", label=page.locator("#right option:checked").inner_text())
    page.wait_for_function("document.querySelector('#diffed').textContent.startsWith('0 of')")


def test_search_and_filters(page: Any) -> None:
    page.keyboard.press("/")
    page.keyboard.type("node_relu_3")
    page.wait_for_selector("#ir mark")
    assert page.inner_text("#hits") == "1 line"
    page.keyboard.press("Escape")
    page.wait_for_selector("#ir mark", state="detached")
    stage(page, "verify-registers").click()
    page.select_option("#piece", "node_Conv_25_conv2d")
    page.wait_for_selector("#ir .ln")
    assert page.locator("#ir details").count() == 1
    page.select_option("#dialect", "dstc")
    page.select_option("#piece", "main")
    page.wait_for_selector("#ir .ln.off")
    assert page.locator("#ir .ln:not(.off)").filter(has_text="dstc_tile.launch").count() == 0


def test_from_onnx_node_to_instructions_and_back(page: Any) -> None:
    page.click("#tab-graph")
    page.locator(".node").filter(has_text="node_Conv_25").first.click()
    page.wait_for_selector("#trace .jump")
    heads = page.locator("#trace h2").all_inner_texts()
    assert [h.split("\n")[0].lower() for h in heads] == [
        "onnx nodes", "launches", "these instructions", "model", "dstc", "tile", "instructions",
    ]  # fmt: skip
    assert "cycles" in page.inner_text("#trace") and page.locator("#trace .stack i").count() > 3
    instruction = page.locator("#trace .jump").filter(has_text="dstc_isa.").first
    instruction.click()
    page.wait_for_selector("#ir .ln:focus")
    line = page.locator("#ir .ln:focus")
    assert "dstc_isa." in line.inner_text()
    line.press("Enter")
    page.wait_for_selector("#ir .ln.sel")
    page.wait_for_function(
        "[...document.querySelectorAll('#trace .chips button')].some("
        "(b) => b.textContent === 'node_Conv_25')"
    )
    # the kernel before it may encode for it, and then stands for both
    lines = page.locator("#trace .jump").filter(has_text="dstc.conv2d")
    model = lines.filter(has_text="node_Conv_25")
    assert model.count() == 1
    model.click()
    page.wait_for_selector("#ir .ln:focus")
    assert "node_Conv_25" in page.locator("#ir .ln:focus").inner_text()


def test_keyboard(page: Any) -> None:
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.get_attribute("#stage-2", "aria-selected") == "true"
    page.keyboard.press("k")
    assert page.get_attribute("#stage-1", "aria-selected") == "true"
    page.focus("#tab-ir")
    page.keyboard.press("ArrowRight")
    assert page.is_visible("#diff") and not page.is_visible("#ir")
    for key, view in {"g": "#graph", "r": "#rewrites", "i": "#ir"}.items():
        page.keyboard.press(key)
        page.wait_for_selector(f"{view}:not([hidden])")
    page.locator("#ir .ln").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector("#ir .ln.sel")
    page.keyboard.press("Escape")
    page.wait_for_selector("#ir .ln.sel", state="detached")
    page.keyboard.press("g")
    page.locator(".node").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".node.sel")


def test_rewrites_of_a_pass(page: Any) -> None:
    stage(page, "lower-conv").click()
    page.keyboard.press("r")
    page.wait_for_selector(".rewrite")
    first = page.locator(".rewrite").first
    assert "ConvToMatmul" in first.inner_text()
    assert "dstc.conv2d" in first.locator(".del").inner_text()
    assert "dstc.matmul" in first.locator(".add").inner_text()
