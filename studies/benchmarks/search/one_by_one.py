"""Architecture, ratios and formats one after the other, or all at once: the same number of equal trainings.

    python studies/benchmarks/search/one_by_one.py studies/digits.yaml --joint runs/digits-search/pareto \
        --out runs/one-by-one --json digits-one-by-one.json

One after the other: half of the trainings search the architecture, dense and in fp32; a quarter the pruning ratios of
the two architectures that dominate most; the rest go to formats, chosen for the two best of these by sensitivity and
integer program at three sizes each, as in HAWQ-V3. All of a sequence's trainings may stand on its front. All at once:
the searches of `digits.py` with the same seeds in --joint-<seed>. Sampler, recipe, epochs, split and objectives
(accuracy, size_bytes) are the same. What differs is only what is decided when.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import torch
from digits import complete, paired, shares_of, show
from problems import CategoricalTrial, Params
from sensitivity import cheapest_harm, hessian_traces, rounding_error

from compressors.formats import BITS
from compressors.plan import CompressionPlan
from nas.candidates.candidate import Candidate, canonical
from nas.candidates.features import Features
from nas.candidates.sampling import draw_kept, edge_formats, sample
from nas.data import load
from nas.evaluate import pipeline_of
from nas.measuring.turns import pausing_for_measurements
from nas.objectives import beyond_worst, minimised
from nas.pareto import hypervolume_subset
from nas.runtimes.runtime import runtime_of
from nas.samplers.pareto import ParetoSampler
from nas.search.anchors import anchors
from nas.shipping import score_file, ship
from nas.study import Study
from nas.study.file import load_study
from nas.tasks import Task
from nas.training.augmentation import as_input
from nas.workbench import Workbench, build
from search_spaces.trials import Replay

OBJECTIVES = ("accuracy", "size_bytes")
SIZES = (0.15, 0.4, 0.65)  # between the smallest and the largest formats, as logarithms of bytes
KEPT = 2  # networks that go on from a step
SENSITIVITY_IMAGES = 256
optuna.logging.set_verbosity(optuna.logging.WARNING)
Draw = Callable[[Any], Candidate]
Answer = Callable[[str, Sequence[Any]], Any]


@dataclass(frozen=True)
class Trained:
    """A candidate and what its shipped file has."""

    candidate: Candidate
    accuracy: float
    size_bytes: int
    network: torch.nn.Module

    @property
    def row(self) -> dict[str, Any]:
        return {"id": self.candidate.id, "accuracy": self.accuracy, "size_bytes": self.size_bytes}


class Trainer:
    """Trains candidates as a search does, and reads its figures off the file."""

    def __init__(self, study: Study, folder: Path) -> None:
        torch.set_num_threads(1)
        data = load(study.data, input_size=study.space.input_sizes[-1], seed=study.search.seed)
        self.bench, self._folder = Workbench(study, data), folder

    @property
    def study(self) -> Study:
        return self.bench.study

    @property
    def classes(self) -> int:
        return len(self.bench.data.class_names)

    def estimated_bytes(self, candidate: Candidate) -> float:
        """Of the file, before it is made; of a space that the runtime cannot foretell, a lower bound."""
        known = runtime_of(self.study.target).forecast(candidate, self.bench.header)
        return float(candidate.weight_bytes(self.classes)) if known is None else known.size_bytes

    def __call__(self, candidate: Candidate) -> Trained:
        study, seed, folder = self.study, self.study.search.seed, self._folder / candidate.id
        folder.mkdir(parents=True, exist_ok=True)
        task = Task(0, candidate, "reference", seed, study.search_epochs, folder)
        network = build(candidate, self.bench, seed=seed, dropout=0.0)
        with pausing_for_measurements() as give_way:
            network = pipeline_of(task, self.bench, None).fit(network, give_way).network.cpu().eval()
        files = ship(network, candidate, folder, header=self.bench.header, targets=[study.target])
        scores = score_file(files[study.target.name], self.bench, test=False)
        return Trained(candidate, scores.validation.accuracy, files[study.target.name].stat().st_size, network)


def one_by_one(trainer: Trainer, trials: int) -> list[Trained]:
    """All trainings of a sequence, in order."""
    study = trainer.study
    dense = study.compression.model_copy(update={"pruning_ratio": (0.0,), "weight_format": ("fp32",)})
    channels = study.data.input_channels

    def architecture(trial: Any) -> Candidate:
        return sample(trial, study.space, dense, input_channels=channels)

    starts = anchors(study.model_copy(update={"compression": dense}))
    first = searched(trainer, architecture, trials // 2, seed=study.search.seed, starts=starts)
    chosen = [one.candidate for one in best(first)]

    def pruned(trial: Any) -> Candidate:
        base = chosen[trial.suggest_categorical("network", tuple(range(len(chosen))))]
        kept = draw_kept(trial, base.architecture, study.compression, grid=study.space.width_grid)
        return canonical(Candidate(architecture=base.architecture, plan=CompressionPlan(kept=kept)))

    done = {one.candidate.id for one in first}
    second = searched(trainer, pruned, trials // 4, seed=study.search.seed + 1, known=done)
    rest = trials - len(first) - len(second)
    return [*first, *second, *quantized(trainer, best([*first, *second]), rest)]


def searched(
    trainer: Trainer,
    draw: Draw,
    trials: int,
    *,
    seed: int,
    known: set[str] | None = None,
    starts: Sequence[Answer] = (),
) -> list[Trained]:
    """So many different candidates of a space that keep the study's limit of size, proposed by our sampler."""
    known, found = set(known or ()), list[Trained]()
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler_of(trainer, draw, seed, starts))
    for _ in range(10 * trials):
        if len(found) == trials:
            break
        trial = study.ask()
        candidate = draw(trial)
        if candidate.id in known or trainer.estimated_bytes(candidate) > limit_of(trainer.study):
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        known.add(candidate.id)
        found.append(trainer(candidate))
        study.tell(trial, [found[-1].accuracy, found[-1].size_bytes])
        print(f"  {len(found)}: {candidate.id} {found[-1].accuracy:.2%} {found[-1].size_bytes:,} bytes", flush=True)
    return found


