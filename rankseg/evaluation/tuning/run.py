"""Which settings, if any, are better than argmax on your data? Chosen by cross-validation."""

from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import replace
from itertools import compress
from typing import Any

import numpy as np

from ...config import Config
from ...settings import MODES, Settings, check_void_index, one_correlation
from ...validation import choice, number
from ..averages import Average
from ..cases.census import Census, add_up
from ..cases.source import Source
from ..compare.scores import TITLES
from ..statistics import standard_error
from .candidates import (
    CALIBRATIONS,
    CORRELATIONS,
    TARGETS,
    Candidate,
    admitted,
    all_candidates,
    target,
)
from .crossvalidation import CrossValidation, draw_pixels
from .outcomes import Outcome, Tuning

PRUNING_PROBS = (0.05, 0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9)


def tune(
    cases: Iterable[Any],
    *,
    metric: str = "dice",
    presence: str = "both",
    metrics: Sequence[str] | None = None,
    solvers: Sequence[str] = ("RMA",),
    pruning_probs: Sequence[float] = PRUNING_PROBS,
    calibrations: Sequence[str] = CALIBRATIONS,
    correlations: Sequence[float] = CORRELATIONS,
    per_class: bool = True,
    output_mode: str = "multiclass",
    void_index: int = Settings.void_index,
    folds: int = 5,
    seed: int = 0,
    progress: Callable[[str, int], None] | None = None,
    average: str = "image-first",
    classes: Sequence[int] | None = None,
    ignore_classes: Sequence[int] = (),
    empty: str = "nan",
    check_sums: bool = True,
    check_labels: bool = True,
) -> Tuning:
    """Choose between argmax and RankSEG, and their settings, on cases with known labels.

    Candidates are the plain argmax, the argmax of the classes that pruning leaves, and RankSEG
    with each metric, solver and correlation: each with every pruning probability, and after no
    calibration, temperature scaling and vector scaling. The best of them is also tried with a
    pruning probability for each class.

    Each candidate is scored by cross-validation: what it fits, the calibration and the pruning
    of single classes, is fitted to the other folds. Of those that lack no more than one standard
    error (of the paired difference) to the best, and are better than argmax by more than one, the
    simplest is taken. Argmax is the simplest of all, and stays where nothing is clearly better.

    The cases are gone through two to four times, and held one at a time.

    Parameters
    ----------
    cases : Cases, or iterable
        As for `evaluate`, but not a generator: they are gone through again. Cases of one group
        stay in one fold.
    metric : {"dice", "iou"}
        Samplewise score that is to be high.
    presence : {"both", "label", "either"}
        Which classes of a case it is averaged over: those in the label, or those in label or
        prediction. With "both" it is those in the label, and only candidates are admitted that
        are not below argmax over those in label or prediction.
    metrics : sequence of {"dice", "iou"}, optional
        What RankSEG may maximise, by default both.
    solvers : sequence of str
        Solvers that RankSEG may use.
    pruning_probs : sequence of float
        Pruning probabilities to try; 0.5, the default of RankSEG, always is.
    calibrations : sequence of {"none", "temperature", "vector"}
        Calibrations to try; "none" always is.
    correlations : sequence of float
        Correlations of pixels to try with RMA; 0 always is.
    per_class : bool, default True
        Whether to try a pruning probability for each class.
    output_mode : {"multiclass", "multilabel"}
        What labels are. In multilabel a threshold of 0.5 stands for the argmax.
    void_index : int, default 255
        Label of pixels that do not count.
    folds : int, default 5
        Parts that the groups are divided into, in the order of the cases.
    seed : int, default 0
        Fixes which pixels the calibrations are fitted to.
    progress : callable, optional
        Called after each case of each pass, with what the pass does and the number of cases.
    average, classes, ignore_classes, empty, check_sums, check_labels
        Which mean of the scores is to be high, over which classes, and what is checked, as for
        `evaluate`.

    Returns
    -------
    Tuning
        The chosen settings, as a `Config` to save or to give to `RankSEG.from_config`, and how
        every candidate did.

    Raises
    ------
    TypeError
        If an argument has the wrong type, or cases can be gone through only once.
    ValueError
        If a value is outside its range, or there are fewer than two groups of usable cases.

    Notes
    -----
    Scores are of whole images. That of the choice flatters it a little: it was chosen among many
    by these very scores. What choices gain on cases they were made without, each fold in turn, is
    `Tuning.unseen`. And it holds for cases like these: cross-validation within one video or
    hospital says nothing of another.

    Examples
    --------
    Faint objects whose probabilities are right:

    >>> import numpy as np
    >>> from rankseg import RankSEG
    >>> from rankseg.evaluation import tune
    >>> rng, cases = np.random.default_rng(0), []
    >>> for _ in range(30):
    ...     foreground = rng.beta(0.5, 1.5, (24, 24))
    ...     labels = (rng.random((24, 24)) < foreground).astype(np.uint8)
    ...     cases.append((np.stack([1 - foreground, foreground]), labels))
    >>> tuning = tune(cases, calibrations=["none"])
    >>> tuning.chosen.candidate.name
    'RankSEG Dice, pruning 0.5'
    >>> segment = RankSEG.from_config(tuning.config)
    """
    metric = choice("metric", metric, TITLES)
    presence = choice("presence", presence, TARGETS)
    output_mode = choice("output_mode", output_mode, MODES)
    if not solvers:
        raise ValueError("solvers must name one or more")
    metrics = metrics or sorted(TITLES, key=lambda name: name != metric)
    kinds = dict.fromkeys(
        choice("calibrations", kind, CALIBRATIONS) for kind in ("none", *calibrations)
    )
    grid = sorted({0.5, *(number("pruning_probs", p, 0, 1) for p in pruning_probs)})
    rhos = sorted({0.0, *(one_correlation("correlations", r) for r in correlations)})
    candidates = list(all_candidates(metrics, solvers, grid, kinds, output_mode, rhos))
    only = None if classes is None else tuple(classes)
    mean = Average(average, only, tuple(ignore_classes), empty)
    source = Source(cases, output_mode, check_void_index(void_index), progress, check_sums)
    total = len(cases) if isinstance(cases, Sized) else None
    counts: list[Census] = []
    samples = draw_pixels(source, seed, total, counts)
    census = add_up(counts)
    if check_labels and void_index == Settings.void_index:
        census.check(void_index)
    validation = CrossValidation(source, samples, kinds, folds, mean)
    scores = validation.scores(candidates, metric, "scoring the candidates")
    if per_class:
        means = target(scores, presence).mean(axis=0)
        means = np.where(admitted(scores, scores[:, 0], presence), means, -np.inf)
        prunable = [i for i, one in enumerate(candidates) if one.prunes]
        base = candidates[max(prunable, key=means.__getitem__)]
        validation.fit_pruning(base, grid, metric, presence)
        candidates.append(replace(base, per_class=True))
        further = validation.scores(candidates[-1:], metric, "scoring the pruning of each class")
        scores = np.concatenate([scores, further], axis=1)
    how = (source.classes or 0, metric, presence)
    outcomes = _outcomes(candidates, scores, source.groups, *how)
    chosen = _choose(outcomes)
    unseen = _unseen_gains(candidates, scores, source.groups, validation.folds, *how)
    untuned = Config(metrics[0], output_mode=source.output_mode, solver=solvers[0])
    tuning = Tuning(
        config=replace(
            validation.settings(chosen.candidate, None),
            calibration=validation.calibrations[chosen.candidate.calibration, None],
        ),
        outcomes=outcomes,
        chosen=chosen,
        best=min(
            (outcome for outcome in outcomes if outcome.admitted),
            key=lambda outcome: (outcome.behind, outcome.complexity),
        ),
        untuned=next(one for one in outcomes if one.candidate == Candidate(untuned)),
        metric=metric,
        presence=presence,
        images=len(source.groups),
        groups=len(set(source.groups)),
        folds=len(set(validation.folds.tolist())),
        problems=source.problems,
        average=mean,
        census=census,
        unseen=float(unseen.mean()),
        unseen_error=standard_error(unseen, source.groups),
    )
    return replace(tuning, config=replace(tuning.config, tuned=tuning.record()))


