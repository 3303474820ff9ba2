"""`python -m benchmarks breaks`: do the tests notice when the code is wrong? Small changes, one at a time.

A break, drawn by a seed, changes one expression: another comparison, another operation, a number, an `and`, a `not`, a
branch, or a call that is left out. It is written to a copy of the tree, and the tests of its package, then all others
that name its module, then those of the command line, run there until the first that fails. What survives is a test that
is missing, or a change that changes nothing.
"""

import argparse
import ast
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

PACKAGE = Path("integral_pose")
LEFT_OUT = {"bench"}  # what measures and is not shipped to be right
COPIED = (
    "integral_pose", "benchmarks", "tests", "configs", "docs", "scripts", "pyproject.toml", "README.md",
    "CONTRIBUTING.md", "CHANGELOG.md", "requirements.lock", "run_train.sh", "run_test.sh", ".ci", ".gitignore",
)  # fmt: skip
SECONDS = 240  # for the tests of one break; a test that then still runs has noticed

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPERATIONS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Mod: ast.Mult,
}  # fmt: skip


@dataclass(frozen=True)
class Break:
    """One change: the text of `node` in `path` becomes `becomes`."""

    path: Path
    line: int
    was: str
    becomes: str
    start: int  # offsets in the file, bytes
    end: int

    def apply(self, root: Path) -> None:
        """Write it to the tree below `root`."""
        source = (root / self.path).read_bytes()
        (root / self.path).write_bytes(source[: self.start] + self.becomes.encode() + source[self.end :])

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.was} -> {self.becomes}"


def breaks(options: argparse.Namespace) -> None:
    """Draw, apply and test each; a line for each at once, a table of the survivors at the end."""
    chosen = draw_breaks(options.number, options.seed, options.packages)
    survivors = []
    for each in tqdm(chosen, desc="breaks", unit="break", disable=not sys.stderr.isatty()):
        noticed = noticed_by(each)
        print(f"{each}\n    {noticed or 'SURVIVED'}", flush=True)
        if noticed is None:
            survivors.append(each)
    print(f"\n{len(chosen)} breaks, {len(survivors)} survived")
    print("\n".join(map(str, survivors)))


def draw_breaks(number: int, seed: int, packages: list[str] | None = None) -> list[Break]:
    """`number` different places: a package, in it a file, in it a place, each with equal chance."""
    generator = random.Random(seed)
    folders = sorted(
        path for path in PACKAGE.iterdir() if (path / "__init__.py").exists() and path.name not in LEFT_OUT
    )
    folders = [folder for folder in folders if not packages or folder.name in packages]
    found: dict[tuple[Path, int], Break] = {}
    while len(found) < number:
        path = generator.choice(sorted(generator.choice(folders).rglob("*.py")))
        places = list(places_of(path))
        if places:
            each = generator.choice(places)
            found[each.path, each.start] = each
    return list(found.values())


def places_of(path: Path) -> Iterator[Break]:
    """All that can be changed in a file; annotations and docstrings are not code that runs."""
    source = path.read_text("utf-8")
    starts = [0]
    for line in source.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    tree = ast.parse(source)
    annotations = {
        id(inner) for node in ast.walk(tree) for annotation in _annotations(node) for inner in ast.walk(annotation)
    }
    for node in ast.walk(tree):
        changed = None if id(node) in annotations else _changed(node)
        if changed is not None and isinstance(node, (ast.expr, ast.stmt)):
            start = starts[node.lineno - 1] + node.col_offset
            end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
            was = source.encode()[start:end].decode()
            yield Break(path, node.lineno, was, f"({changed})" if isinstance(node, ast.expr) else changed, start, end)


def noticed_by(each: Break) -> str | None:
    """The test that fails with it, or None."""
    with tempfile.TemporaryDirectory(prefix="breaks-") as folder:
        root = Path(folder)
        for name in COPIED:
            source = Path(name)
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, root / name)
        each.apply(root)
        for tests in _tests_of(each.path):
            if tests and (failed := _first_failure(root, tests)):
                shutil.copy2(each.path, root / each.path)
                if _first_failure(root, [failed]):
                    return f"undecided: {failed} fails without it too"
                return failed
    return None


def _annotations(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.AnnAssign):
        return [node.annotation]
    if isinstance(node, ast.arg):
        return [node.annotation] if node.annotation else []
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return [node.returns] if node.returns else []
    return []


def _changed(node: ast.AST) -> str | None:
    """The text of the node with one change; None where there is none to make."""
    match node:
        case ast.Compare(ops=[operation]) if type(operation) in COMPARISONS:
            return ast.unparse(ast.Compare(node.left, [COMPARISONS[type(operation)]()], node.comparators))
        case ast.BinOp(op=operation) if type(operation) in OPERATIONS:
            return ast.unparse(ast.BinOp(node.left, OPERATIONS[type(operation)](), node.right))
        case ast.BoolOp(op=operation):
            other = ast.Or() if isinstance(operation, ast.And) else ast.And()
            return ast.unparse(ast.BoolOp(other, node.values))
        case ast.UnaryOp(op=ast.Not()):
            return ast.unparse(node.operand)
        case ast.Constant(value=bool(value)):
            return str(not value)
        case ast.Constant(value=int(value)):
            return str(value + 1)
        case ast.Constant(value=float(value)):
            return repr(value * 2 + 1)
        case ast.Expr(value=ast.Call()):
            return "pass"
    return None


def _tests_of(path: Path) -> tuple[list[str], list[str], list[str]]:
    """Those of the package, the others that name the module, and those of the command line."""
    package, module = path.parts[1], ".".join(path.with_suffix("").parts)
    own = Path("tests") / package
    others = [
        str(test)
        for test in sorted(Path("tests").rglob("test_*.py"))
        if own not in test.parents and module in test.read_text("utf-8")
    ]
    return ([str(own)] if own.exists() else []), others, ["tests/cli"]


def _first_failure(root: Path, tests: list[str]) -> str | None:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n0", "-p", "no:cacheprovider", "--no-header",
               "-m", "not slow", *tests]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        run = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return tests[0]
    if run.returncode in (0, 5):  # 5: no test was collected
        return None
    found = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", run.stdout, re.M)
    return found[1] if found else tests[0]
