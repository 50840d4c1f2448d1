"""Ray's job API: the request, where it goes, and what is said where it is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from jobs import JOB, LOCAL
from recorded import is_recorded

import nas
from nas.jobs.job import SubmitFailed
from nas.jobs.options import read_options
from nas.jobs.ray import RAY, RayOptions, request_of, request_text, send

RECORDED = Path(__file__).parent / "recorded"


def options(*given: str) -> RayOptions:
    return read_options(RayOptions, given)


def test_the_request_is_the_recorded_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas, "__version__", "1.2.3")
    text = request_text(JOB, options("driver=quiet", "pip=psycopg[binary], mlflow", "id=digits-1"))
    assert is_recorded(text, RECORDED / "ray.json")


def test_the_driver_stays_on_the_head_unless_a_resource_is_named() -> None:
    assert (
        not {"entrypoint_num_cpus", "entrypoint_num_gpus", "entrypoint_resources"} & request_of(JOB, options()).keys()
    )
    assert request_of(JOB, options("driver=quiet"))["entrypoint_resources"] == {"quiet": 1.0}


def test_the_packages_of_this_installation_can_be_sent_along() -> None:
    modules = request_of(JOB, options("code=upload"))["runtime_env"]["py_modules"]
    assert [Path(module).name for module in modules] == ["nas", "compressors", "search_spaces"]
    assert all((Path(module) / "__init__.py").exists() for module in modules)
    assert "py_modules" not in request_of(JOB, options())["runtime_env"]


def test_what_cannot_be_is_refused() -> None:
    assert list(RAY.refused(LOCAL, options())) == ["search.engine: expected ray with --to ray, got local"]
    (told,) = RAY.refused(JOB, options("address=head:8265"))
    assert told == "--set address: expected the dashboard as http://HOST:PORT, got 'head:8265'"
    assert not list(RAY.refused(replace(JOB, devices=("pi5",)), options("address=https://ray.example")))


def test_nobody_at_the_address_is_one_sentence() -> None:
    with pytest.raises(SubmitFailed, match=r"^http://127.0.0.1:9 did not take the job: .*connect") as error:
        send("http://127.0.0.1:9", {"entrypoint": "true"})
    assert "Traceback" not in str(error.value)
    assert json.dumps(str(error.value)).count("\\n") <= 1


Answer = tuple[int, Any] | None  # status and content; None hangs up
IS_RAY: Answer = (200, {"version": "4", "ray_version": "2.60.0", "ray_commit": "x", "session_name": "s"})
IS_TAKEN: Answer = (200, {"job_id": "7", "submission_id": "7"})


@contextmanager
def dashboard(version: Answer = IS_RAY, jobs: Answer = IS_TAKEN) -> Iterator[tuple[str, list[Any]]]:
    """A server that answers so to who asks for the version and to jobs: its address, and what jobs it was sent."""
    sent = list[Any]()

    class Dashboard(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._say(version)

        def do_POST(self) -> None:
            sent.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._say(jobs)

        def _say(self, answer: Answer) -> None:
            if answer is not None:
                self.send_response(answer[0])
                self.end_headers()
                self.wfile.write(json.dumps(answer[1]).encode())

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Dashboard) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", sent
        finally:
            server.shutdown()
            thread.join()


def test_the_address_that_is_named_goes_before_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's own client goes the other way round."""
    with dashboard() as (named, jobs), dashboard() as (by_variable, others):
        monkeypatch.setenv("RAY_ADDRESS", by_variable)
        told = RAY.submit(JOB, options(f"address={named}"))
        assert told == f"Submitted as 7. Follow it with:  ray job logs --address {named} --follow 7"
        assert [job["entrypoint"] for job in jobs] == [request_of(JOB, options())["entrypoint"]]
        assert others == []
        assert f"--address {by_variable} " in RAY.submit(JOB, options())
        assert len(others) == 1


@pytest.mark.parametrize(
    ("version", "jobs"),
    [(None, None), ((502, {}), None), ((200, {"other": 1}), None), (IS_RAY, None), (IS_RAY, (500, "Traceback"))],
)
def test_whatever_else_is_at_the_address_is_one_sentence(version: Answer, jobs: Answer) -> None:
    with dashboard(version, jobs) as (address, _):
        with pytest.raises(SubmitFailed, match=rf"^{address} did not take the job: ."):
            send(address, {"entrypoint": "true"})
