"""The address of a database: what is taken, what is refused, and that no error repeats a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.errors import InputError
from nas.study.file import parse_study
from nas.study.storage_url import driver_url, storage_url

SECRET = "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://nas@db.example:5433/nas",
        "postgresql+psycopg://nas@db/nas?sslmode=verify-full",
        "postgresql://",
        "postgresql:///nas?service=compact",
        "postgresql:///nas?host=/run/postgresql&passfile=/home/me/.pgpass",
        "postgresql://nas@[::1]:5432/nas",
    ],
)
def test_urls_that_are_taken(url: str) -> None:
    assert storage_url(url) == url
    assert driver_url(url).startswith("postgresql+psycopg://")
    assert driver_url(driver_url(url)) == driver_url(url)
    assert driver_url(url).partition("://")[2] == url.partition("://")[2]


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://nas:{SECRET}@db/nas",
        "postgresql://nas:@db/nas",
        f"postgresql://db/nas?password={SECRET}",
        f"postgresql://db/nas?user=nas&%70assword={SECRET}",
        f"postgresql://db/nas?PASSWORD={SECRET}",
        f"postgresql://db/nas?sslpassword={SECRET}",
        f"postgresql://nas:12/{SECRET}@db/nas",
        f"postgresql://nas:12?{SECRET}@db/nas",
        f"postgresql://nas:12#{SECRET}@db/nas",
    ],
)
def test_a_password_is_refused_and_never_repeated(url: str) -> None:
    with pytest.raises(ValueError, match=r"got a url with a password in it; it is read from PGPASSWORD") as error:
        storage_url(url)
    assert SECRET not in str(error.value)


@pytest.mark.parametrize(
    ("url", "came"),
    [
        ("sqlite:///study.db", "a url of 'sqlite'"),
        (f"mysql+pymysql://nas:{SECRET}@db/nas", "a url of 'mysql'"),
        ("postgres://nas@db/nas", "a url of 'postgres'"),
        (f"nas:{SECRET}@db", "something else"),
        (f"postgresql://nas:{SECRET}/@db/nas", "a url that cannot be read"),
        ("postgresql://nas@db:port/nas", "a url that cannot be read"),
    ],
)
def test_anything_else_is_refused(url: str, came: str) -> None:
    with pytest.raises(ValueError, match=f"expected postgresql://USER@HOST:PORT/DATABASE, got {came}") as error:
        storage_url(url)
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("where", ["file", "command line"])
def test_the_study_says_it_with_its_key(where: str) -> None:
    url = f"postgresql://nas:{SECRET}@db/nas"
    text = "name: t\ndata: {source: digits}\nspace: {preset: 8px}\n"
    in_file = f"search:\n  storage: {url}\n" if where == "file" else ""
    overrides = [] if in_file else [f"search.storage={url}"]
    with pytest.raises(InputError, match=r"(t\.yaml:5|command line): search\.storage: expected .* PGPASSWORD") as error:
        parse_study(text + in_file, Path("t.yaml"), overrides)
    assert SECRET not in str(error.value)
    assert len(str(error.value).splitlines()) == 1
