"""The pages name files and commands that exist, and the README names every package."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from integral_pose.cli.main import build_parser

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "integral_pose"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]


def missing(page: Path) -> list[str]:
    """Links, and paths of source files in backticks, that lead nowhere."""
    text = page.read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    paths = re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.(?:cpp|json|md|py|sbatch|sh|yaml))`", text)
    dead = [p for p in paths if not any((root / p).exists() for root in (ROOT, PACKAGE, ROOT / "docs"))]
    dead += [p for p in re.findall(r"(?<![`\w/])configs/[\w/]+\.yaml", text) if not (ROOT / p).exists()]
    dead = [p for p in dead if "NAME" not in p and p != "configs/mine.yaml"]  # which the reader is to write
    return [link for link in links if not (page.parent / link).exists()] + dead


def unknown_commands(text: str) -> list[str]:
    """Commands in the code of a page that the command line does not have, with a word or an option it lacks."""
    lines = re.findall(r"^integral-pose ([^#\n]+)", text, re.MULTILINE) + re.findall(r"`integral-pose ([^`]+)`", text)
    return [line.strip() for line in lines if not is_known(line)]


def is_known(line: str) -> bool:
    parser = build_parser()
    for word in re.split(r"[\s|]+", line):
        nested = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        if not nested:
            break
        if word not in nested[0].choices:
            return word.isupper()  # SOURCE stands for any
        parser = nested[0].choices[word]
    options = re.findall(r"(?<![\w-])--[a-z][a-z-]*", line)
    return all(option in parser._option_string_actions for option in options)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page):
    assert missing(page) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_a_page_exist(page):
    assert unknown_commands(page.read_text("utf-8")) == []


def test_unknown_commands_and_options_are_found():
    text = "integral-pose train a.yaml --allow-change\nintegral-pose tune x\n`integral-pose bench step --rouns 3`"
    assert unknown_commands(text) == ["tune x", "bench step --rouns 3"]


def test_a_dead_link_and_a_dead_path_are_found(tmp_path):
    (tmp_path / "page.md").write_text(
        "[a](page.md#x) [b](none.md) `losses/none.py` `geometry/crop.py` `x.h5`\n./run_train.sh configs/none.yaml"
    )
    assert missing(tmp_path / "page.md") == ["none.md", "losses/none.py", "configs/none.yaml"]


def test_the_readme_names_every_package_and_folder():
    readme = (ROOT / "README.md").read_text("utf-8")
    packages = {f"{init.parent.name}/" for init in PACKAGE.glob("*/__init__.py")}
    modules = {module.name for module in PACKAGE.glob("*.py") if not module.name.startswith("__")}
    folders = {"configs/", "docs/", "scripts/", "tests/"} | {f"{folder.name}/" for folder in ROOT.glob("benchmarks")}
    assert {name for name in packages | modules | folders if f"`{name}`" not in readme} == set()
