"""What a study cannot be run for on this machine: `nas check`, its probe and `nas run` refuse the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from nas.candidates.corners import teacher_candidate
from nas.errors import InputError
from nas.runtimes.runtime import missing
from nas.search.earlier import unusable
from nas.study import Study
from nas.training.device import refuse_missing_device


def refuse(study: Study) -> None:
    """Raise InputError with all `refusals`, a line each."""
    if problems := list(refusals(study)):
        raise InputError("\n".join(problems))


def refusals(study: Study) -> Iterator[str]:
    """Sentences that begin with the key at fault. That data cannot be used shows where they are looked at."""
    yield from missing(study.targets, at_a_glance=True)
    yield from _told(refuse_missing_device, study.training.device)
    yield from unusable(study)
    yield from _too_large_for_a_grid(study)
    yield from _teachers(study)


def _too_large_for_a_grid(study: Study) -> Iterator[str]:
    if study.search.sampler == "grid":
        from nas.search.modelled import grid_problem  # with optuna, which takes a while

        if problem := grid_problem(study):
            yield problem


def _teachers(study: Study) -> Iterator[str]:
    """Files that hold no candidate that could teach; a trial of the run that teaches is known only in its folder."""
    training = [study.training] if isinstance(study.finals.teacher, int) else [study.training, study.final_recipe]
    told = [_told(teacher_candidate, study, one.distillation) for one in training if one.distillation is not None]
    yield from dict.fromkeys(problem for problems in told for problem in problems)


def _told(check: Callable[..., object], *given: object) -> list[str]:
    """The message of what a check raises for an input, if it raises."""
    try:
        check(*given)
    except InputError as error:
        return [str(error)]
    return []
