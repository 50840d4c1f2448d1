"""The options of `nas compress` as wishes. No torch until a network has to be read for the size of its images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nas.compression.folder import ResultFolder
from nas.compression.given_data import GivenData, asked_size, is_study, of_study
from nas.compression.model import space_of
from nas.compression.settings import study_of
from nas.compression.wishes import Wishes, read_format, read_limits, read_rank, read_ratio
from nas.errors import InputError
from nas.first_study.choices import settings_of
from nas.first_study.looking import SEED, found_at
from nas.first_study.proposal import data_choices, suited_size
from nas.study.effort import EFFORTS
from nas.study.file import override_settings
from search_spaces.own_code import make_importable


@dataclass(frozen=True)
class Options:
    """What the command line says, as it says it."""

    model: str
    data: str
    to: Path
    ratio: Sequence[str] = ()
    format: Sequence[str] = ()
    rank: Sequence[str] = ()
    importance: str | None = None
    epochs: int | None = None
    limits: Sequence[str] = ()
    trials: int | None = None
    weights: str = "none"
    trusted: bool = False
    overrides: Sequence[str] = ()


def wishes_of(options: Options) -> Wishes:
    """The wishes, without the size of images where nobody says one. Raises InputError for what cannot be meant."""
    space = space_of(options.model, weights=options.weights, trusted=options.trusted)
    # Code of one's own mostly lies where the command is given.
    make_importable(Path(options.data).parent if is_study(options.data) else Path(), Path())
    own = {
        "ratio": read_ratio(options.ratio),
        "format": read_format(options.format),
        "rank": read_rank(options.rank),
        "limits": read_limits(options.limits),
    }
    override_settings({}, options.overrides)  # what is no KEY=VALUE is said before data are looked at
    given = given_data(options)
    size = given.suited_size if given.suited_size and not asked_size(options.overrides) else None
    return Wishes(
        space={**space, **given.space, **({} if size is None else {"input_size": size})},
        data=given.data,
        sections=given.sections,
        importance=options.importance,
        epochs=options.epochs,
        trials=options.trials,
        overrides=options.overrides,
        **own,  # type: ignore[arg-type]
    )


def given_data(options: Options) -> GivenData:
    """What `--data` names, with what the pictures suggest where it is no study."""
    if is_study(options.data):
        return of_study(options.data)
    try:
        found = found_at(options.data, ResultFolder(options.to).study, options.overrides)
    except InputError as error:
        raise InputError(f"--data: {error}") from None
    size = suited_size(found, EFFORTS["normal"]).size
    return GivenData(settings_of(data_choices(found, seed=SEED))["data"], suited_size=size)


def with_fitting_size(wishes: Wishes, to: Path) -> Wishes:
    """The wishes with a size of images that the network can take, where the pictures' own is none.

    Reads the network. Raises InputError where that cannot be done, or where they come to no study.
    """
    from nas.compression.sizes import fitted_size

    if asked_size(wishes.overrides) or not isinstance(suited := wishes.space.get("input_size", 32), int):
        return wishes
    study = study_of(replace(wishes, space={**wishes.space, "input_size": suited}), ResultFolder(to).study)
    space = study.space.model_dump(mode="json", exclude={"input_size"})
    size = fitted_size(space, suited, input_channels=study.data.input_channels)
    return replace(wishes, space={**wishes.space, "input_size": size})


def likely_size(wishes: Wishes) -> int:
    """The size of images as far as it is known before the network is read."""
    sizes = override_settings({"space": wishes.space}, wishes.overrides)["space"].get("input_size", 32)
    return sizes if isinstance(sizes, int) else 32
