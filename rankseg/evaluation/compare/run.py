"""The evaluation itself: one pass over the cases."""

from collections.abc import Callable, Iterable, Sequence
from operator import index
from pathlib import Path
from typing import Any

from ... import __version__
from ...io.labels import class_names as read_class_names
from ...settings import MODES, Settings, check_void_index
from ...validation import choice
from ..averages import Average
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
    average: str | Sequence[str] = "image-first",
    classes: Sequence[int] | None = None,
    ignore_classes: Sequence[int] = (),
    empty: str = "nan",
    class_names: str | Sequence[str] = (),
    check_sums: bool = True,
    check_labels: bool = True,
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
    average : {"image-first", "class-first", "dataset", "nnunet"} or sequence of these
        Means that are reported: over the classes of each case and then over the cases; over the
        cases of each class and then over the classes; over the classes, of all pixels together;
        or as nnU-Net does it, class first and without the background, class 0.
    classes : sequence of int, optional
        Classes that count in these; all by default.
    ignore_classes : sequence of int
        Classes that do not, such as 0 for the background. They are predicted all the same.
    empty : {"nan", "one"}
        What a class in neither label nor prediction of a case is there, where classes in label or
        prediction count: not counted, or a score of 1.
    class_names : sequence of str, or str
        Names of the classes, or the name of a file of them (`rankseg.io.labels.class_names`). By
        default those that `Cases` know, as in a folder of nnU-Net.
    check_sums : bool, default True
        Whether multiclass probabilities must sum to 1 over the classes.
    check_labels : bool, default True
        Whether labels are refused whose void seems to be a class: masks of 0 and 255.

    Returns
    -------
    Evaluation
        Scores, gains with their intervals, calibration, time and memory.

    Raises
    ------
    TypeError
        If an argument, or an item of `cases`, has the wrong type.
    ValueError
        If an argument has a wrong value, no case is left, the log is of other settings, or the
        labels are such that no verdict could be trusted.

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
    given = (average,) if isinstance(average, str) else tuple(average)
    if not given:
        raise ValueError("average must name one or more, found none")
    only = None if classes is None else tuple(classes)
    averages = tuple(Average(name, only, tuple(ignore_classes), empty) for name in given)
    titles_of_classes = read_class_names(class_names)
    running = tuple(methods)
    if isinstance(cases, Cases):
        titles_of_classes = titles_of_classes or cases.class_names
        running = tuple(one._replace(predict=cases.written(one.predict)) for one in methods)
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
        check_sums=check_sums,
    )
    largest = 0
    for case in good:
        if not records:  # before the work
            _check_classes(averages, titles_of_classes, len(case.probs), output_mode)
        record = score_case(case, running, void_index, case.probs.size > largest)
        largest = max(largest, case.probs.size)
        records.append(record)
        add(record)
        if progress is not None:
            progress(len(records) + len(problems))
        del case  # before the next one is read
    if not records:
        raise no_usable_case(problems)
    records.sort(key=lambda record: record.name)
    evaluation = Evaluation(
        tuple(methods),
        tuple(records),
        problems,
        settings,
        bootstrap,
        seed,
        averages,
        titles_of_classes,
    )
    _check_classes(averages, titles_of_classes, evaluation.classes, output_mode)
    if check_labels and void_index == Settings.void_index:
        evaluation.census.check(void_index)
    return evaluation


def _check_classes(
    averages: Sequence[Average], names: Sequence[str], classes: int, output_mode: str
) -> None:
    for one in averages:
        one.selected(classes, output_mode == "multilabel")
    if names and len(names) != classes:
        raise ValueError(f"class_names must be {classes}, as there are classes, found {len(names)}")