def sampler_of(trainer: Trainer, draw: Draw, seed: int, starts: Sequence[Answer]) -> ParetoSampler:
    """Accuracy is learned, the size computed; what a network is comes from its record."""
    describe, limit = Features.of(trainer.study.space), limit_of(trainer.study)
    drawn = lru_cache(maxsize=50_000)(lambda genes: draw(Replay(dict(genes))))

    def candidate(params: Params) -> Candidate:
        return drawn(tuple(sorted(params.items())))

    def space(trial: CategoricalTrial) -> Hashable:
        return draw(trial).id

    def costs(params: Params) -> tuple[None, float]:
        return None, trainer.estimated_bytes(candidate(params))

    def features(params: Params) -> list[float]:
        return [float(value) for value in describe(candidate(params), trainer.classes)]

    def constraints(params: Params) -> Mapping[str, float]:
        return {"size_bytes": trainer.estimated_bytes(candidate(params)) / limit - 1}

    scales: tuple[Any, Any] = ("linear", "log")
    return ParetoSampler(space, costs, features, seed=seed, constraints=constraints, scales=scales, anchors=starts)


def limit_of(study: Study) -> float:
    return study.limits.get("size_bytes", float("inf"))


def best(trained: Sequence[Trained]) -> list[Trained]:
    """The KEPT that together dominate most."""
    rows = [[one.accuracy, one.size_bytes] for one in trained]
    worst = [beyond_worst(name, [row[at] for row in rows]) for at, name in enumerate(OBJECTIVES)]
    chosen = hypervolume_subset(minimised(rows, OBJECTIVES), minimised([worst], OBJECTIVES)[0], KEPT)
    return [trained[index] for index in chosen]


