"""Labelled cases: what one is, those in files, their checks, and passes over all of them."""