def _outcomes(
    candidates: Sequence[Candidate],
    scores: np.ndarray,
    groups: Sequence[str],
    classes: int,
    metric: str,
    presence: str,
) -> tuple[Outcome, ...]:
    label, either, score = (target(scores, name) for name in ("label", "either", presence))
    allowed = admitted(scores, scores[:, 0], presence)
    best = score[:, np.argmax(np.where(allowed, score.mean(axis=0), -np.inf))]
    return tuple(
        Outcome(
            candidate=candidate,
            complexity=candidate.complexity(metric, classes),
            label=float(label[:, i].mean()),
            either=float(either[:, i].mean()),
            score=float(score[:, i].mean()),
            gain=float((score[:, i] - score[:, 0]).mean()),
            gain_error=standard_error(score[:, i] - score[:, 0], groups),
            behind=float((best - score[:, i]).mean()),
            behind_error=standard_error(best - score[:, i], groups),
            admitted=bool(allowed[i]),
        )
        for i, candidate in enumerate(candidates)
    )


def _unseen_gains(
    candidates: Sequence[Candidate],
    scores: np.ndarray,
    groups: Sequence[str],
    folds: np.ndarray,
    classes: int,
    metric: str,
    presence: str,
) -> np.ndarray:
    """Return the gain of each case by what is chosen from the scores of the other folds."""
    gains = np.zeros(len(folds))
    for fold in np.unique(folds):
        mine = folds == fold
        others = list(compress(groups, ~mine))
        outcomes = _outcomes(candidates, scores[~mine], others, classes, metric, presence)
        found = target(scores[mine], presence)
        gains[mine] = found[:, outcomes.index(_choose(outcomes))] - found[:, 0]
    return gains


def _choose(outcomes: Sequence[Outcome]) -> Outcome:
    baseline = outcomes[0]
    near = [
        outcome
        for outcome in outcomes
        if outcome.admitted
        and outcome.behind <= outcome.behind_error
        and (outcome is baseline or outcome.gain > outcome.gain_error)
    ]
    return min(near, key=lambda outcome: (outcome.complexity, outcome.behind))
