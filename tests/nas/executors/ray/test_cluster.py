"""What an answered poll brought, with a Ray that answers as a test says."""

from __future__ import annotations

import pytest
import ray

from nas.executors.ray.cluster import Cluster
from nas.executors.ray.deaths import Death
from nas.executors.ray.mailbox import Message

LOST = ray.exceptions.ObjectLostError("c2668a65bda616c1ffffffffffffffffffffffff0100000001000000", None, "")


def answering(answer: list[Message] | Exception, monkeypatch: pytest.MonkeyPatch, *nodes: str) -> Cluster:
    def get(_: object) -> list[Message]:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(ray, "get", get)
    monkeypatch.setattr(Cluster, "nodes", lambda _: {name: {} for name in nodes})
    return Cluster("127.0.0.1:1", "one", False, {})


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ([{"notice": "hot"}], [{"notice": "hot"}]),
        (ray.exceptions.ActorUnavailableError("busy", None), None),
    ],
)
def test_messages_and_an_actor_out_of_reach(
    answer: list[Message] | Exception, expected: list[Message] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert answering(answer, monkeypatch, "one").messages(None, node="pc/1", node_id="one") == expected


def test_what_went_with_its_node_is_not_held_against_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """An actor, and an answer that was on its way, though Ray may not have noticed yet that the node is gone."""
    gone, died = Death("the node pc/1 of its worker is gone", False), ray.exceptions.ActorDiedError()
    assert answering(died, monkeypatch).messages(None, node="pc/1", node_id="one") == gone
    assert answering(LOST, monkeypatch, "one").messages(None, node="pc/1", node_id="one") == gone
    there = answering(died, monkeypatch, "one").messages(None, node="pc/1", node_id="one")
    assert isinstance(there, Death)
    assert there.blamed
