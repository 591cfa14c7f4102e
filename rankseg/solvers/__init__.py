"""Solvers: from probabilities to thresholds, and from thresholds to masks or labels."""

from . import block_labels as block_labels  # registers itself with `assignment`
