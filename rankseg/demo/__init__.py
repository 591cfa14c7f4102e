"""A demo that makes its own images, trains its own model and measures on held-out truth."""
