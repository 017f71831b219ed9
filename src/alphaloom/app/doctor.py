"""`alphaloom doctor`: what this installation can do, what is missing, and how to get it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Symptom", "examine"]

_BASE = [
    "numpy",
    "scipy",
    "pandas",
    "polars",
    "pyarrow",
    "numba",
    "scikit-learn",
    "threadpoolctl",
    "cloudpickle",
    "lightgbm",
    "cvxpy-base",
    "clarabel",
    "osqp",
    "highspy",
    "exchange_calendars",
    "plotly",
    "pydantic",
    "typer",
    "rich",
]
_EXTRAS = {
    "deep": (("torch", "safetensors"), "neural systems"),
    "rl": (("gymnasium", "stable-baselines3", "statsmodels"), "trading agents' environment, experts and ARIMA"),
    "portfolio": (("skfolio",), "comparing our optimisers with another library's"),
    "ray": (("ray",), "work on a Ray cluster"),
    "vendors": (("yfinance", "ccxt"), "downloading prices from vendors"),
}
_MODULES = {"scikit-learn": "sklearn", "cvxpy-base": "cvxpy", "stable-baselines3": "stable_baselines3"}


@dataclass(frozen=True)
class Symptom:
    """One line of the examination: "ok", "missing" (optional) or "broken" (needed), and the way out."""

    state: str
    subject: str
    detail: str
    fix: str = ""


def examine(directory: Path) -> list[Symptom]:
    """Look at the interpreter, the libraries, the kernel cache, memory and the disk under `directory`."""
    symptoms = [_python(), *(_library(name) for name in _BASE)]
    for extra, (names, purpose) in _EXTRAS.items():
        absent = [name for name in names if _version(name) is None]
        if absent:
            fix = f"pip install 'alphaloom[{extra}]'"
            symptoms.append(Symptom("missing", f"extra {extra}", f"{', '.join(absent)}: needed for {purpose}", fix))
        else:
            versions = ", ".join(f"{name} {_version(name)}" for name in names)
            symptoms.append(Symptom("ok", f"extra {extra}", versions))
    return [*symptoms, _kernel_cache(), _disk(directory), _processors()]


def _python() -> Symptom:
    return Symptom("ok", "python", f"{platform.python_version()} at {sys.executable}")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _library(name: str) -> Symptom:
    version = _version(name)
    if version is None:
        return Symptom("broken", name, "not installed", f"pip install {name}")
    try:
        found = importlib.util.find_spec(_MODULES.get(name, name)) is not None
    except (ImportError, ValueError):
        found = False
    if not found:
        return Symptom(
            "broken", name, f"{version} is installed but cannot be found", f"pip install --force-reinstall {name}"
        )
    return Symptom("ok", name, version)


def _kernel_cache() -> Symptom:
    """Compiled kernels are kept beside the package, or in the user's cache folder where that is read-only."""
    package = Path(__file__).resolve().parents[1]
    asked = os.environ.get("NUMBA_CACHE_DIR")
    if asked:
        ready = os.access(asked, os.W_OK)
        return Symptom(
            "ok" if ready else "broken", "kernel cache", asked, "" if ready else "make NUMBA_CACHE_DIR writable"
        )
    if os.access(package, os.W_OK):
        return Symptom("ok", "kernel cache", "kept beside the package")
    return Symptom("ok", "kernel cache", "the package folder is read-only: kept in the user's cache folder")


def _disk(directory: Path) -> Symptom:
    try:
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as fault:
        return Symptom("broken", "disk", f"{directory}: {fault.strerror}", "run in a directory that you may write")
    free = shutil.disk_usage(directory).free / 2**30
    state = "ok" if free > 2 else "broken"
    return Symptom(state, "disk", f"{free:.0f} GiB free", "" if free > 2 else "free at least 2 GiB")


def _processors() -> Symptom:
    return Symptom("ok", "processors", f"{os.cpu_count()} ({platform.machine()})")
