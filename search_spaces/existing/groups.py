"""The channel groups of a blueprint. No torch."""

from __future__ import annotations

from search_spaces.existing.blueprint import Blueprint
from search_spaces.layers import ChannelGroup


def groups_of(blueprint: Blueprint, input_size: int) -> tuple[ChannelGroup, ...]:
    """Everything that can be pruned."""
    raise NotImplementedError


def is_between(blueprint: Blueprint, input_size: int, group: ChannelGroup) -> bool:
    """Whether several parts hold a group's channels."""
    raise NotImplementedError
