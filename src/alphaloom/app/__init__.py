"""The application: command line, configuration, catalogue; the only room that knows clocks and terminals."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """The `alphaloom` command."""
    try:
        from alphaloom.app.cli import run_app

        run_app()
    except KeyboardInterrupt:  # before the command line is ready to say more
        raise SystemExit(130) from None
