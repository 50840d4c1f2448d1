"""Masks as a step: which weights go, by which ranking, and that they never come back."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from compressors.evidence import Evidence
from compressors.folding import fold_batch_norm
from compressors.masking.layers import Held, hold, mask_of, masked_layers
from compressors.masking.scores import sensitivities
from compressors.masking.step import MASKING
from compressors.pipeline import Options, compress
from compressors.plan import CompressionPlan
from compressors.quantization import calibrate, prepare
from compressors.quantization.modules import QuantizedLayer
from compressors.quantization.normed import fold_norms, freeze_norms
from compressors.requests.masked import Amount, Mask
from compressors.support import Unsupported

torch.set_num_threads(1)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 3, 3, groups=3), nn.Flatten()]
    found = nn.Sequential(*layers, nn.Linear(27, 4))
    for norm in found.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.weight.data = torch.linspace(-1.5, 1.5, 6)  # negative factors as well
            norm.running_var.uniform_(0.5, 2)
    return found.eval()


def examples() -> list[tuple[Tensor, Tensor]]:
    random = torch.Generator().manual_seed(1)
    return [(torch.rand(8, 2, 7, 7, generator=random), torch.randint(0, 4, (8,), generator=random)) for _ in range(3)]


def images() -> list[Tensor]:
    return [batch for batch, _ in examples()]


def masked(*, ratio: float = 0.6, options: Options | None = None) -> nn.Module:
    record = Mask(dict.fromkeys(("0", "3", "5"), Amount(ratio=ratio)))
    return MASKING.apply(network(), record, options or Options())


def test_every_layer_loses_its_share_as_in_torch() -> None:
    found, expected = masked(), network()
    for name in ("0", "3", "5"):
        layer = expected.get_submodule(name)
        prune.l1_unstructured(layer, "weight", amount=0.6)
        assert torch.equal(found.get_submodule(name).weight, layer.weight)
        assert torch.equal(mask_of(found.get_submodule(name)), layer.weight_mask.bool())


def test_a_budget_of_the_network_comes_down_to_numbers_as_in_torch() -> None:
    options, expected = Options(), network()
    record = MASKING.resolve(network(), Mask({"network": Amount(ratio=0.4)}), options)
    found = MASKING.apply(network(), record, options)
    layers = [(expected.get_submodule(name), "weight") for name in ("0", "3", "5")]
    prune.global_unstructured(layers, prune.L1Unstructured, amount=0.4)
    for name, (layer, _) in zip(("0", "3", "5"), layers, strict=True):
        assert record.amounts[name] == Amount(zeros=int((layer.weight == 0).sum()))
        assert torch.equal(found.get_submodule(name).weight, layer.weight)


def test_a_threshold_zeroes_what_is_no_larger() -> None:
    record = MASKING.resolve(network(), Mask({"5": Amount(threshold=0.1)}), Options())
    weight = network().get_submodule("5").weight
    expected = torch.where(weight.abs() <= 0.1, 0.0, weight)
    assert torch.equal(MASKING.apply(network(), record, Options()).get_submodule("5").weight, expected)
    assert list(record.amounts) == ["5"]


def test_a_layer_keeps_a_weight_whatever_the_threshold() -> None:
    record = MASKING.resolve(network(), Mask({"5": Amount(threshold=9.0)}), Options())
    assert record.amounts["5"].zeros == 27 * 4 - 1


def test_what_loses_nothing_gets_no_mask() -> None:
    record = MASKING.resolve(network(), Mask({"5": Amount(threshold=0.0)}), Options())
    assert record == Mask({})
    assert masked_layers(MASKING.apply(network(), record, Options())) == []


def test_sensitivity_is_what_numpy_computes_of_a_softmax() -> None:
    """One linear layer: dL/dW is the mean of (p - y) x^T."""
    torch.manual_seed(3)
    layer = nn.Sequential(nn.Flatten(), nn.Linear(98, 4))
    found = sensitivities(layer, {"1": layer[1]}, Evidence(examples()))["1"]
    x = np.concatenate([batch.numpy().reshape(len(batch), -1) for batch in images()]).astype(np.float64)
    y = np.eye(4)[np.concatenate([labels.numpy() for _, labels in examples()])]
    weight, bias = (parameter.detach().numpy().astype(np.float64) for parameter in layer[1].parameters())
    logits = x @ weight.T + bias
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(found.numpy(), np.abs(weight * ((p - y).T @ x / len(x))), rtol=1e-4, atol=1e-8)


def test_sensitivity_leaves_the_network_alone() -> None:
    given = network().train()
    given[1].eval()
    before = copy.deepcopy(given.state_dict())
    sensitivities(given, {"0": given[0]}, Evidence(examples()))
    assert (given.training, given[0].training, given[1].training) == (True, True, False)
    assert all(torch.equal(before[name], tensor) for name, tensor in given.state_dict().items())
    assert all(parameter.grad is None for parameter in given.parameters())


def test_rankings_differ_and_each_does_less_harm_by_its_own_measure() -> None:
    evidence = Evidence(examples())
    options = Options(evidence=evidence)
    given = network()
    scores = sensitivities(given, {"5": given[5]}, evidence)["5"]
    lost = []
    for by in ("magnitude", "sensitivity"):
        found = MASKING.apply(network(), Mask({"5": Amount(ratio=0.5, by=by)}), options)
        lost.append(float(scores[~mask_of(found.get_submodule("5"))].sum()))
    assert lost[1] < lost[0]


def test_sensitivity_needs_data_unless_shapes_alone_count() -> None:
    record = Mask({"5": Amount(ratio=0.5, by="sensitivity")})
    with pytest.raises(ValueError, match="expected evidence, which by: sensitivity reads, got None"):
        MASKING.apply(network(), record, Options())
    shape = MASKING.apply(network(), record, Options(only_shapes=True))
    assert int((shape.get_submodule("5").weight == 0).sum()) == 54


def early(network: nn.Module) -> dict[str, Tensor]:
    return {name: torch.full_like(tensor, 7) for name, tensor in network.state_dict().items()}


def test_survivors_go_back_to_early_weights() -> None:
    """Lottery tickets: trained weights say which go, early ones are what is left."""
    options = Options(evidence=Evidence(examples(), early=early(network())))
    found, expected = masked(options=options), masked()
    for name in ("0", "3", "5"):
        mask = mask_of(found.get_submodule(name))
        assert torch.equal(mask, mask_of(expected.get_submodule(name)))
        assert torch.equal(found.get_submodule(name).weight, 7.0 * mask)
    assert found.get_submodule("1").running_mean.tolist() == [7.0] * 6
    assert found.get_submodule("5").bias.tolist() == [7.0] * 4


@pytest.mark.parametrize("only_shapes", [False, True])
def test_without_weights_of_this_network_nothing_goes_back(only_shapes: bool) -> None:
    other = nn.Sequential(*list(network())[:-1], nn.Linear(27, 5))
    known = early(network() if only_shapes else other)
    options = Options(evidence=Evidence(examples(), early=known), only_shapes=only_shapes)
    assert torch.equal(masked(options=options).get_submodule("5").weight, masked().get_submodule("5").weight)


def test_where_nothing_becomes_zero_nothing_goes_back() -> None:
    given = network()
    options = Options(evidence=Evidence(examples(), early=early(given)))
    found = MASKING.apply(copy.deepcopy(given), Mask({"5": Amount(ratio=0.0)}), options)
    assert torch.equal(found.get_submodule("5").weight, given.get_submodule("5").weight)


def test_factors_of_a_layer_are_masked_by_its_name() -> None:
    torch.manual_seed(0)
    whole = nn.ModuleDict({"expand": nn.Sequential(nn.Conv2d(4, 2, 1), nn.Conv2d(2, 8, 1)), "last": nn.Linear(3, 3)})
    found = MASKING.apply(whole, Mask({"expand": Amount(ratio=0.5)}), Options())
    assert [int((layer.weight == 0).sum()) for layer in found["expand"]] == [4, 8]
    assert mask_of(found["last"]) is None


def test_names_that_stand_for_no_layer_are_refused() -> None:
    with pytest.raises(ValueError, match="mask names layers the network does not have: 1, stem"):
        MASKING.apply(network(), Mask({"1": Amount(ratio=0.5), "stem": Amount(ratio=0.5)}), Options())


def test_a_layer_under_torch_s_own_pruning_is_refused() -> None:
    given = network()
    prune.l1_unstructured(given[5], "weight", amount=0.5)
    with pytest.raises(Unsupported, match=r"5 .*forward pre-hooks"):
        MASKING.apply(given, Mask({"5": Amount(ratio=0.5)}), Options())


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_masked_weight_stays_zero_in_training(optimizer: str) -> None:
    """Against momentum and weight decay of what it was before it went, too."""
    given = network().train()
    kinds = {"sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)}
    steps = kinds.get(optimizer, lambda p: torch.optim.AdamW(p, lr=0.01))(given.parameters())
    held: Held | None = None
    for number in range(4):
        if number == 1:
            MASKING.apply(given, Mask(dict.fromkeys(("0", "3", "5"), Amount(ratio=0.6))), Options())
            held = Held(given)
        for batch, labels in examples():
            steps.zero_grad()
            nn.functional.cross_entropy(given(batch), labels).backward()
            steps.step()
            if held is not None:
                held()
    before = masked()
    for name in ("0", "3", "5"):
        layer = given.get_submodule(name)
        assert not layer.weight[~mask_of(layer)].any()
        assert int((layer.weight == 0).sum()) == round(0.6 * layer.weight.numel())
        assert not torch.equal(layer.weight, before.get_submodule(name).weight)


@pytest.mark.parametrize("keep_norms", [False, True])
@pytest.mark.parametrize("fmt", ["int8", "int3"])
def test_masks_stay_through_folding_and_quantization_aware_training(fmt: str, keep_norms: bool) -> None:
    """With learned steps at int3, and with a batch norm that is alive until the end."""
    before = masked()
    prepared = prepare(masked(), dict.fromkeys(("0", "3", "5"), fmt), learned={"int3"}, keep_norms=keep_norms)
    calibrate(prepared, images())
    held, steps = Held(prepared), torch.optim.SGD(prepared.parameters(), lr=0.05, momentum=0.9)
    prepared.train()
    for batch, labels in examples():
        steps.zero_grad()
        nn.functional.cross_entropy(prepared(batch), labels).backward()
        steps.step()
        held()
    freeze_norms(prepared, True)
    shipped = fold_norms(prepared)
    for name in ("0", "3", "5"):
        layer = shipped.get_submodule(name)
        assert isinstance(layer, QuantizedLayer)
        packed = layer.packed()
        assert torch.equal(packed.mask, mask_of(before.get_submodule(name)))
        assert not packed.codes[~packed.mask].any()
        assert packed.codes.any()
        assert not layer.quantized()[0][~packed.mask].any()


@pytest.mark.parametrize("keep_norms", [False, True])
def test_scales_of_two_values_are_means_over_what_is_kept(keep_norms: bool) -> None:
    prepared = prepare(masked(), {"5": "binary", "0": "binary"}, keep_norms=keep_norms)
    for name in ("5", "0"):
        layer = prepared.get_submodule(name)
        assert isinstance(layer, QuantizedLayer)
        own = layer.layer.conv if keep_norms and name == "0" else layer.layer
        weight, mask = own.weight.detach().flatten(1), mask_of(own).flatten(1)
        expected = torch.stack([row[kept].abs().mean() for row, kept in zip(weight, mask, strict=True)])
        torch.testing.assert_close(layer.scales.detach(), expected)


def test_a_network_folded_in_floats_has_its_masks() -> None:
    found = fold_batch_norm(masked())
    assert torch.equal(mask_of(found.get_submodule("0")), mask_of(masked().get_submodule("0")))
    assert not found.get_submodule("0").weight[~mask_of(masked().get_submodule("0"))].any()


def test_the_plan_says_it_all_and_the_network_is_not_changed() -> None:
    given = network()
    before = copy.deepcopy(given.state_dict())
    plan = CompressionPlan(formats={"5": "int4"}, steps={"masked": {"network": {"ratio": 0.4, "by": "sensitivity"}}})
    again = CompressionPlan.model_validate_json(plan.model_dump_json())
    assert again == plan
    found = [compress(given, one, Options(evidence=Evidence(examples())), images()) for one in (plan, again)]
    states = [one.state_dict() for one in found]
    assert list(given.state_dict()) == list(before)
    assert all(torch.equal(before[name], tensor) for name, tensor in given.state_dict().items())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    zeros = sum(int((~mask).sum()) for _, mask in masked_layers(found[0]))
    assert zeros == round(0.4 * (6 * 2 * 9 + 3 * 2 * 9 + 27 * 4))


def test_a_ratio_of_nothing_is_the_network() -> None:
    found = compress(network(), CompressionPlan(steps={"masked": {"5": {"ratio": 0.0}}}), Options(), images())
    expected = fold_batch_norm(network())
    assert list(found.state_dict()) == list(expected.state_dict())
    assert torch.equal(found(images()[0]), expected(images()[0]))


def test_a_growing_mask_takes_what_is_small_by_then_and_never_gives_back() -> None:
    found = masked(options=Options(gradual=True))
    layer = found.get_submodule("5")
    assert torch.equal(layer.weight, network().get_submodule("5").weight)
    counts, gone = [], torch.zeros_like(layer.weight, dtype=torch.bool)
    for done in (0.0, 0.1, 0.3, 0.6, 0.8, 1.0):
        MASKING.before_step(found, done)
        assert not mask_of(layer)[gone].any()
        gone = ~mask_of(layer)
        assert not layer.weight[gone].any()
        counts.append(int(gone.sum()))
        layer.weight.data += 0.01 * torch.randn(
            layer.weight.shape, generator=torch.Generator().manual_seed(len(counts))
        )
        hold(found)
    assert counts[0] == 0
    assert counts == sorted(counts)
    assert counts[2] - counts[1] > counts[3] - counts[2] > 0
    assert counts[4] == counts[5] == round(0.6 * 108)


@pytest.mark.parametrize("end", [MASKING.end_stage, MASKING.leave])
def test_a_stage_that_ends_early_has_all_its_zeros(end: Callable[[nn.Module], object]) -> None:
    found = masked(options=Options(gradual=True))
    MASKING.before_step(found, 0.2)
    end(found)
    assert [int((~mask).sum()) for _, mask in masked_layers(found)] == [round(0.6 * n) for n in (108, 54, 108)]


def test_an_average_over_a_stage_is_zero_where_the_last_mask_is() -> None:
    found = masked()
    with torch.no_grad():
        found.get_submodule("5").weight.add_(1.0)
    MASKING.averaged(found)
    layer = found.get_submodule("5")
    assert torch.equal(layer.weight == 0, ~mask_of(layer))
