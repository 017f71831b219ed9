"""A journal can be added to and never changed, and it outlives the process that wrote it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaloom.errors import DataError
from alphaloom.production import Journal
from alphaloom.production.journal import read_journal


def test_a_line_that_is_changed_into_itself_is_the_same(tmp_path):
    path = tmp_path / "j"
    written(path)
    for line in path.read_bytes().splitlines(keepends=True):
        assert change(line) == resealed(line) == line


def written(path, count=5):
    with Journal(path) as journal:
        for number in range(count):
            journal.append("note", {"number": number, "price": 0.1 * number, "text": "a\nb"})
        return journal.head


def bodies(path):
    return [record.body["number"] for record in read_journal(path)]


def test_what_is_written_is_read_again(tmp_path):
    path = tmp_path / "j"
    head = written(path)
    records = read_journal(path)
    assert [record.seq for record in records] == [0, 1, 2, 3, 4]
    assert records[3].body["price"] == 0.1 * 3
    assert all(record.previous == before.hash for before, record in pairwise(records))
    with Journal(path) as journal:
        assert journal.head == head
        journal.extend([("note", {"number": 5}), ("note", {"number": 6})])
        assert journal.verify(head) == 7
    assert bodies(path) == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_an_incomplete_last_line_is_dropped_and_nothing_else(tmp_path, cut):
    path = tmp_path / "j"
    written(path)
    content = path.read_bytes()
    path.write_bytes(content[:-cut])
    assert bodies(path) == [0, 1, 2, 3]
    with Journal(path) as journal:
        journal.append("note", {"number": 40})
    assert bodies(path) == [0, 1, 2, 3, 40]
    assert read_journal(path)[-1].seq == 4


def test_a_long_incomplete_line_does_not_outlast_a_short_new_one(tmp_path):
    path = tmp_path / "j"
    written(path)
    with path.open("ab") as file:
        file.write(b'{"hash":"' + b"0" * 10_000)
    with Journal(path) as journal:
        journal.append("note", {"number": 5})
        assert journal.verify(journal.head) == 6
    assert path.read_bytes().endswith(b"\n"), "what was incomplete is gone from the disk"
    assert bodies(path) == [0, 1, 2, 3, 4, 5]


def change(line, **parts):
    """The line with other parts, in the very form of a record."""
    facts = {**json.loads(line), **parts}
    seal = {"hash": facts.pop("hash")}
    texts = [json.dumps(part, sort_keys=True, separators=(",", ":")) for part in (seal, facts)]
    return (texts[0][:-1] + "," + texts[1][1:] + "\n").encode()


def resealed(line, **parts):
    """The line with other parts and a hash that fits them, which only the next record can give away."""
    facts = {**json.loads(line), **parts}
    del facts["hash"]
    text = json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()
    return change(line, **parts, hash=hashlib.sha256(text).hexdigest())


TAMPERING = {
    "a body": lambda lines: [*lines[:2], change(lines[2], body={"number": 9}), *lines[3:]],
    "the last body": lambda lines: [*lines[:4], change(lines[4], body={"number": 9})],
    "a kind": lambda lines: [*lines[:2], change(lines[2], kind="other"), *lines[3:]],
    "a hash": lambda lines: [*lines[:2], change(lines[2], hash="0" * 64), *lines[3:]],
    "a link": lambda lines: [*lines[:2], change(lines[2], previous="0" * 64), *lines[3:]],
    "one record less": lambda lines: [*lines[:2], *lines[3:]],
    "the first record less": lambda lines: lines[1:],
    "two records swapped": lambda lines: [*lines[:2], lines[3], lines[2], lines[4]],
    "a record twice": lambda lines: [*lines[:3], *lines[2:]],
    "an empty line": lambda lines: [*lines[:2], b"\n", *lines[2:]],
    "spaces": lambda lines: [*lines[:2], lines[2].replace(b":", b": ", 1), *lines[3:]],
    "a record sealed anew": lambda lines: [*lines[:1], resealed(lines[1], body={"number": 9}), *lines[2:]],
    "another number sealed anew": lambda lines: [*lines[:2], resealed(lines[2], seq=7), *lines[3:]],
    "no JSON": lambda lines: [*lines[:2], b"oops\n", *lines[3:]],
    "another type": lambda lines: [*lines[:2], b"[1]\n", *lines[3:]],
}


@pytest.mark.parametrize("how", TAMPERING)
def test_tampering_is_an_error_that_names_the_record(tmp_path, how):
    path = tmp_path / "j"
    written(path)
    path.write_bytes(b"".join(TAMPERING[how](path.read_bytes().splitlines(keepends=True))))
    content = path.read_bytes()
    where = {"the last body": 4, "the first record less": 0, "a record twice": 3}.get(how, 2)
    with pytest.raises(DataError, match=rf"record {where} \(line {where + 1}\).*way out"):
        Journal(path)
    assert path.read_bytes() == content, "a broken file is left as it is"


@settings(max_examples=60, deadline=None, derandomize=True)
@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_bit_can_change_unseen(tmp_path_factory, at, bit):
    path = tmp_path_factory.mktemp("j") / "j"
    written(path)
    content = bytearray(path.read_bytes())
    at %= len(content) - 1
    content[at] ^= 1 << bit
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="sealed"):
        read_journal(path)


def test_an_end_that_was_cut_off_is_found_by_a_head_kept_elsewhere(tmp_path):
    path = tmp_path / "j"
    head = written(path)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    with Journal(path) as journal:
        assert journal.verify() == 4
        with pytest.raises(DataError, match="every record that it ever held"):
            journal.verify(head)


def test_one_writer_at_a_time_and_a_killed_one_holds_nothing(tmp_path):
    path = tmp_path / "j"
    code = (
        "import os, signal, sys; from pathlib import Path; from alphaloom.production import Journal\n"
        "journal = Journal(Path(sys.argv[1])); journal.append('note', {'number': 0})\n"
        "print('ready', flush=True); sys.stdin.read(1); os.kill(os.getpid(), signal.SIGKILL)"
    )
    worker = subprocess.Popen([sys.executable, "-c", code, path], stdin=-1, stdout=-1, text=True)
    assert worker.stdout.readline() == "ready\n"
    with pytest.raises(DataError, match="one writer"):
        Journal(path)
    assert bodies(path) == [0], "reading needs no lock"
    worker.communicate("x")
    assert worker.returncode == -9
    with Journal(path) as journal:
        with pytest.raises(DataError, match="one writer"):
            Journal(path)
        journal.append("note", {"number": 1})
    assert bodies(path) == [0, 1]


def test_a_full_disk_adds_nothing_and_breaks_nothing(tmp_path, monkeypatch):
    path = tmp_path / "j"
    plain = os.write

    def full(handle, content):
        plain(handle, bytes(content)[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    with Journal(path) as journal:
        journal.append("note", {"number": 0})
        monkeypatch.setattr("alphaloom.production.journal.os.write", full)
        with pytest.raises(DataError, match="No space left"):
            journal.append("note", {"number": 1})
        monkeypatch.setattr("alphaloom.production.journal.os.write", plain)
        journal.append("note", {"number": 2})
    assert bodies(path) == [0, 2]


def test_only_plain_values_are_sealed(tmp_path):
    with Journal(tmp_path / "j") as journal:
        for body in ({"price": float("nan")}, {"path": tmp_path}):
            with pytest.raises(DataError, match="plain values"):
                journal.append("note", body)
        assert len(journal) == 0