def quantized(trainer: Trainer, bases: Sequence[Trained], trials: int) -> list[Trained]:
    """Trainings of the bases with formats by sensitivity, at rising sizes."""
    found, done = list[Trained](), {base.candidate.id for base in bases}
    tables = [(base, *harm_and_size(trainer, base)) for base in bases]
    for share in (*SIZES, *np.setdiff1d(np.linspace(0.05, 0.95, 19), SIZES)):
        for base, harm, size in tables:
            candidate = with_formats(base.candidate, harm, size, float(share))
            if len(found) < trials and candidate.id not in done:
                done.add(candidate.id)
                found.append(trainer(candidate))
                print(f"  formats at {share:.2f}: {found[-1].row}", flush=True)
    return found


def harm_and_size(trainer: Trainer, base: Trained) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """Sensitivity and bytes of every block in every format that the study allows it."""
    layers, compression = base.candidate.layers(trainer.classes), trainer.study.compression
    images = trainer.bench.data.train.evenly_spaced(SENSITIVITY_IMAGES)
    names = [layer.name for layer in layers]
    inputs, labels = as_input(torch.from_numpy(images.images)), torch.from_numpy(images.labels)
    traces = hessian_traces(base.network, names, inputs, labels)
    harm, size = dict[str, dict[str, float]](), dict[str, dict[str, float]]()
    for layer in layers:
        weight = base.network.get_submodule(layer.name).get_parameter("weight").detach()
        is_edge = layer.name in (names[0], names[-1])
        own_harm, own_size = harm.setdefault(layer.block, {}), size.setdefault(layer.block, {})
        for name in edge_formats(compression) if is_edge else compression.weight_format:
            added = max(0.0, traces[layer.name]) / weight.numel() * rounding_error(weight, name)
            own_harm[name] = own_harm.get(name, 0.0) + added
            own_size[name] = own_size.get(name, 0.0) + layer.weight_count * BITS[name] / 8
    return harm, size


def with_formats(
    base: Candidate, harm: Mapping[str, Mapping[str, float]], size: Mapping[str, Mapping[str, float]], share: float
) -> Candidate:
    """The base in the least harmful formats within a share of the way from the smallest to the largest."""
    low, high = (sum(pick(own.values()) for own in size.values()) for pick in (min, max))
    chosen = cheapest_harm(harm, size, low * (high / low) ** share)
    assert chosen is not None, "the smallest formats are within every limit"
    formats: Any = {layer.name: chosen[layer.block] for layer in base.layers(1)}
    return canonical(base.model_copy(update={"plan": base.plan.model_copy(update={"formats": formats})}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--joint", required=True, metavar="FOLDER", help="run folders without their -<seed>")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    common = [f"training.epochs={options.epochs}", "training.precision=fp32", "search.finalists=0"]
    for seed in range(options.seeds):
        file = options.out / f"{seed}.json"
        if not file.exists():
            print(f"seed {seed}", flush=True)
            study = load_study(options.study, [*common, *options.overrides, f"search.seed={seed}"])
            trained = one_by_one(Trainer(study, options.out / str(seed)), options.trials)
            file.write_text(json.dumps([one.row for one in trained], indent=1))
    report(options)


def report(options: argparse.Namespace) -> None:
    seeds = range(options.seeds)
    found = {
        "all at once": {seed: complete(Path(f"{options.joint}-{seed}")) for seed in seeds},
        "one by one": {seed: pd.DataFrame(json.loads((options.out / f"{seed}.json").read_text())) for seed in seeds},
    }
    shares = shares_of(found, OBJECTIVES, options.trials)
    differences = paired(shares, options.trials)
    show(shares, differences, OBJECTIVES)
    if options.json:
        text = {"shares": shares, "differences": {name: value._asdict() for name, value in differences.items()}}
        options.json.write_text(json.dumps(text, indent=1) + "\n")


if __name__ == "__main__":
    main()
