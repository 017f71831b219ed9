"""A day job that is killed: it lives through a panel's days in a child process that dies by SIGKILL, again and again.

Called as a script: FOLDER KILLS SEED. The children are forked from this process, which never opens a journal, so all
that one knows about the one before it stands on the disk. Where a child dies is drawn: at the n-th write, before,
within or after it, at the n-th flush, or at any moment of its work.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
from rough_world import ROUGH, Restless, rough_panel

import alphaloom.production.journal as journal_module
from alphaloom.backtest import order_shares
from alphaloom.production import Desk, PaperBroker
from alphaloom.production.orders import order_list
from alphaloom.production.reconcile import catch_up

START, LENGTH = 20, 60
POLICY = Restless(gross=1.4, short=True)


def live(folder: Path, panel) -> None:
    """Every day that is not done yet, as a day job does it; calling it again goes on or changes nothing."""
    with PaperBroker.open(folder / "broker.jsonl", ROUGH) as broker, Desk.open(folder / "desk.jsonl") as desk:
        first = START if broker.now is None else int(np.searchsorted(panel.times, broker.now))
        for row in range(first, len(panel)):
            view = panel[: row + 1]
            catch_up(desk, broker, view)
            book = broker.book(view)
            shares = order_shares(POLICY.decide(view, book), book, view, ROUGH)
            desk.intend(order_list("run", view.times[-1], assets=view.assets, shares=shares))
            desk.send(broker)
        desk.reconcile(broker)


class FatalDisk:
    """Stands in for the system calls of the journal, and kills the process at one of them."""

    def __init__(self, random) -> None:
        self.left = int(random.integers(1, 30))
        self.how = str(random.choice(["before", "within", "after", "flush", "between"]))
        self.share = float(random.random())

    def write(self, handle, content):
        self.left -= 1
        if self.left == 0 and self.how == "before":
            die()
        if self.left == 0 and self.how == "within":
            os.write(handle, bytes(content)[: int(len(content) * self.share)])
            die()
        done = os.write(handle, content)
        if self.left == 0 and self.how == "after":
            die()
        return done

    def fsync(self, handle):
        if self.left <= 0 and self.how == "flush":
            die()
        os.fsync(handle)
        if self.left <= 0 and self.how == "between":
            die()

    def __getattr__(self, name):
        return getattr(os, name)


def die():
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def one_child(folder: Path, panel, random, *, spare: bool) -> bool:
    """Let one child live; True when it was killed, False when it came to the end."""
    disk, by_time, moment = FatalDisk(random), random.random() < 0.3, float(random.uniform(0.001, 0.08))
    child = os.fork()
    if child == 0:
        if not spare and not by_time:
            journal_module.os = disk
        live(folder, panel)
        os._exit(0)
    if by_time and not spare:
        time.sleep(moment)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit("a child failed")
    return False


def main() -> None:
    folder, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    random, panel = np.random.default_rng(seed), rough_panel(T=LENGTH)
    live(folder / "whole", panel)  # also compiles what the children need
    killed, lives = 0, 0
    while killed < kills:
        while one_child(folder / f"life_{lives}", panel, random, spare=killed >= kills):
            killed += 1
        lives += 1
    sys.stdout.write(json.dumps({"killed": killed, "lives": lives}))


if __name__ == "__main__":
    main()
