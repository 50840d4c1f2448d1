"""A Ray Tune script that searches as `nas run` does: the search proposes and stops, Tune runs the trials.

    python studies/cluster/tune_script.py studies/digits.yaml search.trials=8 --out runs/digits

`nas run` on the same folder goes on with it: finalists, front and report.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ray import tune

from nas.integrations.ray_tune import CompactScheduler, CompactSearch, trainable
from nas.study.file import load_study


def tuner_of(study_file: Path, overrides: list[str], out: Path, *, cpus: float = 1.0) -> tune.Tuner:
    """A Tuner of a study; Tune's own files lie beside the run folder."""
    study = load_study(study_file, overrides)
    search = CompactSearch(study, out)
    return tune.Tuner(
        tune.with_resources(trainable(study), {"cpu": cpus}),
        tune_config=tune.TuneConfig(
            search_alg=search,
            scheduler=CompactScheduler(search),
            num_samples=-1,  # the study says how many
            max_concurrent_trials=study.search.worker_count,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(name=f"{out.name}-tune", storage_path=str(out.resolve().parent)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    results = tuner_of(arguments.study, arguments.overrides, arguments.out).fit()
    columns = ["number", "state", "accuracy", "size_bytes", "latency_ms"]
    print(results.get_dataframe().reindex(columns=columns).to_string(index=False))


if __name__ == "__main__":
    main()
