"""Messages of an actor: in order, none lost with an answer that did not arrive, and a poll that wakes up."""

from __future__ import annotations

import threading
import time

from hypothesis import given
from hypothesis import strategies as st

from nas.executors.ray.mailbox import Mailbox


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=20))
def test_a_reader_that_loses_answers_gets_each_message_once(script: list[tuple[int, bool]]) -> None:
    """Some are put, then it polls; where the answer is lost on its way it asks for the same again."""
    box, heard, put = Mailbox(), list[int](), 0
    for count, arrives in script:
        for _ in range(count):
            box.put(number=put)
            put += 1
        answer = [message["number"] for message in box.after(len(heard), 0.0)]
        assert answer == list(range(len(heard), put))
        if arrives:
            heard += answer
    assert heard == list(range(len(heard)))


def test_a_poll_wakes_up_with_the_first_message() -> None:
    box = Mailbox()
    threading.Timer(0.1, lambda: box.put(done=1)).start()
    began = time.monotonic()
    assert box.after(0, 30.0) == [{"done": 1}]
    assert time.monotonic() - began < 20


def test_a_poll_ends_without_a_message() -> None:
    assert Mailbox().after(0, 0.01) == []
