"""Nodes that turn a value of any graph into labels or masks."""
