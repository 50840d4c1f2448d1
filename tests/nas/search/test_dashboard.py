"""optuna-dashboard shows a run: from its journal as it is, and from the database that mirrors it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from by_hand import drive, make_study
from ports import free_port
from postgres import PASSWORD, Server, on_postgres

from nas.run_folder.paths import RunFolder
from nas.search.mirror import Mirror, open_database
from nas.search.search import Search
from nas.study.storage_url import driver_url

pytest.importorskip("optuna_dashboard", reason="optuna-dashboard: pip install 'compact-nas[dashboard]'")


@contextmanager
def dashboard(storage: str, **environment: str) -> Iterator[str]:
    """Its address, once it answers; it ends with the test."""
    port = free_port()
    command = ["-c", "from optuna_dashboard._cli import main; main()", storage, "--port", str(port), "--quiet"]
    process = subprocess.Popen(
        [sys.executable, *command, "--server", "wsgiref"], env={**os.environ, **environment}, stderr=subprocess.PIPE
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def studies_at(address: str, seconds: float = 30) -> dict[str, list[str]]:
    """Names and directions of the studies that its page lists."""
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"{address}/api/studies") as answer:
                found = json.load(answer)["study_summaries"]
        except OSError:
            assert time.monotonic() < end, "the dashboard does not answer"
            time.sleep(0.05)
            continue
        return {study["study_name"]: study["directions"] for study in found}


@pytest.fixture
def searched(folder: RunFolder) -> RunFolder:
    drive(Search(make_study(trials=3, sampler="random"), folder))
    return folder


EXPECTED = {"t": ["maximize", "minimize", "minimize"]}


def test_it_opens_the_journal_and_leaves_it_as_it_is(searched: RunFolder) -> None:
    before = searched.journal.read_bytes()
    with dashboard(str(searched.journal)) as address:
        assert studies_at(address) == EXPECTED
        with urllib.request.urlopen(f"{address}/api/studies/0") as answer:
            assert [trial["state"] for trial in json.load(answer)["trials"]] == ["Complete"] * 3
    assert searched.journal.read_bytes() == before


@on_postgres
def test_it_opens_the_database(searched: RunFolder, server: Server) -> None:
    mirror = Mirror(searched.journal, lambda: open_database(server.socket_url), pytest.fail)
    mirror.start()
    mirror.close()
    with dashboard(driver_url(server.url), PGPASSWORD=PASSWORD) as address:
        assert studies_at(address).items() >= EXPECTED.items()
