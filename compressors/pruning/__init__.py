"""Pruning: what ranks channels, and how they are removed."""

from compressors.pruning.channels import prune
from compressors.pruning.criteria import IMPORTANCES, Criterion, by_group
from compressors.pruning.importances import Importance, batch_norm_scale, weight_norm
from compressors.pruning.places import Group

__all__ = ["IMPORTANCES", "Criterion", "Group", "Importance", "batch_norm_scale", "by_group", "prune", "weight_norm"]
