"""The application: command line, configuration, catalogue; the only room that knows clocks and terminals."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """The `alphaloom` command."""
    from alphaloom.app.cli import run_app

    run_app()
