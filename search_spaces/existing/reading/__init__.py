"""A torch module, read into a blueprint: traced once, each operation brought to the one form that the table OPS has."""

from search_spaces.existing.errors import Unreadable
from search_spaces.existing.reading.asked import read_space, remember_read
from search_spaces.existing.reading.network import Read, read_network

__all__ = ["Read", "Unreadable", "read_network", "read_space", "remember_read"]
