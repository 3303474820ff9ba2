"""The pages name files that exist, and the README names every package."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "integral_pose"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]


def missing(page: Path) -> list[str]:
    """Links, and paths of source files in backticks, that lead nowhere."""
    text = page.read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    paths = re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.(?:cpp|json|md|py|sbatch|sh|yaml))`", text)
    dead = [p for p in paths if not any((root / p).exists() for root in (ROOT, PACKAGE, ROOT / "docs"))]
    return [link for link in links if not (page.parent / link).exists()] + [p for p in dead if "NAME" not in p]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page):
    assert missing(page) == []


def test_a_dead_link_and_a_dead_path_are_found(tmp_path):
    (tmp_path / "page.md").write_text("[a](page.md#x) [b](none.md) `losses/none.py` `geometry/crop.py` `x.h5`")
    assert missing(tmp_path / "page.md") == ["none.md", "losses/none.py"]


def test_the_readme_names_every_package_and_folder():
    readme = (ROOT / "README.md").read_text("utf-8")
    packages = {f"{init.parent.name}/" for init in PACKAGE.glob("*/__init__.py")}
    modules = {module.name for module in PACKAGE.glob("*.py") if not module.name.startswith("__")}
    folders = {"configs/", "docs/", "scripts/", "tests/"} | {f"{folder.name}/" for folder in ROOT.glob("benchmarks")}
    assert {name for name in packages | modules | folders if f"`{name}`" not in readme} == set()
