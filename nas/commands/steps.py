"""How many steps of training a trial and a finalist have."""

from __future__ import annotations

from collections.abc import Iterator

from nas.data.describe import DataSummary
from nas.estimate.computing import steps_per_epoch
from nas.study import Study
from nas.study.numbers import choices_of

FEWEST_STEPS = 200  # with 189, trials reached 21 to 39 % where the same networks later reached 68 to 92 %


def steps_of(images: int, *, epochs: int, batch_size: int) -> int:
    """Steps of a whole training."""
    return epochs * steps_per_epoch(images, min(batch_size, images))


def steps_words(study: Study, summary: DataSummary) -> Iterator[str]:
    """Epochs, images and steps of a trial and of a finalist, a line each."""
    trial, final = study.training, study.final_recipe
    for size in choices_of(trial.batch_size):
        yield _line("a trial", study.search_epochs, size, summary.trial_images)
    for size in choices_of(final.batch_size) if study.search.finalists else ():
        yield _line("a finalist", study.final_epochs, size, summary.total("train"))


def few_steps(study: Study, summary: DataSummary) -> Iterator[str]:
    """A warning where trials are too short to tell networks apart."""
    epochs, batch_size = study.search_epochs, max(choices_of(study.training.batch_size))
    steps = steps_of(summary.trial_images, epochs=epochs, batch_size=batch_size)
    if steps < FEWEST_STEPS:
        key = "search.epochs" if study.search.epochs else "training.epochs"
        yield (
            f"{key}: a trial has {steps} steps of training, and below some hundreds accuracies say little of the "
            "networks; take more epochs, more images or a smaller training.batch_size"
        )


def _line(what: str, epochs: int, batch_size: int, images: int) -> str:
    batch = min(batch_size, images)
    per_epoch = steps_per_epoch(images, batch)
    batches = f"{per_epoch:,} batch{'es' * (per_epoch > 1)} of {batch}"
    whole = f"{epochs * per_epoch:,} steps"
    return f"{what}: {epochs} epoch{'s' * (epochs > 1)} of {images:,} images, {batches}: {whole}"
