"""A job of a running Ray cluster, through its job API: the driver runs on the head, trials where there is room.

With `RAY_AUTH_MODE=token` in the environment every request carries Ray's token (RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or
~/.ray/auth_token). https://docs.ray.io/en/latest/cluster/running-applications/job-submission/
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

import nas
from nas.jobs.job import Backend, Job, SubmitFailed, on_ray
from nas.jobs.options import Line, Lines, NotNegative, Options
from nas.jobs.shell import run_with_study
from nas.study import Study

PACKAGES = ("nas", "compressors", "search_spaces")
HERE = "http://127.0.0.1:8265"
ADDRESSES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")  # variables that say where Ray is, the first before the second


class RayOptions(Options):
    """Options of `nas submit --to ray`."""

    address: Line | None = Field(
        None,
        description="The cluster's dashboard, http://HOST:PORT; by default what RAY_API_SERVER_ADDRESS or RAY_ADDRESS "
        f"says, else {HERE}.",
    )
    runs: Line = Field(
        "~/runs", description="Folder of run folders on the machine of the driver; this study's is runs/<study name>."
    )
    code: Literal["installed", "upload"] = Field(
        "installed",
        description="How compact-nas gets there. installed: it is there; upload: that of this machine is sent along, "
        "its dependencies are there.",
    )
    pip: Lines = Field((), description="Packages that Ray installs for the job, comma-separated.")
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")] | None = Field(
        None, description="The job's id, of letters, digits and _.-; Ray's own by default."
    )
    driver: Line | None = Field(
        None,
        description="Custom resource of the node where the driver runs, which also measures; by default the head.",
    )
    notice_seconds: NotNegative = Field(
        120, description="What `ray job stop` leaves the driver to save what runs before it is killed."
    )


def request_of(job: Job, options: RayOptions) -> dict[str, Any]:
    """The arguments of `JobSubmissionClient.submit_job`; without packages to send, the body of a POST to /api/jobs/."""
    runtime: dict[str, Any] = {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(options.notice_seconds)}}
    if options.pip:
        runtime["pip"] = list(options.pip)
    if options.code == "upload":
        root = Path(nas.__file__).parents[1]
        runtime["py_modules"] = [str(root / package) for package in PACKAGES]
    request: dict[str, Any] = {
        "entrypoint": "set -e\n" + run_with_study(job, options.runs),
        "runtime_env": runtime,
        "metadata": {"study": job.name, "compact-nas": nas.__version__},
    }
    if options.id:
        request["submission_id"] = options.id
    if options.driver:
        request["entrypoint_resources"] = {options.driver: 1.0}
    return request


def request_text(job: Job, options: RayOptions) -> str:
    """The request as JSON."""
    return json.dumps(request_of(job, options), indent=2, ensure_ascii=False) + "\n"


def _settings(study: Study, options: RayOptions) -> Sequence[str]:
    return [*on_ray(study), "search.ray.address=auto"]


def _refused(job: Job, options: RayOptions) -> Iterator[str]:
    if job.engine != "ray":
        yield f"search.engine: expected ray with --to ray, got {job.engine}"
    if options.address is not None and not options.address.startswith(("http://", "https://")):
        yield f"--set address: expected the dashboard as http://HOST:PORT, got {options.address!r}"


def _submit(job: Job, options: RayOptions) -> str:
    address = options.address or next(filter(None, map(os.environ.get, ADDRESSES)), HERE)
    found = send(address, request_of(job, options))
    return f"Submitted as {found}. Follow it with:  ray job logs --address {address} --follow {found}"


def send(address: str, request: Mapping[str, Any]) -> str:
    """Submit a request to the job API at `address`; returns the job's id. Raises SubmitFailed."""
    try:
        from ray.exceptions import RayError
        from ray.job_submission import JobSubmissionClient
    except ImportError:
        raise SubmitFailed("--to ray needs Ray's client: pip install 'compact-nas[jobs]'") from None
    try:
        with _nowhere_else():
            return str(JobSubmissionClient(address).submit_job(**request))
    # OSError: no connection, or one that broke; KeyError: somebody else answers; RuntimeError: an answer other than
    # 200; RayError: a token that is missing or wrong.
    except (OSError, KeyError, RuntimeError, ValueError, RayError) as error:
        raise SubmitFailed(f"{address} did not take the job: {_first_words(error)}") from None


@contextmanager
def _nowhere_else() -> Iterator[None]:
    """Without the variables by which Ray's client goes before any address that it is given."""
    held = {name: os.environ.pop(name) for name in ADDRESSES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(held)


def _first_words(error: Exception) -> str:
    """What an error says first, without advice and a server's traceback."""
    words = str(error).partition("Traceback (most recent call last)")[0].partition("\n\n")[0]
    return words.strip(" :\n") or type(error).__name__


RAY = Backend(RayOptions, _settings, _refused, request_text, _submit)
