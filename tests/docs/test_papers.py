"""All papers: links lead somewhere, the README stays short, and the map shows what is there."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, page

PAPERS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "deploy/README.md", ROOT / "grafana/README.md"]
)
README_LINES_MAX = 120


def anchors(text: str) -> set[str]:
    """What the headings of a page are called in links."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(paper: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", paper.read_text()):
        path, _, anchor = link.partition("#")
        if "://" in path:
            continue
        target = (paper.parent / path).resolve() if path else paper
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= README_LINES_MAX
    assert [path.name for path in (ROOT / "docs").glob("*.md") if f"(docs/{path.name})" not in text] == []


def test_the_map_shows_what_is_there() -> None:
    named = re.findall(r"`([\w/]+(?:/|\.py|\.lua))`", page("map.md"))
    assert named
    missing = {path for path in named if not any((ROOT / where / path).exists() for where in ("dispatcher", "."))}
    assert missing == set()
