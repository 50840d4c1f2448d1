"""Addresses of other machines in a study: they say where, and never hold a secret."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit


def head_address(text: str) -> str:
    """`auto`, or HOST:PORT of a cluster's head. Raises ValueError: a Ray client (ray://) is no member of a cluster."""
    host, _, port = text.rpartition(":")
    is_port = port.isascii() and port.isdigit() and 0 < int(port) < 2**16
    is_host = bool(host) and host.isprintable() and not set(host) & set("/@ ")
    if text != "auto" and not (is_host and is_port):
        raise ValueError("expected auto or HOST:PORT of the head" + ("" if "@" in text else f", got {text!r}"))
    return text


def agent_url(text: str) -> str:
    """`http://host:port` or `https://host:port`, without a slash at the end. Raises ValueError, which repeats no
    password.
    """
    if "@" in text:  # first: what cannot be read would be repeated in part
        raise ValueError("expected no user and no password in it: the token is read from the environment")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"expected http://host:port or https://host:port ({error})") from None
    is_bare = parts.path in ("", "/") and not parts.query and not parts.fragment
    if parts.scheme not in ("http", "https") or not parts.hostname or not is_bare or not text.isprintable():
        raise ValueError(f"expected http://host:port or https://host:port, got {text!r}")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if " " in host:
        raise ValueError(f"expected http://host:port or https://host:port, got {text!r}")
    return f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "")


def is_loopback(host: str) -> bool:
    """Whether a name or number means the machine itself, so that nothing crosses a network."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
