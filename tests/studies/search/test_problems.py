"""The problems of the search benchmark: what is exact there, and by which rule a network is one network."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.search.draws import RandomTrial
from search_spaces.trials import Replay

Import = Callable[[str], ModuleType]
TABLE = Path(os.environ.get("COMPACT_NAS_DATA", "")) / "nasbench201_acc_latency.csv.gz"
CELLS = list(itertools.product(range(5), repeat=6))


def paths_through(cell: tuple[int, ...], edges: tuple[tuple[int, int], ...]) -> list[list[int]]:
    """Every path from node 0 to 3, as edge indices."""
    routes = [[(0, 3)], [(0, 1), (1, 3)], [(0, 2), (2, 3)], [(0, 1), (1, 2), (2, 3)]]
    indexed = [[edges.index(edge) for edge in route] for route in routes]
    return [route for route in indexed if all(cell[edge] for edge in route)]


def test_an_edge_lives_where_a_path_uses_it(module: Import) -> None:
    graph = module("cell_graph")
    for cell in CELLS[::7]:
        alive = {edge for path in paths_through(cell, graph.EDGES) for edge in path}
        assert graph.without_dead(cell) == tuple(kind if edge in alive else 0 for edge, kind in enumerate(cell))


def test_a_cell_is_described_by_its_paths(module: Import) -> None:
    """Three 3x3 in a row, and a skip beside them: 0 or 3 layers deep, 0 or 6 pixels wider."""
    graph = module("cell_graph")
    cell = tuple({(0, 1): 3, (1, 2): 3, (2, 3): 3, (0, 3): 1}.get(edge, 0) for edge in graph.EDGES)
    found = graph.describe(cell)
    assert found[:4] == [1, 0, 3, 0]
    assert found[4:11] == [3, 0, 1.5, 6, 0, 0, math.log(2)]
    following = np.square(found[11:]).reshape(4, 4)
    assert following[2, 2] == pytest.approx(2)  # a 3x3 follows a 3x3 twice
    assert (following[0, 2], following[2, 0], following[0, 0]) == (1, 1, 1)  # first, last, and the skip around


def test_dead_layers_do_not_change_a_description(module: Import) -> None:
    graph = module("cell_graph")
    for cell in CELLS[::11]:
        assert graph.describe(cell) == graph.describe(graph.without_dead(cell))


def test_the_name_of_a_cell_is_read(module: Import) -> None:
    graph = module("cell_graph")
    name = "|avg_pool_3x3~0|+|none~0|skip_connect~1|+|nor_conv_1x1~0|nor_conv_3x3~1|none~2|"
    assert graph.parse(name) == (4, 0, 1, 2, 3, 0)


@pytest.mark.skipif(not TABLE.exists(), reason="COMPACT_NAS_DATA has no nasbench201_acc_latency.csv.gz")
def test_all_cells_together_have_the_whole_hypervolume(module: Import) -> None:
    cells = module("cells")
    problem = cells.Cells(cells.read_table(TABLE), "pi5")
    names = [
        dict(zip(cells.GENES, combination, strict=True))
        for combination in itertools.product(cells.OPERATIONS, repeat=6)
    ]
    assert problem.shares(names) == pytest.approx({"clean": 1, "plain": 1})
    useful = [params for params in names if not problem.is_wasteful(params, with_latency=True)]
    assert problem.shares(useful)["clean"] == pytest.approx(1)
    assert len(useful) < len(names)
    decoded = [params for params in names if not problem.is_wasteful(params, with_latency=False)]
    assert problem.shares(decoded)["clean"] > 0.9999


@given(seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_a_joint_network_is_the_same_from_its_params(module: Import, seed: int) -> None:
    """What is drawn answers again to itself; costs are those of the layers, by hand."""
    blocks = module("blocks")
    trial = RandomTrial(np.random.default_rng(seed))
    params = blocks.draw(trial)
    assert blocks.draw(Replay(params)) == params == trial.values
    layers = blocks.layers(params)
    assert len(layers) == 3 * sum(params[f"s{stage}.depth"] for stage in range(4))
    size, latency = blocks.costs(layers)
    assert size == pytest.approx(sum(layer.weights * layer.bits / 8 for layer in layers))
    assert latency > 50 + 2 * len(layers)


def test_fewer_bits_cost_less_and_err_more(module: Import) -> None:
    for space in module("blocks").joint_spaces().values():
        blocks = module("blocks")
        params = blocks.draw(RandomTrial(np.random.default_rng(0)))
        fine, coarse = ({gene: bits if "bits" in gene else value for gene, value in params.items()} for bits in (16, 2))
        assert space.exact(coarse)[0] == pytest.approx(space.exact(fine)[0] / 8)
        assert space.exact(coarse)[1] < space.exact(fine)[1]
        assert space.error(coarse) > space.error(fine)


def test_training_noise_is_in_values_and_not_in_volumes(module: Import) -> None:
    blocks = module("blocks")
    space = blocks.joint_spaces()["joint-pairs"]
    params = blocks.draw(RandomTrial(np.random.default_rng(0)))
    random = np.random.default_rng(1)
    errors = [space.values(params, random)[0] for _ in range(400)]
    assert np.std(errors) == pytest.approx(blocks.NOISE, rel=0.15)
    assert np.mean(errors) == pytest.approx(space.error(params), abs=4 * blocks.NOISE / 20)


def test_both_joint_spaces_have_80_genes_and_different_interactions(module: Import) -> None:
    blocks = module("blocks")
    assert len(blocks.GENES) == 80
    params = blocks.draw(RandomTrial(np.random.default_rng(0)))
    smooth, pairs = blocks.joint_spaces().values()
    assert smooth.exact(params) == pairs.exact(params)
    assert smooth.error(params) != pairs.error(params)
    assert smooth.features(params, with_latency=True) == pairs.features(params, with_latency=False)


def test_a_latency_is_learned_from_what_was_measured(module: Import) -> None:
    """In a joint space it is nearly a sum over kinds of work; before a few networks nothing is said."""
    blocks, by_trials = module("blocks"), module("latency_by_trials")
    space = blocks.joint_spaces()["joint-smooth"]
    random = np.random.default_rng(0)
    drawn = [blocks.draw(RandomTrial(random)) for _ in range(60)]
    latency = by_trials.LatencyByTrials(space.work)
    assert latency.predict(drawn[0]) is None
    for count, params in enumerate(drawn[:30], 1):
        latency.tell(params, space.exact(params)[-1])
        assert latency.version == count
    for params in drawn[30:]:
        mean, sd = latency.predict(params)
        assert mean == pytest.approx(space.exact(params)[-1], rel=0.01)
        assert sd == pytest.approx(by_trials.LEAST_SD * mean)
