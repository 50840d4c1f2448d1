"""Which criterion knows what a channel is worth: Kendall's tau between its scores and the exact change of the loss.

    python studies/benchmarks/criteria.py --seeds 8 --out studies/results/criteria.json

A network of digits is trained without compression, once per seed. Every row of IMPORTANCES then scores the channels of
each group, on the same training images, and is compared with leave_one_out within the group. Tau is 1 where a criterion
removes channels in the best order and 0 for one that knows nothing; `random` is the control. Also printed: the tau over
the channels of all groups at once, after what a global budget does to make them comparable. Intervals are 95 %
bootstrap ones over seeds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau
from torch import Tensor, nn

from compressors.pipeline import STEPS, Method, Options, Step
from compressors.plan import CompressionPlan
from compressors.pruning import IMPORTANCES
from compressors.steps import ANYTHING
from nas.candidates.candidate import Candidate
from nas.candidates.corners import extreme_candidates
from nas.data import load
from nas.evaluate import pipeline_of
from nas.study import Study
from nas.study.file import load_study
from nas.tasks import Task
from nas.workbench import Workbench, build

REFERENCE = "leave_one_out"
Scores = dict[str, dict[str, Tensor]]  # criterion -> group -> one per channel
Taus = dict[str, dict[str, float]]  # criterion -> group, or `network` for all at once -> tau


def scores_of(study: Study, bench: Workbench, which: str, seed: int) -> Scores:
    """Scores of all criteria for one trained network.

    They are taken by a step of its own that stands at the end of the training and changes nothing.
    """
    found: Scores = {}

    def observe(network: nn.Module, _: Any, options: Options) -> nn.Module:
        for name, criterion in IMPORTANCES.items():
            found[name] = criterion.score(network, options.groups, options.evidence)
        return network

    asked = CompressionPlan(steps={"observed": {"network": 1}})
    STEPS["observed"] = Step(
        "observed", asked=lambda plan: plan.steps.get("observed"), method=Method(apply=observe), after=ANYTHING
    )
    try:
        candidate = Candidate(architecture=extreme_candidates(study)[which].architecture, plan=asked)
        with tempfile.TemporaryDirectory() as folder:
            task = Task(0, candidate, "reference", seed, study.training.epochs, Path(folder), is_constrained=False)
            network = build(candidate, bench, seed=seed, dropout=0.0)
            pipeline_of(task, bench, None).fit(network, lambda: None)
    finally:
        del STEPS["observed"]
    return found


def taus_of(scores: Scores) -> Taus:
    """Kendall's tau-b of each criterion to the reference; 0 where either says the same of all channels."""
    exact = scores[REFERENCE]

    def tau(own: Tensor, other: Tensor) -> float:
        return float(np.nan_to_num(kendalltau(own.numpy(), other.numpy()).statistic))

    found: Taus = {}
    for name in (name for name in scores if name != REFERENCE):
        common = IMPORTANCES[name].comparable(scores[name], dict.fromkeys(scores[name], 1))
        whole = tau(*(torch.cat([each[group] for group in exact]) for each in (common, exact)))
        found[name] = {group: tau(scores[name][group], exact[group]) for group in exact} | {"network": whole}
    return found


def summary(seeds: list[Taus]) -> dict[str, dict[str, Any]]:
    """Of each criterion: the mean over groups with its interval over seeds, that of the network, and by group."""
    found: dict[str, dict[str, Any]] = {}
    for name in seeds[0]:
        groups = [group for group in seeds[0][name] if group != "network"]
        means = [float(np.mean([taus[name][group] for group in groups])) for taus in seeds]
        found[name] = {
            "tau": float(np.mean(means)),
            "interval": interval(means),
            "network": float(np.mean([taus[name]["network"] for taus in seeds])),
            "groups": {group: float(np.mean([taus[name][group] for taus in seeds])) for group in groups},
        }
    return dict(sorted(found.items(), key=lambda item: -item[1]["tau"]))


def interval(values: list[float]) -> list[float]:
    """95 % bootstrap interval of the mean."""
    random = np.random.default_rng(0)
    means = np.mean(random.choice(values, (10_000, len(values))), 1)
    return [float(end) for end in np.quantile(means, (0.025, 0.975))]


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [f"{'criterion':18} {'tau':>6}  {'95 %':>16}  {'network':>8}"]
    for name, row in found.items():
        low, high = row["interval"]
        lines.append(f"{name:18} {row['tau']:6.3f}  {f'{low:.3f} to {high:.3f}':>16}  {row['network']:8.3f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, default=Path("studies/digits.yaml"))
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="overrides of the study")
    parser.add_argument("--network", choices=("smallest", "middle", "largest"), default="middle")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--out", type=Path, help="a file of JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    study = load_study(options.study, options.set)
    bench = Workbench(study, load(study.data, input_size=study.space.input_sizes[-1], seed=study.search.seed))
    seeds: list[Taus] = []
    for seed in range(options.seeds):
        start = time.monotonic()
        seeds.append(taus_of(scores_of(study, bench, options.network, seed)))
        print(f"seed {seed}: {time.monotonic() - start:.0f} s", flush=True)
    found = summary(seeds)
    print(table(found))
    if options.out is not None:
        told = {"study": study.name, "network": options.network, "seeds": options.seeds, "criteria": found}
        options.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
