"""Kinds of blocks of a user's own, which a study names by `package.module:Class`.

The class carries as attributes what a row of `KINDS` holds, under the names of `BlockKind`: `config` (a record whose
`kind` is `Literal["package.module:Class"]`), `rows` and `widens` in any case. It is the block's torch module itself,
unless `module` names another, which keeps torch away from what only reads a study. `flow`, a function as in
`flows.FLOWS`, lets the bytes of its files be foretold; without it they are measured.

    class Mine(nn.Module):
        config = MineConfig
        rows = staticmethod(mine_rows)
        widens = "out"

A process knows a kind once it has read a study that is `trusted` and names it. The name alone and the record's fields
are in a candidate's id, the code is not: what computes something else needs another name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, fields
from typing import Any

from pydantic import BaseModel

from search_spaces.block_configs import Record
from search_spaces.block_spaces import BlockSpace, field_of
from search_spaces.flows import OWN_FLOWS
from search_spaces.kinds import OWN_KINDS, BlockKind
from search_spaces.own_code import is_named, named_code

REQUIRED = tuple(field.name for field in fields(BlockKind) if field.default is MISSING and field.name != "module")


def learn_kind(name: str) -> BlockKind:
    """Import a kind of the user's own; blocks may be of it from now on. Raises ValueError that begins with its name."""
    if name in OWN_KINDS:
        return OWN_KINDS[name]
    return learn_class(name, named_code(name, trusted=True, purpose="code of your own, which is a kind of block"))


def learn_class(name: str, own: Any) -> BlockKind:
    """As `learn_kind`, of a class that is at hand."""
    if missing := [attribute for attribute in REQUIRED if not hasattr(own, attribute)]:
        needed = ", ".join(REQUIRED)
        raise ValueError(f"{name}: expected a class with the attributes {needed}, got one without {missing[0]}")
    given = {field.name: getattr(own, field.name) for field in fields(BlockKind) if hasattr(own, field.name)}
    kind = BlockKind(**{"module": own, **given})
    _check_record(name, kind)
    OWN_KINDS[name] = kind
    OWN_FLOWS.pop(name, None)  # of another class that was learned by this name
    if (flow := getattr(own, "flow", None)) is not None:
        OWN_FLOWS[name] = flow
    return kind


def name_of(own: type) -> str:
    """The name by which a study names a class."""
    return f"{own.__module__}:{own.__qualname__}"


def named_kinds(names: Iterable[object]) -> list[str]:
    """Those among `names` that are written as code of the user's own, each once."""
    return [name for name in dict.fromkeys(names) if isinstance(name, str) and is_named(name)]


def _check_record(name: str, kind: BlockKind) -> None:
    config: Any = kind.config
    if not (isinstance(config, type) and issubclass(config, BaseModel) and issubclass(config, Record)):
        raise ValueError(f"{name}: expected config to be a class made from block_configs.Record, got {config!r}")
    searched = {field_of(key) for key in BlockSpace.model_fields}
    if strange := [field for field in kind.choices if field not in searched]:
        known = ", ".join(sorted(searched - {"kernel", "expansion", "activation"}))
        raise ValueError(f"{name}: expected choices among {known}, got {strange[0]}")
    expected, came = {"kind", *kind.fields}, set(config.model_fields)
    if expected != came:
        raise ValueError(
            f"{name}: expected config to have the fields {', '.join(sorted(expected))}, got {', '.join(sorted(came))}"
        )
    literal = getattr(config.model_fields["kind"].annotation, "__args__", ())
    if literal != (name,):
        given = ", ".join(map(repr, literal)) or "no Literal"
        raise ValueError(f'{name}: expected kind: Literal["{name}"] in {config.__name__}, got {given}')
