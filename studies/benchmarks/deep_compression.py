"""Deep Compression (Han et al. 2016, arXiv:1510.00149): prune, share weights, code; and further with a rate penalty.

The paper's two networks, on digits scaled to 28 x 28: bytes of their fp32 weights over the whole coded file, with the
accuracy lost to the dense network of the same seed.

python studies/benchmarks/deep_compression.py --seeds 8 --json studies/results/digits-deep-compression.json
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lenets import NETWORKS, RATE, SIDE, Digits, Hooks, digits, train
from recipes import difference
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from compressors.coding.container import decoded
from compressors.coding.rate import mean_bits
from compressors.evidence import Evidence
from compressors.masking.layers import Held
from compressors.pipeline import Options, Request, apply_step, folded, requests_of, resolved
from compressors.plan import CompressionPlan
from nas.runtimes.onnx.coding import HUFFMAN, coded_file
from nas.runtimes.onnxruntime import ONNXRUNTIME
from nas.runtimes.runtime import FileHeader
from nas.study import Target

CPU = Target(name="cpu")
HEADER = FileHeader(1, SIDE, tuple("0123456789"))
Row = dict[str, Any]


@dataclass(frozen=True)
class Way:
    """One way to compress: the share of zeros in all layers together, the format of weights, the weight of their rate
    in the loss, and the coders of the file's tensors (none: all there are).
    """

    name: str
    zeros: Mapping[str, float]
    weight_format: str
    rate_weight: float = 0.0
    coders: tuple[str, ...] | None = None

    def plan(self, network: str, layers: Sequence[str]) -> CompressionPlan:
        share = self.zeros[network]
        steps = {"masked": {"network": {"ratio": share}}} if share else {}
        return CompressionPlan.model_validate({"formats": dict.fromkeys(layers, self.weight_format), "steps": steps})


PAPER = {"mlp": 0.92, "lenet5": 0.92}  # 8 % of the weights are left in both
FEWER, MORE, NONE = dict.fromkeys(PAPER, 0.88), {"mlp": 0.95, "lenet5": 0.96}, dict.fromkeys(PAPER, 0.0)
WAYS = (
    Way("88 % zeros, 16 values, range coded", FEWER, "codebook4"),
    Way("as in the paper: 92 % zeros, 16 values, Huffman", PAPER, "codebook4", coders=HUFFMAN),
    Way("the same, range coded", PAPER, "codebook4"),
    Way("the same, int4 with a rate penalty", PAPER, "int4", rate_weight=1.0),
    Way("more zeros, int4 with a rate penalty", MORE, "int4", rate_weight=1.0),
    Way("no masks, int4 with a rate penalty", NONE, "int4", rate_weight=1.0),
)


@dataclass(frozen=True)
class Epochs:
    """Of the dense network, of growing masks, and with rounded weights."""

    dense: int = 15
    masked: int = 20
    quantized: int = 12

    def of(self, step: str, *, alone: bool) -> int:
        """Of a step; one that is alone has all that follow the dense network."""
        if alone:
            return self.masked + self.quantized
        return self.quantized if step == "quantized" else self.masked


def rows_of(name: str, ways: Sequence[Way], epochs: Epochs, seed: int, most: int | None = None) -> list[Row]:
    """What the dense network reaches, and what every way makes of it; networks of one seed begin alike."""
    data = digits(seed, most)
    torch.manual_seed(seed)
    dense = NETWORKS[name]()
    train(dense, data, epochs.dense, seed=seed, hooks=Hooks())
    weights = 4 * sum(parameter.numel() for parameter in dense.parameters())
    reference = copy.deepcopy(dense)  # trained as long as what is compressed
    train(reference, data, epochs.masked + epochs.quantized, seed=seed + 1000, hooks=Hooks())
    rows = [score(folded(reference, ()), "dense", data)]
    made: dict[tuple[Any, ...], nn.Module] = {(): dense}
    for way in ways:
        network = compressed(made, way, way.plan(name, layers_of(dense)), data, epochs, seed)
        rows.append(score(network, way.name, data, way.coders))
    return [row | {"network": name, "seed": seed, "weight_bytes": weights} for row in rows]


def layers_of(network: nn.Module) -> list[str]:
    return [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]


def compressed(
    made: dict[tuple[Any, ...], nn.Module], way: Way, plan: CompressionPlan, data: Digits, epochs: Epochs, seed: int
) -> nn.Module:
    """The network with every step of the plan applied and trained behind, as it is shipped.

    `made` keeps the networks behind every step, by what led to them, so that ways with equal beginnings share them.
    """
    requests, done = requests_of(plan), tuple[Any, ...]()
    for request in requests:
        network = made[done]
        rate_weight = way.rate_weight if request.step.name == "quantized" else 0.0
        done = (*done, repr(request.record), rate_weight)
        if done not in made:
            count = epochs.of(request.step.name, alone=len(requests) == 1)
            made[done] = _applied(copy.deepcopy(network), request, rate_weight, data, count, seed)
    return folded(copy.deepcopy(made[done]), requests).eval()


def _applied(
    network: nn.Module, request: Request, rate_weight: float, data: Digits, epochs: int, seed: int
) -> nn.Module:
    """The network with one step applied, trained behind."""
    method, stage = request.step.loaded(), request.step.training
    assert stage is not None, request.step.name
    options = Options(evidence=Evidence(data.batches, seed=seed), gradual=True, learned=("int4",))
    network = apply_step(network, resolved(network, request, options), options, [x for x, _ in data.batches])
    penalty = partial(_penalty, weight=rate_weight) if rate_weight else None
    hooks = Hooks(method.begin_epoch, method.before_step, Held(network), penalty)
    train(network, data, epochs, rate=RATE, seed=seed + stage.number, hooks=hooks)
    method.end_stage(network)
    left: nn.Module = method.leave(network)
    return left


def _penalty(network: nn.Module, *, weight: float) -> Tensor:
    return weight * mean_bits(network)


def score(network: nn.Module, way: str, data: Digits, coders: tuple[str, ...] | None = None) -> Row:
    """Accuracy of the file in the runtime, and its bytes, coded too."""
    file = ONNXRUNTIME.emit(network.eval(), HEADER)
    coded = coded_file(file, coders)
    if decoded(coded) != file:
        raise ValueError(f"{way}: the coded file does not give the file back")
    logits = ONNXRUNTIME.open(file, CPU).predict(data.test_images.numpy())
    accuracy = float((logits.argmax(1) == data.test_labels.numpy()).mean())
    return {"way": way, "accuracy": accuracy, "size_bytes": len(file), "coded_bytes": len(coded)}


def summary(rows: Sequence[Row]) -> list[Row]:
    """Each way's means over the seeds, and what it loses to the dense network, in points, paired by seed."""
    found = []
    for network, way in dict.fromkeys((row["network"], row["way"]) for row in rows):
        own = {row["seed"]: row for row in rows if (row["network"], row["way"]) == (network, way)}
        dense = {row["seed"]: row for row in rows if (row["network"], row["way"]) == (network, "dense")}
        points = [{seed: 100 * row["accuracy"] for seed, row in side.items()} for side in (own, dense)]
        means = {key: float(np.mean([row[key] for row in own.values()])) for key in ("accuracy", "size_bytes")}
        coded = [row["coded_bytes"] for row in own.values()]
        ratio = float(np.mean([row["weight_bytes"] / row["coded_bytes"] for row in own.values()]))
        found.append(
            {"network": network, "way": way, "seeds": len(own), **means, "coded_bytes": float(np.mean(coded)),
             "times_smaller": ratio, "points": difference(*points)}
        )  # fmt: skip
    return found


