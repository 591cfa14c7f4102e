"""The evaluation itself: one pass over the cases."""

from collections.abc import Callable, Iterable, Sequence
from operator import index
from pathlib import Path
from typing import Any

from ... import __version__
from ...settings import MODES, Settings, check_void_index
from ...validation import choice
from ..cases.checking import checked_cases, no_usable_case
from ..cases.files import Cases
from .methods import Method, default_methods
from .records import open_log, score_case
from .results import Evaluation


def evaluate(
    cases: Iterable[Any],
    methods: Sequence[Method] | None = None,
    *,
    output_mode: str = "multiclass",
    void_index: int = Settings.void_index,
    bootstrap: int = 2000,
    seed: int = 0,
    log: str | Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Compare RankSEG with an argmax on cases with known labels.

    The cases are gone through once and held one at a time; of each only its scores and a few
    sums are kept. Methods see all pixels, scores count those that are not void.

    Parameters
    ----------
    cases : Cases, or iterable
        A `Case`, (name, probs, labels) or (probs, labels) each, with probabilities
        (class, *spatial) and labels (*spatial), or masks (class, *spatial) in multilabel. Arrays
        of any library; they are worked on in CPU memory. One that something is wrong with is
        left out and reported.
    methods : sequence of Method, optional
        What to compare, the baseline first; `default_methods` by default.
    output_mode : {"multiclass", "multilabel"}
        What the methods return and the labels are.
    void_index : int, default 255
        Label of pixels that do not count.
    bootstrap : int, default 2000
        Number of resamples for the intervals.
    seed : int, default 0
        Seed of these.
    log : str or Path, optional
        File that receives a line for each finished case. Cases that it already has, from a run
        that was interrupted, are not computed again.
    progress : callable, optional
        Called with the number of cases done, good or bad, after each.

    Returns
    -------
    Evaluation
        Scores, gains with their intervals, calibration, time and memory.

    Raises
    ------
    TypeError
        If an argument, or an item of `cases`, has the wrong type.
    ValueError
        If an argument has a wrong value, no case is left, or the log is of other settings.

    Examples
    --------
    >>> import numpy as np
    >>> from rankseg.evaluation import evaluate
    >>> rng = np.random.default_rng(0)
    >>> def cases():
    ...     for _ in range(30):
    ...         foreground = rng.beta(1, 4, (16, 16))
    ...         labels = (rng.random((16, 16)) < foreground).astype(np.uint8)
    ...         yield np.stack([1 - foreground, foreground]), labels
    >>> result = evaluate(cases()).result("RankSEG Dice", "dice", "label")
    >>> result.verdict, result.gain > 0
    ('helps', True)
    """
    output_mode = choice("output_mode", output_mode, MODES)
    if methods is None:
        methods = default_methods(output_mode=output_mode)
    titles = tuple(method.name for method in methods)
    if not titles or len(set(titles)) < len(titles):
        raise ValueError(f"methods must be one or more with different names, found {titles}")
    settings = {
        "version": __version__,
        "cases": repr(cases) if isinstance(cases, Cases) else "",
        "methods": {method.name: repr(method.predict) for method in methods},
        "output_mode": output_mode,
        "void_index": check_void_index(void_index),
    }
    if index(bootstrap) < 1:
        raise ValueError(f"bootstrap must be at least 1, found {bootstrap}")
    problems: dict[str, str] = {}
    records, add = open_log(None if log is None else Path(log), settings)
    if isinstance(cases, Cases):  # files may have been removed since the log was written
        names = set(cases.names)
        records = [record for record in records if record.name in names]
    good = checked_cases(
        cases,
        problems,
        output_mode=output_mode,
        void_index=void_index,
        classes=len(records[0].present) if records else None,
        skip={record.name for record in records},
    )
    largest = 0
    for case in good:
        record = score_case(case, methods, void_index, case.probs.size > largest)
        largest = max(largest, case.probs.size)
        records.append(record)
        add(record)
        if progress is not None:
            progress(len(records) + len(problems))
        del case  # before the next one is read
    if not records:
        raise no_usable_case(problems)
    records.sort(key=lambda record: record.name)
    return Evaluation(tuple(methods), tuple(records), problems, settings, bootstrap, seed)
