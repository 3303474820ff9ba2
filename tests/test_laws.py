"""The rules of CONTRIBUTING.md, read off the imports."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import integral_pose

PACKAGE = Path(integral_pose.__file__).parent
TREES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): ast.parse(path.read_text())
    for path in sorted(PACKAGE.rglob("*.py"))
}
CONTRIBUTING = PACKAGE.parent / "CONTRIBUTING.md"
SHARED = {"contracts", "errors", "skeleton"}  # every package may import them
ENTRY = {"__init__", "__main__", "bench", "cli", "experiment", "predict"}  # may read configurations anywhere
EVERYTHING = "everything"


def import_table() -> dict[str, set[str]]:
    """Package -> packages that it may import, as CONTRIBUTING prints it under 'may import'."""
    rows = re.findall(r"^\| (`[a-z_/`  ]+) \| (.+?) \|$", CONTRIBUTING.read_text("utf-8"), re.MULTILINE)
    table = {}
    for packages, imported in rows:
        for package in re.findall(r"`(\w+)/?`", packages):
            table[package] = {EVERYTHING} if imported == EVERYTHING else set(re.findall(r"`(\w+)/?`", imported))
    return table


# module -> what it may import inside a function: commands that must not wait, and packages heavy and optional
LAZY = {
    "__init__": {"integral_pose.predict"},
    "cli.bench_commands": {"integral_pose"},
    "cli.predict_command": {"integral_pose"},
    "cli.prepare": {"integral_pose"},
    "cli.score_commands": {"integral_pose"},
    "cli.train_commands": {"integral_pose"},
    "cli.weights_commands": {"integral_pose"},
    "data.augmentation": {"cv2", "imgaug"},
    "data.device_augmentation": {"integral_pose.data.triton_pixels"},
    "bench.gpu_check": {"torch", "integral_pose"},  # each part imports its own, and one may lack a package
    # Labels are read without torch.
    "contracts": {"torch"},
    "geometry.coordinates": {"torch", "integral_pose.geometry.lifting", "integral_pose.geometry.constants_on_device"},
    "io.notices": {"tqdm"},  # without a progress bar
    "io.skeleton_file": {"integral_pose.config.strict_yaml"},  # and without a reader of YAML
    "synthetic.people.image_filters": {"cv2"},
    "synthetic.people.stage": {"embreex"},  # of the extra `people`
    "heatmaps.volume": {"integral_pose.heatmaps.backends.triton_volume"},
}


def imports(tree: ast.AST) -> Iterator[str]:
    """Full names of imported modules; `from a import b` gives a.b, since b may be one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that they can be read"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms(tree: ast.AST) -> set[str]:
    return {name.split(".")[1] for name in imports(tree) if name.startswith("integral_pose.")}


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_the_package_was_found():
    assert {"cli.main", "losses.criterion", "data.course", "models.pose_net", "training.trainer"} <= TREES.keys()
    assert {"contracts", "geometry", "heatmaps", "config"} <= rooms(TREES["losses.criterion"])


def test_the_table_has_every_package_and_no_other():
    assert import_table().keys() | SHARED == {module.split(".")[0] for module in TREES} - {"__init__", "__main__"}


def test_only_the_named_modules_lie_at_the_top():
    assert {module for module in TREES if "." not in module} == {*SHARED, "__init__", "__main__"}


@pytest.mark.parametrize("module", TREES)
def test_packages_import_what_the_table_allows(module):
    package = module.split(".")[0]
    allowed = import_table().get(package, set() if package in SHARED else {EVERYTHING})
    if EVERYTHING not in allowed:
        assert rooms(TREES[module]) - SHARED - {package, "__version__"} <= allowed


def test_the_table_has_no_cycle():
    order = graphlib.TopologicalSorter({package: found - {EVERYTHING} for package, found in import_table().items()})
    order.prepare()  # raises CycleError


@pytest.mark.parametrize("module", TREES)
def test_config_stops_at_the_door(module):
    tree = TREES[module]
    if module.split(".")[0] in ENTRY:
        return
    if module.split(".")[0] in {"config", "weights"}:  # a model file describes its network by a configuration
        return
    if "integral_pose.config.schema" in "\n".join(imports(tree)):
        named = [function.name for function in functions(tree)] + [name.split(".")[-1] for name in imports(tree)]
        assert any(name.startswith("build_") for name in named)
    assert "integral_pose.config.loading" not in "\n".join(imports(tree))
    for function in functions(tree):
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        annotations = " ".join(ast.unparse(argument.annotation) for argument in arguments if argument.annotation)
        if "Config" in annotations:
            assert function.name.startswith("build_"), f"{function.name} takes a configuration"
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            fields = [child for child in node.body if isinstance(child, ast.AnnAssign)]
            assert not any("Config" in ast.unparse(field.annotation) for field in fields), node.name


@pytest.mark.parametrize("module", TREES)
def test_no_import_is_lazy_but_the_listed(module):
    lazy = {name for function in functions(TREES[module]) for name in imports(function)}
    allowed = LAZY.get(module, set())
    assert not {name for name in lazy if not any(name == a or name.startswith(f"{a}.") for a in allowed)}


@pytest.mark.parametrize("module", TREES)
def test_modules_only_define(module):
    for node in TREES[module].body:
        line = f"line {node.lineno}: {ast.unparse(node)[:80]}"
        if isinstance(node, ast.If):
            assert ast.unparse(node.test) in ("TYPE_CHECKING", "__name__ == '__main__'"), line
        elif isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant):
            assert ast.unparse(node).startswith("_Loader.add_implicit_resolver("), line
        else:
            assert not isinstance(node, ast.For | ast.While | ast.With | ast.Delete | ast.Assert), line


def run(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=cwd)


def test_imports_do_nothing(tmp_path):
    """All at once: no file, thread, child, print or change of the environment or of a global generator."""
    modules = [f"integral_pose.{name}".removesuffix(".__init__") for name in TREES if name != "__main__"]
    code = f"""
import importlib, multiprocessing, os, random, threading
import numpy, torch
# torch's own compiler notes the place of its cache when it is imported
environment = lambda: {{k: v for k, v in os.environ.items() if k != 'TORCHINDUCTOR_CACHE_DIR'}}
before = environment(), random.getstate(), torch.get_rng_state(), numpy.random.get_state()[1].tolist()
for name in {modules!r}:
    importlib.import_module(name)
assert environment() == before[0]
assert random.getstate() == before[1]
assert torch.equal(torch.get_rng_state(), before[2])
assert numpy.random.get_state()[1].tolist() == before[3]
assert threading.active_count() == 1, threading.enumerate()
assert not multiprocessing.active_children()
assert torch.get_default_dtype() == torch.float32
"""
    done = run(code, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


HEAVY = {"torch", "torchvision", "matplotlib", "plotly", "tensorboard", "cv2", "imgaug"}


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--help"], 0), (["train", "--help"], 0), (["config", "tiny.yaml"], 0),
        (["train", "tiny.yaml", "nonsense=1"], 2),
        (["train", "none.yaml"], 2), (["score", "none.csv", "--truth", "none.h5"], 3),
    ],
)  # fmt: skip
def test_help_configuration_and_scores_wait_for_nothing_heavy(arguments, status, tiny_yaml):
    code = f"""
import sys
from integral_pose.cli.main import main
try:
    status = main({arguments!r})
except SystemExit as done:
    status = done.code
print(sorted({HEAVY!r} & sys.modules.keys()), status, file=sys.stderr)
"""
    done = run(code, tiny_yaml.parent)
    assert done.stderr.splitlines()[-1] == f"[] {status}"
