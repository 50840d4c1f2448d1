"""What Ray says of a dead actor, recorded, and what a user is told of it."""

from __future__ import annotations

import pytest

from nas.executors.ray.deaths import Death, death_of

KILLED = """The actor died unexpectedly before finishing this task.
\tclass_name: TrialActor
\tactor_id: 4eb097b2ca4f8fa4ae966ef801000000
\tpid: 4711
\tnamespace: 8c2f0c1e-3a10-4f3e-8a50-b1f3f7ad5a30
\tip: 10.0.0.2
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker \
unexpectedly exits with a connection error code 2. End of file. There are some potential root causes. (1) The process \
is killed by SIGKILL by OOM killer due to high memory usage. (2) ray stop --force is called."""
NODE = """The actor died unexpectedly before finishing this task.
\tclass_name: TrialActor
The actor died because its node has died. Node Id: 2da24dca63b02933b78db7139cd8ddc91b2bbaace11991c6a28ebccd
\tthe actor's node was terminated unexpectedly: health check failed due to missing too many heartbeats"""
MONITOR = """The actor died unexpectedly before finishing this task.
Task was killed due to the node running low on memory.
Memory on the node (IP: 10.0.0.2) was 60.1GB / 62.8GB (0.957), which exceeds the memory usage threshold of 0.95."""
LOST = """Failed to retrieve object c2668a65bda616c1ffffffffffffffffffffffff0100000001000000.
All copies of c2668a65bda616c1ffffffffffffffffffffffff0100000001000000 have been lost due to node failure."""
INIT = """The actor died because of an error raised in its creation task, \x1b[36mray::TrialActor.__init__()\x1b[39m
  File "/x/actor.py", line 3, in __init__
ModuleNotFoundError: No module named 'nas'"""


@pytest.mark.parametrize(
    ("text", "death"),
    [
        (KILLED, Death("worker on pc/2da24dca ended without a word: it was killed, or a library crashed", True)),
        (NODE, Death("the node pc/2da24dca of its worker is gone", False)),
        (LOST, Death("the node pc/2da24dca of its worker is gone", False)),
        (MONITOR, Death("worker on pc/2da24dca killed by Ray, because its node was running out of memory", True)),
        (INIT, Death("worker on pc/2da24dca died: ModuleNotFoundError: No module named 'nas'", True)),
        ("", Death("worker on pc/2da24dca died: no reason was told", True)),
    ],
)
def test_words_and_blame(text: str, death: Death) -> None:
    assert death_of(text, node="pc/2da24dca") == death


def test_a_node_that_left_the_list_is_to_blame_whatever_ray_says() -> None:
    assert death_of(KILLED, node="pc/1", node_is_gone=True) == Death("the node pc/1 of its worker is gone", False)
    assert death_of(INIT, node="").reason == "worker died: ModuleNotFoundError: No module named 'nas'"
