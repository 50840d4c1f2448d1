"""What a study cannot be run for on this machine: `nas check`, its probe and `nas run` refuse the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from nas.candidates.corners import extreme_candidates, float_candidate, teacher_candidate
from nas.candidates.sampling import prunable_groups
from nas.commands.mirroring import refused_storage
from nas.errors import InputError
from nas.registry import ENGINES, TRACKERS
from nas.run_folder.network import refuse_unreadable
from nas.run_folder.paths import RunFolder, folder_named
from nas.runtimes.runtime import missing, runtime_of
from nas.search.earlier import unusable
from nas.study import Distillation, Study
from nas.study.search import is_scan
from nas.training.device import refuse_missing_device
from search_spaces.trials import Pick, last


def refuse(study: Study, folder: RunFolder | None = None) -> None:
    """Raise InputError with all `refusals`, a line each."""
    if problems := list(refusals(study, folder)):
        raise InputError("\n".join(problems))


def refusals(study: Study, folder: RunFolder | None = None) -> Iterator[str]:
    """Sentences that begin with the key at fault. That data cannot be used shows where they are looked at.

    `folder` is the run's, where there is one. A run asks its runtimes themselves, and reads its earlier runs later on.
    """
    if unread := _told(refuse_unreadable, study) or _told(_refuse_unfit_sizes, study):
        yield from unread
        return  # what is said of candidates below cannot be said of a network that is not known, or has no shapes
    yield from ENGINES[study.search.engine].refused(study)
    yield from refused_storage(study)
    yield from missing(study.targets, at_a_glance=folder is None)
    yield from _absent_trackers(study)
    yield from _refused_formats(study)
    yield from _unranked_groups(study)
    yield from _told(refuse_missing_device, study.training.device)
    yield from unusable(study) if folder is None else ()
    yield from _unusable_scans(study, folder)
    yield from _too_large_for_a_grid(study)
    yield from _told(refuse_teachers, study, folder)


def _refuse_unfit_sizes(study: Study) -> None:
    """Raise InputError where an existing network cannot take images of a size that it is to have."""
    if study.space.block_spaces():
        return
    sizes = {"space.input_size": study.space.input_sizes}
    sizes |= {} if study.search.input_size is None else {"search.input_size": (study.search.input_size,)}
    network = study.space.sample(Pick(last), input_channels=study.data.input_channels)
    for key, size in ((key, size) for key, own in sizes.items() for size in own):
        try:
            network.model_copy(update={"input_size": size}).layers(1)
        except ValueError as error:
            raise InputError(
                f"{key}: {study.space.words} cannot take images of {size} pixels a side: {error}"
            ) from None


def _absent_trackers(study: Study) -> Iterator[str]:
    """Trackers whose library, the extra of the same name, is not installed."""
    for name in study.tracking:
        try:
            TRACKERS[name]
        except ImportError as error:
            yield f"tracking: {name} is not installed (pip install 'compact-nas[{name}]'): {error}"


def _refused_formats(study: Study) -> Iterator[str]:
    """Weight formats that a target's runtime does not take."""
    for target in study.targets:
        for name, reason in runtime_of(target).refused.items():
            if name in study.compression.weight_format:
                whom = f"target {target.name!r} ({target.runtime})"
                yield f"compression.weight_format: {whom} does not take {name}: {reason}"


def _unranked_groups(study: Study) -> Iterator[str]:
    """Channels that pruning ranks by the scales of batch norms, and that no batch norm follows."""
    compression = study.compression
    if compression.importance != "bn_scale" or not any(compression.pruning_ratio):
        return
    architecture = extreme_candidates(study)["largest"].architecture
    groups = prunable_groups(architecture, compression)
    if without := [group.name for group in groups if not architecture.has_norm(group)]:
        names = ", ".join(without[:3]) + (f" and {len(without) - 3} more" if len(without) > 3 else "")
        ranks = "bn_scale ranks channels by a batch norm's scales"
        yield f"compression.importance: {ranks}, and {names} have none; take another one, such as l2"


def _unusable_scans(study: Study, folder: RunFolder | None) -> Iterator[str]:
    if any(map(is_scan, study.search.warm_start)):
        from nas.search.suggestions import unusable_scans  # with optuna, which takes a while

        yield from unusable_scans(study, folder)


def _too_large_for_a_grid(study: Study) -> Iterator[str]:
    if study.search.sampler == "grid":
        from nas.search.modelled import grid_problem  # with optuna, which takes a while

        if problem := grid_problem(study):
            yield problem


def refuse_teachers(study: Study, folder: RunFolder | None) -> None:
    """Raise InputError where what the study names as a teacher is neither a candidate that fits nor a network's folder.

    A teacher may lie in the run's `folder`; a trial of the run that teaches is known only in its journal.
    """
    keys = {"training.distillation.architecture": study.training.distillation}
    if not isinstance(study.finals.teacher, int):
        keys["finals.teacher"] = study.final_recipe.distillation
    name = runtime_of(study.target).file_name
    for key, options in keys.items():
        if options is None:
            continue
        _refuse_absent_stages(options, study, key.rpartition(".")[0])
        if options.is_built:
            from nas.built_teacher import refuse_unknown  # with torch, which takes a while

            refuse_unknown(options, key.rpartition(".")[0])
            continue
        finished = folder_named(options.architecture, folder)
        if finished is None:
            teacher_candidate(study, options)
        elif not (finished / name).exists():
            raise InputError(f"{key}: expected a folder that holds {name}, got {finished}")
        elif options.looks_inside:
            float_candidate(finished, key=key)


def _refuse_absent_stages(options: Distillation, study: Study, key: str) -> None:
    """Raise InputError where maps are compared at the ends of stages that no candidate has."""
    if options.looks_inside and not study.space.block_spaces():
        raise InputError(
            f"{key}: expected features_weight and attention_weight 0 with {study.space.words}, which has no stages at "
            "whose ends maps could be compared"
        )
    stages = study.space.sections
    beyond = [part for part in options.at if int(part.partition(".")[0].removeprefix("stage")) > stages]
    if beyond:
        raise InputError(f"{key}.at: expected stages up to stage{stages}, got {', '.join(beyond)}")


def _told(check: Callable[..., object], *given: object) -> list[str]:
    """The message of what a check raises for an input, if it raises."""
    try:
        check(*given)
    except InputError as error:
        return [str(error)]
    return []
