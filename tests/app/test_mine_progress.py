"""What a terminal shows while a search runs: a heading for every column, nothing wider than it, and Ctrl-C heard."""

from __future__ import annotations

import io
import os
import select
import sys
import time

import numpy as np
import pytest

from alphaloom.app.mine_progress import View, state_of, watching
from alphaloom.factors.grammar import Grammar
from alphaloom.market import Market
from alphaloom.mining import Budget, Pool, RandomSearch, Session
from alphaloom.signal import forward_returns

SEARCH = """
name = "watched"
horizon = 3

[data]
kind = "embedded"
days = 420
assets = 24

[grammar]
windows = [3, 5]
max_tokens = 8
max_lookback = 20

[miner]
kind = "random_search"
batch = 8
keep_every = 40

[budget]
evaluations = 1000000
seconds = 120.0
"""


@pytest.fixture
def session(make_panel):
    panel = make_panel(160, 20, seed=2)
    grammar, ticks = Grammar(windows=(5, 10), max_tokens=9, max_lookback=60), iter(range(100_000))
    return Session(
        panel,
        forward_returns(panel, Market(), horizon=3),
        grammar=grammar,
        pool=Pool(12),
        budget=Budget(400, seconds=4000.0),
        start_row=60,
        clock=lambda: 0.25 * next(ticks),
    )


def lines_of(session: Session, width: int) -> list[str]:
    from rich.console import Console

    console = Console(width=width, file=io.StringIO())
    console.print(state_of(session))
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 120])
def test_a_search_is_drawn_in_the_width_that_there_is(session, width):
    empty = lines_of(session, width)
    assert "0 of 400 evaluations" in empty[0]
    session.budget = Budget(100, seconds=4000.0)
    RandomSearch(batch=8).mine(session)
    session.budget = Budget(400, seconds=4000.0)
    lines = lines_of(session, width)
    assert max(map(len, lines)) <= width
    assert f"IC of the pool {session.pool.ic:+.4f}" in lines[0]
    assert "100 of 400 evaluations" in lines[0]
    assert "/s" in lines[0]
    assert "gone" in lines[1]
    assert "left" in lines[1]
    assert lines[2].split() == ["weight", "IC", "formula"]
    strongest = session.pool.alphas[int(np.argmax(np.abs(session.pool.weights)))]
    assert str(strongest.expr)[:40] in lines[3]
    assert len(lines) == 3 + 8 + 1
    assert f"{session.counts['duplicate']} duplicates" in lines[-1]


def test_a_view_says_what_is_done_beside_the_search(session):
    class Screen:
        shown = None

        def update(self, drawn):
            self.shown = drawn

    screen = Screen()
    view = View(screen)
    view.tell("reading the data")
    assert "reading the data" in str(screen.shown.renderables[-1])
    view.show(session)
    view.tell("validation", 0, 1)
    assert "validation" in str(screen.shown.renderables[-1])
    view.tell("validation", 1, 1)
    assert len(screen.shown.renderables) == 1


def test_where_no_terminal_is_nothing_is_drawn(session, capsys):
    with watching() as view:
        view.tell("reading the data")
        view.show(session)
    assert capsys.readouterr() == ("", "")


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal needs a POSIX system")
def test_ctrl_c_in_a_terminal_ends_with_130_and_leaves_a_checkpoint(tmp_path):
    import pty
    import subprocess

    (tmp_path / "watched.toml").write_text(SEARCH)
    ours, theirs = pty.openpty()
    # The child makes the pseudo-terminal its own, as a shell would: that is where Ctrl-C comes from.
    start = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); from alphaloom.app import main; main()"
    command = [sys.executable, "-c", start, "mine", "run", "watched.toml"]
    command += ["--out", "run"]
    terms = os.environ | {"TERM": "xterm", "COLUMNS": "80", "OMP_NUM_THREADS": "1"}
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    child = subprocess.Popen(command, cwd=tmp_path, env=terms, start_new_session=True, **streams)
    os.close(theirs)
    seen, begun, pressed = b"", time.monotonic(), False
    try:
        while time.monotonic() - begun < 100:
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    piece = os.read(ours, 65536)
                except OSError:
                    break
                if not piece:
                    break
                seen += piece
            if not pressed and b"weight" in seen and (tmp_path / "run/search/checkpoint.json").is_file():
                os.write(ours, b"\x03")
                pressed = True
        assert child.wait(timeout=20) == 130, seen[-2000:]
    finally:
        child.kill()
        child.wait()
        os.close(ours)
    assert b"goes on from there" in seen
    assert b"Traceback" not in seen
