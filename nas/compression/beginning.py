"""What compression begins with: the weights that are given, or a training of the whole network that comes first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from safetensors.torch import load_file, save

from nas.candidates.candidate import Candidate
from nas.candidates.hyperparameters import middle_numbers
from nas.files import write_atomically
from nas.measuring.turns import pausing_for_measurements
from nas.study import Study
from nas.tasks import CHECKPOINT_FILE, Progress, Tell, silent
from nas.training.divergence import learned_values, require_finite
from nas.training.pipeline import TrainingPipeline
from nas.workbench import Workbench, build
from search_spaces.existing.architecture import ExistingArchitecture, PixelNorm
from search_spaces.existing.known import Known, remember, weights_of
from search_spaces.existing.space import ExistingSpace
from search_spaces.existing.weights import digest_of

OF_DATA = "normalize."  # what stands before the network, and is no part of it
BEGUN_WITH = ("weights", "stem", "pixels")  # keys of the space that say what weights belong to


def begins_anew(candidate: Candidate, bench: Workbench) -> list[str]:
    """Names of the weights that a network begins with at random: all, or those of a head with other classes."""
    assert isinstance(candidate.architecture, ExistingArchitecture)
    own = build(candidate, bench, seed=0, dropout=0.0).state_dict()
    names = [name for name in own if not name.startswith(OF_DATA)]
    if not candidate.architecture.weights:
        return names
    given = weights_of(candidate.architecture.weights)
    known = load_file(given) if isinstance(given, Path) else given
    return [name for name in names if name not in known or known[name].shape != own[name].shape]


def has_weights(candidate: Candidate) -> bool:
    """Whether the network comes with weights, be it for but a part of it."""
    return isinstance(candidate.architecture, ExistingArchitecture) and bool(candidate.architecture.weights)


def train_whole(bench: Workbench, candidate: Candidate, epochs: int, file: Path, *, tell: Tell = silent) -> None:
    """Train an uncompressed candidate and keep its weights in `file`, batch norms alive; once it is there, it is done.

    A training that was interrupted goes on from the checkpoint beside the file.
    """
    if file.exists():
        return
    training, checkpoint = bench.study.training, file.with_name(CHECKPOINT_FILE)
    recipe = replace(training.resolved(middle_numbers(training)), distillation=None)
    seed = bench.study.search.seed
    with pausing_for_measurements() as give_way:
        pipeline = TrainingPipeline(
            recipe,
            candidate,
            bench.feed(seed, recipe),
            epochs,
            checkpoint,
            class_weights=bench.class_weights(recipe),
            validation=bench.watched if recipe.patience else None,
            choose_precision=bench.precision,
            folds=False,
            tell=tell,
        )
        tell(Progress("train", budget=epochs))
        network = pipeline.fit(build(candidate, bench, seed=seed, dropout=recipe.dropout), give_way).network
    require_finite(learned_values(network), "after the network was trained")
    weights = {name: value.cpu().contiguous() for name, value in network.state_dict().items()}
    write_atomically(file, save({name: value for name, value in weights.items() if not name.startswith(OF_DATA)}))
    checkpoint.unlink(missing_ok=True)


def beginning_with(file: Path, study: Study) -> ExistingSpace:
    """The study's space with weights that were trained for it, in a file; it is known from then on."""
    space, channels = study.space, study.data.input_channels
    assert isinstance(space, ExistingSpace)
    known = space.known(channels)
    told = {"weights": str(file), "stem": _stem(space, study, known.blueprint.digest), "pixels": _pixels(space, known)}
    begun = space.model_copy(update=told)
    remember(begun.asked(channels), replace(known, weights=digest_of(load_file(file))), file)
    return begun


def _stem(space: ExistingSpace, study: Study, digest: str) -> Literal["auto", "keep", "small"]:
    """What `stem: auto` stood for in the network of this digest: beside weights it would stand for `keep`."""
    if space.stem != "auto":
        return space.stem
    if space.has_weights:
        return "keep"
    kept = space.model_copy(update={"stem": "keep"})
    return "keep" if kept.known(study.data.input_channels).blueprint.digest == digest else "small"


def _pixels(space: ExistingSpace, known: Known) -> Literal["auto", "data", "none"] | PixelNorm:
    """What `pixels: auto` stood for: torchvision's own normalisation with its weights, and that of the data else."""
    found = known.normalization
    return space.pixels if space.pixels != "auto" or found is None else PixelNorm(mean=found.mean, std=found.std)
