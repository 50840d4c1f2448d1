"""The process that the agent has measure: it may crash, hang or outgrow its memory, and is replaced when it does.

In comes a line of JSON, {"what", "target", "bytes"}, and behind it that many bytes of a file; out goes a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

from nas import __version__
from nas.errors import CandidateFailed
from nas.machine import GIGABYTE, die_with, ran_out_of_memory
from nas.measuring.agent.exchange import FINGERPRINT, Outcome, target_text
from nas.measuring.latency import PROTOCOL, measure
from nas.registry import RUNTIMES
from nas.runtimes.runtime import Runtime, RuntimeRefused, missing, runtime_of
from nas.study.targets import Target

MOST_BATCH_BYTES = 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agent", type=int, required=True, help="process to die with")
    parser.add_argument("--gigabytes", type=float, required=True, help="private memory at most; 0 is no limit")
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the agent decides what signals mean
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    die_with(arguments.agent)
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever a library prints must not look like an answer
    for name in RUNTIMES:  # the modules, not their engines: what is imported later counts as a file's memory
        assert RUNTIMES[name]
    _limit(arguments.gigabytes)
    serve(sys.stdin.buffer, answers)


def _limit(gigabytes: float) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if gigabytes:
        limit = int(gigabytes * GIGABYTE)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def serve(questions: IO[bytes], answers: IO[bytes]) -> None:
    """Answer until the questions end. Says {"ready": pid} first."""
    _say(answers, {"ready": os.getpid()})
    while line := questions.readline():
        asked = json.loads(line)
        content = questions.read(asked["bytes"])
        if len(content) < asked["bytes"]:
            return  # the agent is gone
        _say(answers, answer(asked, content))


def _say(answers: IO[bytes], said: Mapping[str, Any]) -> None:
    answers.write(json.dumps(said).encode() + b"\n")


def answer(asked: Mapping[str, Any], content: bytes) -> dict[str, Any]:
    """What was asked for, or an Outcome and its reason; with it, what it is about."""
    try:
        target = Target.model_validate_json(asked["target"])
    except ValidationError as error:
        first = error.errors()[0]
        return {Outcome.WRONG: f"target.{'.'.join(map(str, first['loc']))}: {first['msg']}"}
    if problems := missing([target]):
        return {Outcome.WRONG: problems[0].partition(": ")[2]}
    about = {"target": json.loads(target_text(target)), "sha256": sha256(content).hexdigest(), "version": __version__}
    if asked["what"] == FINGERPRINT:
        fingerprint = runtime_of(target).fingerprint(target).model_dump(mode="json")
        return about | {"fingerprint": fingerprint, "protocol": PROTOCOL}
    return about | _measured(runtime_of(target), target, content)


def _measured(runtime: Runtime, target: Target, content: bytes) -> dict[str, Any]:
    try:
        runtime.refuse_unsafe(content)
        if _batch_bytes(runtime, content, target) > MOST_BATCH_BYTES:
            return {Outcome.WRONG: f"target.batch: expected images of {MOST_BATCH_BYTES} bytes at most, got more"}
        latency = measure(content, target).model_copy(
            update={"integer_layers": _integer_layers(runtime, target, content)}
        )
        return {"latency": latency.model_dump(mode="json")}
    except (CandidateFailed, MemoryError, RuntimeError) as error:
        if not isinstance(error, RuntimeRefused) and not ran_out_of_memory(error):
            raise
        return {Outcome.REFUSED: "out of memory" if ran_out_of_memory(error) else str(error)}


def _integer_layers(runtime: Runtime, target: Target, content: bytes) -> tuple[str, ...]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / runtime.file_name
        file.write_bytes(content)
        return tuple(sorted(runtime.integer_layers(file, target)))


def _batch_bytes(runtime: Runtime, content: bytes, target: Target) -> int:
    channels, height, width = runtime.open(content, target).input_shape()
    return 4 * target.batch * channels * height * width


if __name__ == "__main__":
    main()
