"""The address of a database: PostgreSQL's, and never with a password in it.

What a study says is written into run folders, reports and logs, and shown in errors.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

SCHEMES = ("postgresql", "postgresql+psycopg")
SECRETS = ("password", "sslpassword")
HOW = "it is read from PGPASSWORD, ~/.pgpass or a service file (postgresql://?service=NAME)"


def storage_url(url: object) -> str:
    """`url`, if it may stand in a study. Raises ValueError otherwise; the words hold no part that may be secret."""
    expected = "expected postgresql://USER@HOST:PORT/DATABASE"
    scheme, separator, _ = url.partition("://") if isinstance(url, str) else ("", "", "")
    if not isinstance(url, str) or not separator or scheme not in SCHEMES:
        other = f"a url of {scheme.partition('+')[0]!r}" if separator else "something else"
        raise ValueError(f"{expected}, got {other}; the file study.log is the record, and needs no database")
    try:
        parts = urlsplit(url)
        has_password = parts.password is not None
        _ = parts.port
    except ValueError:
        raise ValueError(f"{expected}, got a url that cannot be read") from None
    # A "/", "?" or "#" that was not written as %2F, %3F or %23 ends the password too early for the parser, not for us.
    is_torn = "@" in parts.path + parts.query or "#" in url
    asked = {name.lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    if has_password or is_torn or asked & set(SECRETS):
        raise ValueError(f"{expected}, got a url with a password in it; {HOW}")
    return url


def driver_url(url: str) -> str:
    """The url as SQLAlchemy takes it, with the driver that the extra `postgresql` installs."""
    return url.replace("postgresql://", "postgresql+psycopg://", 1)