def table_of(found: Sequence[Row]) -> Table:
    table = Table(title="fp32 weights over the whole coded file; points of accuracy against the dense network")
    for column in ("network", "way", "accuracy %", "points", "file", "coded", "times smaller"):
        table.add_column(column, justify="left" if column in ("network", "way") else "right")
    for row in found:
        points = row["points"]
        told = "" if points is None else f"{points['mean']:+.2f} [{points['low']:+.2f}, {points['high']:+.2f}]"
        table.add_row(
            row["network"], row["way"], f"{100 * row['accuracy']:.2f}", told, f"{row['size_bytes']:,.0f}",
            f"{row['coded_bytes']:,.0f}", f"{row['times_smaller']:.1f}",
        )  # fmt: skip
    return table


def rows_in(file: Path | None) -> list[Row]:
    """The rows of an earlier call; none where there is no file."""
    rows: list[Row] = json.loads(file.read_text())["rows"] if file is not None and file.exists() else []
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--epochs", type=int, nargs=3, default=list(asdict(Epochs()).values()))
    parser.add_argument("--json", type=Path, help="is continued where it is there already")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = rows_in(arguments.json)
    for seed in range(arguments.seeds):
        for name in arguments.networks:
            if any((row["network"], row["seed"]) == (name, seed) for row in rows):
                continue
            rows += rows_of(name, WAYS, Epochs(*arguments.epochs), seed)
            if arguments.json:
                arguments.json.write_text(json.dumps({"summary": summary(rows), "rows": rows}, indent=1))
    Console().print(table_of(summary(rows)))


if __name__ == "__main__":
    main()
