"""The command line called in this process, from a folder of its own."""

from __future__ import annotations

import sys

import pytest

from alphaloom.app import cli


@pytest.fixture
def alphaloom(monkeypatch, capsys, tmp_path):
    """Call it with arguments: the exit code, what went to stdout, what went to stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["alphaloom", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.run_app()
        told = capsys.readouterr()
        return left.value.code, told.out, told.err

    return call
