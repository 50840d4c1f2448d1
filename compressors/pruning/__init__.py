"""Pruning: what ranks channels, and how they are removed."""

from compressors.pruning.channels import prune
from compressors.pruning.importances import IMPORTANCES, Group, Importance, batch_norm_scale, weight_norm

__all__ = ["IMPORTANCES", "Group", "Importance", "batch_norm_scale", "prune", "weight_norm"]
