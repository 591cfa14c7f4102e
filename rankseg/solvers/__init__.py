"""Solvers: from probabilities to thresholds, and from thresholds to masks or labels."""
