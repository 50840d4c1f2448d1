"""What a network's latency is made of: by hand for a small one, and invariances over random ones."""

from __future__ import annotations

import numpy as np
from candidates import draw_candidate, draws
from hypothesis import given, settings

from compressors.plan import CompressionPlan
from nas.candidates.candidate import Candidate
from nas.measuring.latency_terms import NETWORK, NOMINAL_NS, Work, work_of
from search_spaces.architecture import Architecture

CLASSES = 10


def small(**formats: str) -> Candidate:
    """Stem of 8 channels on 8x8, a residual block with skip, a strided inverted residual with hardswish, no head."""
    residual = {"kind": "residual", "kernel": 3, "expansion": 1}
    inverted = {"kernel": 5, "expansion": 2, "activation": "hardswish", "squeeze_excite": True}
    architecture = Architecture.model_validate(
        {
            "input_size": 8,
            "input_channels": 1,
            "stem": {"width": 8},
            "stages": [
                {"width": 8, "stride": 1, "blocks": [residual]},
                {"width": 24, "stride": 2, "blocks": [inverted]},
            ],
            "head": None,
        }
    )
    plan = CompressionPlan.model_validate({"formats": {name.replace("__", "."): fmt for name, fmt in formats.items()}})
    return Candidate(architecture=architecture, plan=plan)


def terms(work: Work) -> dict[str, float]:
    return {name: float(units) for name, units in zip(NOMINAL_NS, work.total, strict=True) if units}


def test_layers_are_counted_in_whole_vectors() -> None:
    found = terms(work_of(small(), CLASSES))
    assert found["conv/float/call"] == 3
    # 8 channels fill a vector of 16; the single input channel counts as four
    assert found["conv/float/products"] == 16 * 64 * 9 * (4 + 8 + 8)
    assert found["conv/float/narrow"] == 3
    assert found["conv/float/ragged"] == 3 * 8 * 64
    assert found["depthwise/float/products"] == 16 * 16 * 25  # 16 channels on 4x4
    assert found["depthwise/float/border"] == 16 * 4 * 4
    assert "depthwise/float/ragged" not in found
    assert found["pooled/float/call"] == 2
    assert found["pointwise/float/call"] == 2  # expand and project
    assert found[f"{NETWORK}/pixels"] == 64


def test_what_lies_around_the_layers_is_counted() -> None:
    found = terms(work_of(small(), CLASSES))
    assert found["added/float/float/call"] == 1
    assert found["added/float/float/elements"] == 8 * 64
    assert found["hardswish/float/call"] == 2  # behind expand on 8x8 and depthwise on 4x4, not behind the gate
    assert found["hardswish/float/elements"] == 16 * 64 + 16 * 16
    assert found["gate/float/elements"] == 16 * 16
    assert found["averaged/float/float/elements"] == 24 * 16
    assert found["cast/pixels/float/call"] == 1


def test_changes_of_format_are_counted_where_they_happen() -> None:
    found = terms(work_of(small(stage1__block1__conv1="int8", stage1__block1__conv2="int4"), CLASSES))
    assert found["cast/float/integer/elements"] == 8 * 64
    assert found["cast/integer/float/elements"] == 8 * 64
    assert found["added/float/integer/call"] == 1
    assert found["conv/integer/call"] == 2
    assert found["conv/float/call"] == 1


def test_integers_of_any_width_take_the_same() -> None:
    names = [layer.name.replace(".", "__") for layer in small().layers(CLASSES)]
    narrow, wide = (work_of(small(**dict.fromkeys(names, fmt)), CLASSES) for fmt in ("int2", "int8"))
    assert terms(narrow) == terms(wide)
    assert narrow.kernels == wide.kernels


@settings(max_examples=40, deadline=None)
@given(draws)
def test_every_layer_is_one_kernel_and_the_network_another(drawn: tuple[str, int, str]) -> None:
    candidate, _ = draw_candidate(*drawn)
    work = work_of(candidate, CLASSES)
    layers = candidate.layers(CLASSES)
    assert len(work.kernels) == len(layers) + 1
    found = terms(work)
    calls = sum(units for name, units in found.items() if name.split("/")[0] in {layer.kind for layer in layers})
    assert calls >= len(layers) - sum("squeeze_excite" in layer.name for layer in layers)
    assert np.isfinite(work.values).all()
    assert (work.values > 0).all()
    assert work.rows.max() == len(layers)


@settings(max_examples=40, deadline=None)
@given(draws)
def test_nominal_time_grows_with_every_kept_channel(drawn: tuple[str, int, str]) -> None:
    candidate, _ = draw_candidate(*drawn)
    nominal = np.array(list(NOMINAL_NS.values()))
    plan = candidate.plan.model_copy(update={"kept": {}})
    unpruned = candidate.model_copy(update={"plan": plan})
    vectors = [name for name in NOMINAL_NS if not name.endswith(("ragged", "narrow"))]
    smooth = np.array([name in vectors for name in NOMINAL_NS])
    pruned_ns, full_ns = (work_of(c, CLASSES).total[smooth] @ nominal[smooth] for c in (candidate, unpruned))
    assert pruned_ns <= full_ns + 1e-6
