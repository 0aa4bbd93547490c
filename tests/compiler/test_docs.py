"""The pages of docs/: generated parts are up to date, examples run, links lead somewhere."""

import re
from pathlib import Path

import pytest
from dstc.compiler.docs import PAGES
from dstc.compiler.pipelines import PIPELINES
from dstc.passes.registry import PASSES

DOCS = Path(__file__).parents[2] / "docs"
FILES = sorted(DOCS.glob("*.md"))


@pytest.mark.parametrize("page", PAGES)
def test_generated_pages_are_up_to_date(page: str) -> None:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    assert text == PAGES[page](), f"docs/{page}.md is stale: `make docs`"


def test_all_passes_and_pipelines_are_described() -> None:
    text = PAGES["passes"]()
    for name in PASSES:
        assert f"\n## {name}\n" in text
    for name in PIPELINES:
        assert f"\n**{name}**\n" in text


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_examples_run(file: Path) -> None:
    for code in re.findall(r"```python\n(import .*?)```", file.read_text(), re.DOTALL):
        exec(compile(code, file.name, "exec"), {})


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_links_lead_somewhere(file: Path) -> None:
    text = re.sub(r"```.*?```", "", file.read_text(), flags=re.DOTALL)
    missing = [
        target
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text)
        if "://" not in target and not (DOCS / target).exists()
    ]
    assert not missing


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    assert [f.name for f in FILES if f.name != "README.md" and f"({f.name})" not in index] == []
