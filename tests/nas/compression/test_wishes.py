"""What options of `nas compress` mean, and what they are refused for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressors.low_rank.factoring import Factoring
from nas.compression.wishes import Asked, Wishes, read_format, read_limits, read_rank, read_ratio
from nas.errors import InputError


def wishes(**fields: object) -> Wishes:
    return Wishes(space={"base": "torchvision.resnet18"}, data={"source": "digits"}, **fields)  # type: ignore[arg-type]


def test_an_option_is_for_all_layers_for_one_or_a_list_of_choices() -> None:
    assert read_ratio(["0.5"]) == Asked((0.5,))
    assert read_ratio(["0,0.25", "0.5"]) == Asked((0.0, 0.25, 0.5))
    assert read_ratio(["layer1.0.conv1=0.25", "0.5"]) == Asked((0.5,), {"layer1.0.conv1": 0.25})
    assert read_format(["int8", "fc=fp32"]) == Asked(("int8",), {"fc": "fp32"})
    assert not read_rank([])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("16", {"method": "svd", "rank": 16}),
        ("0.5", {"method": "svd", "ratio": 0.5}),
        ("tucker:0.25", {"method": "tucker", "ratio": 0.25}),
        ("energy:0.9", {"method": "svd", "energy": 0.9}),
        ("spatial_svd:vbmf", {"method": "spatial_svd", "vbmf": True}),
        ("none", None),
    ],
)
def test_a_rank_is_a_number_a_share_an_energy_or_told_by_noise(text: str, expected: dict[str, object] | None) -> None:
    found = read_rank([text]).choices[0]
    assert found == (None if expected is None else Factoring.model_validate(expected))


@pytest.mark.parametrize("text", ["1.5", "-1", "0", "cp:energy:0.9", "tucker:", "energy:2", "nan", "svd"])
def test_what_is_no_rank_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InputError, match=r"^--rank: expected a rank, a share .*") as error:
        read_rank([text])
    assert "\n" not in str(error.value)
    assert repr(text) in str(error.value)


@pytest.mark.parametrize(
    ("read", "texts", "words"),
    [
        (read_ratio, ["1"], r"--ratio: expected the share of channels that go, 0 to 0.875, got '1'"),
        (read_ratio, ["half"], r"--ratio: .*got 'half'"),
        (read_ratio, ["a=0.5", "a=0.25"], r"--ratio: expected one value of a, got several"),
        (read_ratio, ["0.5,0.5"], r"--ratio: expected every choice once"),
        (read_format, ["int9"], r"--format: expected one of fp32, .*got 'int9'"),
        (read_limits, ["size_bytes"], r"--max: expected COST=NUMBER above 0, of parameters, .*got 'size_bytes'"),
        (read_limits, ["accuracy=1"], r"--max: .*got 'accuracy=1'"),
        (read_limits, ["coded_bytes=5"], r"--max: .*got 'coded_bytes=5'"),
        (read_limits, ["macs=-1"], r"--max: .*got 'macs=-1'"),
        (read_limits, ["macs=nan"], r"--max: .*got 'macs=nan'"),
        (read_limits, ["macs=inf"], r"--max: .*got 'macs=inf'"),
        (read_limits, ["macs=1", "macs=2"], r"--max: expected one limit of macs, got several"),
    ],
)
def test_what_is_no_value_is_refused(read, texts: list[str], words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=words):
        read(texts)


def test_limits_are_numbers_by_cost() -> None:
    assert read_limits(["size_bytes=2e5", "latency_ms=1.5"]) == {"size_bytes": 200000.0, "latency_ms": 1.5}


def test_choices_need_trials_and_single_layers_none() -> None:
    several = Asked((0.25, 0.5))
    assert wishes(ratio=several, trials=4).ratio == several
    with pytest.raises(InputError, match=r"--ratio: expected one value without --trials, got 2 choices"):
        wishes(ratio=several)
    with pytest.raises(InputError, match=r"--format: expected choices for all layers with --trials, got .* fc alone"):
        wishes(format=Asked((), {"fc": "fp32"}), trials=4)
    with pytest.raises(InputError, match=r"--importance: expected one of l1, l2.*got 'l3'"):
        wishes(importance="l3")


def test_a_plan_is_found_where_limits_are_given_and_no_ratio() -> None:
    limits = {"size_bytes": 1e5}
    assert wishes(limits=limits).finds_a_plan
    assert wishes(limits=limits, format=Asked(("int4",))).finds_a_plan
    assert wishes(limits=limits, ratio=Asked((), {"conv1": 0.0})).finds_a_plan
    assert not wishes(limits=limits, ratio=Asked((0.5,))).finds_a_plan
    assert not wishes(limits=limits, trials=4).finds_a_plan
    assert not wishes().finds_a_plan
    with pytest.raises(InputError, match=r"--max: finds a plan, which compression.low_rank is a part of; .* --rank"):
        wishes(limits=limits, overrides=["compression.low_rank={rank: 4}"])
    assert wishes(limits=limits, trials=4, overrides=["compression.low_rank={rank: 4}"])


@given(st.floats(0, 0.875), st.from_regex(r"[a-z][a-z0-9_.]{0,20}", fullmatch=True))
def test_a_ratio_is_read_as_it_is_written(ratio: float, layer: str) -> None:
    assert read_ratio([f"{layer}={ratio!r}"]).layers == {layer: ratio}
