"""A study's existing network: read before any work, and kept in the run folder, so that its code is never run again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from nas.candidates.candidate import Candidate
from nas.errors import InputError
from nas.files import write_atomically
from nas.run_folder.paths import RunFolder
from nas.study import Study
from search_spaces.existing.architecture import ExistingArchitecture
from search_spaces.existing.known import Known, to_json, weights_of
from search_spaces.existing.space import ExistingSpace
from search_spaces.own_kinds import named_kinds


def refuse_unreadable(study: Study) -> None:
    """Read the network, if the study is about one that exists. Raises InputError, with the key, where it cannot be."""
    if isinstance(study.space, ExistingSpace):
        try:
            study.space.known(study.data.input_channels)
        except ValueError as error:
            raise InputError(str(error)) from None


def code_of(study: Study) -> Iterator[str]:
    """A sentence about code of the user's own that the study runs, if it runs any."""
    space = study.space
    if isinstance(space, ExistingSpace) and space.trusted and not space.is_of_torchvision:
        yield f"space.base: runs the code of {space.base}, which the study trusts"
    for kind in named_kinds(space.block_spaces()):
        yield f"space.blocks: runs the code of {kind}, which the study trusts"


def begun_anew(study: Study, classes: int) -> Iterator[str]:
    """A sentence about the layers that begin with random weights though the study names some for the network."""
    if not isinstance(study.space, ExistingSpace):
        return
    known = study.space.known(study.data.input_channels)
    layers, head = [*known.anew], known.blueprint.by_name[known.blueprint.head].path
    given = weights_of(known.weights) if known.weights else {}
    if isinstance(given, Mapping) and f"{head}.weight" in given and len(given[f"{head}.weight"]) != classes:
        layers.append(head)
    if layers:
        yield f"space.weights: all but {', '.join(layers)}, whose shape is another in this network, begin with them"


def network_text(candidate: Candidate) -> str | None:
    """The text of the `network.json` that goes with a candidate's record, which only names it; None where none does."""
    architecture = candidate.architecture
    if not isinstance(architecture, ExistingArchitecture):
        return None
    return to_json({}, Known(architecture.blueprint))  # no study names it: what it began with is not beside it


def keep_network(study: Study, folder: RunFolder) -> None:
    """Write an existing network into the run folder as it was read: `network.json`, and the weights it begins with.

    In a folder without a study a run was killed before it began: what it left may be of another reading.
    """
    if not isinstance(study.space, ExistingSpace) or (folder.study.exists() and folder.network.exists()):
        return
    asked = study.space.asked(study.data.input_channels)
    known = study.space.known(study.data.input_channels)
    if known.weights:
        weights = weights_of(known.weights)
        if isinstance(weights, Mapping):
            _write_weights(weights, folder.network_weights)
        elif weights != folder.network_weights:
            write_atomically(folder.network_weights, weights.read_bytes())
    write_atomically(folder.network, to_json(asked, known))


def _write_weights(weights: Mapping[str, object], path: Path) -> None:
    from safetensors.torch import save  # imports torch

    write_atomically(path, save({name: value.contiguous() for name, value in weights.items()}))  # type: ignore[attr-defined]
