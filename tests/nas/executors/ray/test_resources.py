"""How many trials the nodes have room for, against packing by hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nas.executors.ray.resources import room_for, words_of


@given(
    st.sampled_from([0.1, 0.25, 0.5, 1.0, 2.0, 3.0]),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 2)), max_size=4),
)
def test_room_is_what_packing_one_after_the_other_comes_to(
    cpus: float, gpus: float, nodes: list[tuple[int, int]]
) -> None:
    count = 0
    for cores, cards in nodes:
        left = [round(cores * 10_000), round(cards * 10_000)]
        while left[0] >= round(cpus * 10_000) and left[1] >= round(gpus * 10_000):
            left = [left[0] - round(cpus * 10_000), left[1] - round(gpus * 10_000)]
            count += 1
    assert room_for({"CPU": cpus, "GPU": gpus}, [{"CPU": float(c), "GPU": float(g)} for c, g in nodes]) == count


def test_a_trial_lies_on_one_node() -> None:
    assert room_for({"CPU": 2.0}, [{"CPU": 3.0}, {"CPU": 3.0}, {"pi5": 1.0}]) == 2
    assert room_for({"CPU": 1.0, "fast": 1.0}, [{"CPU": 8.0}, {"CPU": 8.0, "fast": 2.0}]) == 2


def test_words_leave_out_what_ray_keeps_for_itself() -> None:
    node = {"CPU": 4.0, "memory": 1e9, "object_store_memory": 1e9, "node:10.0.0.1": 1.0, "pi5": 1.0}
    assert words_of(node) == "CPU 4, pi5 1"
    assert words_of({}) == "none"
