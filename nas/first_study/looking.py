"""The data that somebody names, by a folder, a file or a set's name: read, listed, and some pictures opened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nas.data import folder_of
from nas.data.sources import SOURCES
from nas.errors import InputError
from nas.first_study.choices import Choice, settings_of
from nas.first_study.columns import choose_columns
from nas.first_study.document import document
from nas.first_study.pictures import look
from nas.first_study.places import located
from nas.first_study.proposal import Found, study_name
from nas.study import Data
from nas.study.file import override_settings, parse_study

SEED = 0  # of whatever is drawn while data are looked at


def found_at(given: str, out: Path, overrides: Sequence[str]) -> Found:
    """What `given` names, as a study in the file `out` will say it, with the user's KEY=VALUE of its section `data`.

    Raises InputError where there is nothing, or where it cannot be read.
    """
    name, place = study_name(given), located(given)
    of_data = [override for override in overrides if override.startswith("data.")]
    wanted = override_settings(settings_of(place), of_data)["data"]
    if wanted["source"] == "csv":
        place += choose_columns(wanted["path"], wanted.get("columns") or {}, asked_root=wanted.get("root"))
    text = document([Choice("name", name), *place, Choice("space.preset", "32px")], name)
    data = parse_study(text, out, of_data).data
    _refuse_absent_set(data, given)
    listing = SOURCES[data.source].list(data)
    return Found(tuple(place), data, listing, look(listing))


def _refuse_absent_set(data: Data, given: str) -> None:
    """A set that is known by name must lie somewhere, or be fetched."""
    if data.source == "torchvision" and not data.download and not folder_of(data).is_dir():
        raise InputError(
            f"{given}: expected a folder {data.path!r} that holds {data.dataset}, got none; say where it is, with "
            f"data.path=FOLDER, or have torchvision fetch it, with data.download=true"
        )
