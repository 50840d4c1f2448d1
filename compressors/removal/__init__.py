"""Removal: whole blocks become identities, and so do activations, whose layers are merged where that is exact."""

from compressors.removal.activations import remove_activations
from compressors.removal.blocks import remove_blocks
from compressors.removal.merging import is_exact, merge_pairs, merged

__all__ = ["is_exact", "merge_pairs", "merged", "remove_activations", "remove_blocks"]
