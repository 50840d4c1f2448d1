"""The folder that a compression writes, and the request by which the same command is known again. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compressors.low_rank.factoring import Factoring
from nas.compression.wishes import Asked, Wishes
from nas.errors import InputError
from nas.files import write_atomically
from nas.run_folder.paths import RunFolder
from nas.study import Study
from nas.study.file import difference
from search_spaces.existing.space import ExistingSpace

# What a request holds beside its study, in words.
OTHERS = {
    "layers": "single layers", "finds_a_plan": "whether a plan is found", "network": "the network itself",
    "weights": "the weights themselves",
}  # fmt: skip
REQUEST, PLAN, TABLE, PAGE, STUDY = "request.json", "plan.json", "table.json", "table.html", "study.yaml"


@dataclass(frozen=True)
class ResultFolder:
    """Where everything of one compression is.

    The files that ship lie in `path` itself; `work` holds what a training goes on from and both evaluations; `run` is
    the run folder of a search for the plan.
    """

    path: Path

    @property
    def study(self) -> Path:
        return self.path / STUDY

    @property
    def table(self) -> Path:
        """Once it is there, all is done."""
        return self.path / TABLE

    @property
    def page(self) -> Path:
        return self.path / PAGE

    @property
    def work(self) -> RunFolder:
        return RunFolder(self.path.absolute() / "work")

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def whole(self) -> Path:
        """The weights of the whole network, where it is trained first."""
        return self.work.path / "whole.safetensors"

    @property
    def request(self) -> Path:
        return self.work.path / REQUEST

    @property
    def plan(self) -> Path:
        """The plan that was found, where one had to be."""
        return self.work.path / PLAN


def keep_request(folder: ResultFolder, study: Study, wishes: Wishes) -> bool:
    """Record what is asked for, or see that it is what the folder was begun with; whether it is begun now.

    The network that the study names is known by now. Raises InputError where the folder holds something else.
    """
    asked = json.loads(json.dumps(request_of(study, wishes) | _digests(study)))
    if folder.request.exists():
        recorded = json.loads(folder.request.read_bytes())
        if changes := list(_changes(recorded, asked)):
            lines = "\n  ".join(changes)
            raise InputError(f"--to: {folder.path} holds what another command began; recorded -> asked for:\n  {lines}")
        return False
    if folder.path.exists() and (not folder.path.is_dir() or _strangers(folder.path)):
        raise InputError(f"--to: {folder.path} exists and is not an empty folder")
    folder.work.path.mkdir(parents=True, exist_ok=True)
    write_atomically(folder.request, json.dumps(asked, indent=1))
    return True


def forget_request(folder: ResultFolder) -> None:
    """Leave the folder to any command: what it was begun with came to nothing."""
    for file in (folder.plan, folder.request):
        file.unlink(missing_ok=True)


def _digests(study: Study) -> dict[str, str]:
    """Of the network and of its weights: code and files may change while their names stay."""
    assert isinstance(study.space, ExistingSpace)
    known = study.space.known(study.data.input_channels)
    return {"network": known.blueprint.digest, "weights": known.weights}


def keep_plan(folder: ResultFolder, found: Wishes) -> None:
    """Record a plan that was found, so that a command that goes on has the same: latencies are measured anew."""
    (rank,) = found.rank.choices
    decided = None if rank is None else rank.decision()
    plan = {"ratio": found.ratio.choices[0], "format": found.format.choices[0], "rank": decided}
    write_atomically(folder.plan, json.dumps(plan, indent=1))


def recorded_plan(folder: ResultFolder, wishes: Wishes) -> Wishes | None:
    """The wishes with the plan that was found in this folder; None where none was."""
    if not folder.plan.exists():
        return None
    plan = json.loads(folder.plan.read_bytes())
    rank = None if plan["rank"] is None else Factoring.model_validate(plan["rank"])
    return replace(
        wishes,
        ratio=Asked((plan["ratio"],), wishes.ratio.layers),
        format=Asked((plan["format"],), wishes.format.layers),
        rank=Asked((rank,), wishes.rank.layers),
    )


def _strangers(path: Path) -> list[Path]:
    """What lies in the folder beside an empty room of ours, which a command that was killed may have left."""
    return [entry for entry in path.iterdir() if not (entry.name == "work" and entry.is_dir() and not _files(entry))]


def _files(folder: Path) -> list[Path]:
    own = RunFolder(folder)
    begun_with = (own.lock.name, own.data.name)
    return [entry for entry in folder.iterdir() if entry.name not in begun_with and not entry.name.endswith(".tmp")]


def request_of(study: Study, wishes: Wishes) -> dict[str, Any]:
    """All that a result depends on, as JSON."""
    asked: Mapping[str, Asked[Any]] = {"ratio": wishes.ratio, "format": wishes.format, "rank": wishes.rank}
    layers = {
        name: {layer: None if how is None else str(how) for layer, how in one.layers.items()}
        for name, one in asked.items()
        if one.layers
    }
    return {"study": study.model_dump(mode="json"), "layers": layers, "finds_a_plan": wishes.finds_a_plan}


def _changes(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """What differs, a line each."""
    try:
        before = Study.model_validate_json(json.dumps(recorded["study"]))
    except (ValueError, KeyError):
        return ["a request of another version"]
    found = difference(before, Study.model_validate_json(json.dumps(asked["study"])))
    keys = [key for key in OTHERS if recorded.get(key) != asked[key]]
    return [*found, *(f"{OTHERS[key]}: {recorded.get(key)} -> {asked[key]}" for key in keys)]
