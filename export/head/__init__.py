"""The heads of a model: what its outputs hold, and what the graph says of it."""
