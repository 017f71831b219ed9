"""The rules of the house that linters do not know."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "alphaloom"
FILES = sorted(SOURCE.rglob("*.py"))
ROOMS = sorted(path.parent.name for path in SOURCE.glob("*/__init__.py"))
THEMES = {  # rooms with more than twelve things to offer keep them in public modules, one for each theme
    "factors": {
        *("canonical", "chain", "chunks", "explain", "grammar", "options", "risk", "search", "stream", "style"),
        "torch_backend",
    },
    "forecast": {"augmentation", "baselines", "correction", "directional", "neural", "sharing"},
    "portfolio": {"covariance", "exits", "optimise", "problem"},
    "study": {"arena", "controls", "directions", "mining", "serving", "skill"},
    "backtest": {"books", "resume"},
    "agents": {
        *("a2c", "accounts", "baselines3", "dqn", "dqn_drift", "environment", "observation", "policy", "signals"),
        *("simulator", "trading"),
    },
    "nn": {"checkpoint", "losses", "torch_state"},
    "mining": {
        *("alpha2", "combiners", "forecaster", "identity", "islands", "learner", "mined_files", "pool", "programs"),
        *("riskminer", "scaling", "session"),
    },
}
FORBIDDEN_NAMES = {
    "utils",
    "util",
    "helpers",
    "helper",
    "common",
    "misc",
    "core",
    "base",
    "manager",
    "handler",
    "tools",
}


def named(path: Path) -> str:
    return str(path.relative_to(SOURCE))


@pytest.mark.parametrize("path", FILES, ids=named)
def test_a_file_stays_below_the_wall(path):
    assert len(path.read_text().splitlines()) <= 500
    assert path.stem not in FORBIDDEN_NAMES


def functions(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


@pytest.mark.parametrize("path", FILES, ids=named)
def test_functions_fit_a_screen(path):
    kernels = path.name.endswith("kernels.py") or path.name in ("ledger.py", "cli.py")
    for node in functions(path):
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        assert length <= (140 if kernels else 75), f"{node.name} has {length} lines"
        if not kernels:
            count = len(node.args.posonlyargs) + len(node.args.args)
            assert count <= 8, f"{node.name} takes {count} positional arguments"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_a_door_of_at_most_twelve_names(room):
    module = importlib.import_module(f"alphaloom.{room}")
    assert len(module.__all__) <= 12
    for name in module.__all__:
        assert getattr(module, name) is not None


@pytest.mark.parametrize("path", FILES, ids=named)
def test_rooms_are_entered_by_their_doors(path):
    room = path.relative_to(SOURCE).parts[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("alphaloom."):
            parts = node.module.split(".")
            public = parts[1] == "metrics" or parts[-1] in THEMES.get(parts[1], set())
            assert len(parts) == 2 or parts[1] == room or public, f"line {node.lineno}: {node.module}"


@pytest.mark.parametrize("path", FILES, ids=named)
def test_every_module_says_what_it_is_and_what_it_offers(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "a module starts with a docstring"
    assigned = [t.id for n in tree.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)]
    assert "__all__" in assigned or path.name.startswith("_")


def test_nothing_is_pickled_and_nothing_reads_the_clock_below_the_application():
    for path in FILES:
        text = path.read_text()
        assert not re.search(r"\bimport (pickle|cPickle|dill|joblib)\b", text), path
        if not named(path).startswith("app"):
            assert not re.search(r"datetime\.now|time\.time\(|np\.random\.seed|random\.seed\(", text), path


def test_the_public_functions_are_documented():
    for path in FILES:
        tree = ast.parse(path.read_text())
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{named(path)}: {node.name}"


@pytest.mark.parametrize("module", ["alphaloom", "alphaloom.app"])
def test_the_doors_open_without_heavy_libraries(module):
    heavy = "numba pandas polars scipy sklearn lightgbm pyarrow plotly exchange_calendars torch pydantic"
    code = f"import sys, {module}; print([n for n in {heavy.split()!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
