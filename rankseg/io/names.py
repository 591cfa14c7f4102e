"""Names of arrays in files that hold several."""

from collections.abc import Iterable

PROBS_KEYS = ("probs", "probabilities")
LABELS_KEYS = ("label", "labels")
"""Names by which an array is known among several in a file."""


def choose(names: Iterable[str], key: str | None, usual: tuple[str, ...]) -> str:
    """Return the name that was asked for, or that of the only array, or the only usual one.

    Raises
    ------
    ValueError
        If there is none, or no such array, or several.
    """
    names = list(names)
    if not names:
        raise ValueError("no array in it")
    if key is None:
        known = [name for name in names if name in usual]
        key = names[0] if len(names) == 1 else known[0] if len(known) == 1 else None
    if key not in names:
        problem = "several arrays, name one of" if key is None else f"no array {key!r} among"
        argument = "labels_key" if usual is LABELS_KEYS else "probs_key"
        listed = ", ".join(map(str, names))
        raise ValueError(f"{problem} {listed}, as by {argument}={names[0]}")
    return key
