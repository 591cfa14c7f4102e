"""The choice between argmax, RankSEG and their settings by cross-validation."""

import os
import weakref
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from lonely import LonelyCases, LonelyFiles

from rankseg import RankSEG, metrics
from rankseg.activations import softmax
from rankseg.calibration import Calibration
from rankseg.config import Config
from rankseg.evaluation import Case, Cases
from rankseg.evaluation.cases.source import Source
from rankseg.evaluation.statistics import standard_error
from rankseg.evaluation.tuning.candidates import (
    Candidate,
    Scorer,
    all_candidates,
    as_presences,
    target,
)
from rankseg.evaluation.tuning.crossvalidation import CrossValidation, draw_pixels
from rankseg.evaluation.tuning.fit import Sample, fit
from rankseg.evaluation.tuning.folds import split
from rankseg.evaluation.tuning.outcomes import Outcome
from rankseg.evaluation.tuning.pruning import search, trials
from rankseg.evaluation.tuning.run import PRUNING_PROBS, _choose, _outcomes, _unseen_gains, tune


def draw(rng, probs):
    """Draw labels from probabilities (class, *spatial)."""
    return (probs.cumsum(axis=0) < rng.random(probs.shape[1:])).sum(axis=0).astype(np.uint8)


def soft_cases(count=10, classes=3, shape=(12, 15), seed=0, power=1.0, groups=None):
    """Cases whose labels are drawn from their probabilities to some power."""
    rng = np.random.default_rng(seed)
    cases = []
    for i in range(count):
        probs = softmax(rng.normal(scale=1.5, size=(classes, *shape)), axis=0)
        labels = draw(rng, softmax(power * np.log(probs), axis=0))
        group = f"case {i}" if groups is None else groups[i]
        cases.append(Case(f"case {i}", probs, labels, group))
    return cases


def faint_cases(count=30):
    """Objects that are never more likely than not in most pixels, with probabilities that hold."""
    rng = np.random.default_rng(0)
    cases = []
    for _ in range(count):
        foreground = rng.beta(0.5, 1.5, (24, 24))
        probs = np.stack([1 - foreground, foreground])
        cases.append((probs, draw(rng, probs)))
    return cases


def ring_cases(count=8):
    """Squares that argmax finds, in rings of 0.45 where nothing ever is."""
    cases = []
    for i in range(count):
        foreground = np.full((16, 18), 0.01)
        foreground[2 : 12 + i % 3, 2:12] = 0.45
        foreground[3 : 11 + i % 3, 3:11] = 0.9
        cases.append((np.stack([1 - foreground, foreground]), (foreground > 0.5).astype(np.uint8)))
    return cases


def ghost_cases(count=12):
    """Halves that are certain, and a third class that is claimed with 0.55 and never there."""
    rng = np.random.default_rng(0)
    cases = []
    for i in range(count):
        probs = np.full((3, 10, 12), 0.005)
        probs[0, :, :6] = probs[1, :, 6:] = 0.99
        where = rng.integers(1, 9)
        probs[:, where, 2 : 4 + i % 2] = np.array([0.44, 0.01, 0.55])[:, None]
        labels = np.zeros((10, 12), np.uint8)
        labels[:, 6:] = 1
        cases.append((probs / probs.sum(axis=0), labels))
    return cases


def random_config(rng, classes):
    pruning = tuple(rng.choice(PRUNING_PROBS, classes).tolist())
    metric, rho = str(rng.choice(["dice", "iou"])), rng.choice([0.0, 0.5, 1.0])
    return Config(metric, pruning_prob=pruning, solver_params={"correlation": float(rho)})


# The choice


def test_argmax_stays_where_it_is_best():
    tuning = tune(ring_cases())
    assert tuning.chosen is tuning.baseline
    assert tuning.baseline.score == 1
    assert tuning.untuned.gain < -tuning.untuned.gain_error
    assert tuning.config.metric == "accuracy"
    assert tuning.config.calibration is None
    assert tuning.verdict.startswith("Leave argmax alone: no candidate has a higher")
    probs = ring_cases()[0][0][None]
    assert np.array_equal(RankSEG.from_config(tuning.config)(probs), probs.argmax(axis=1))


def test_argmax_stays_where_nothing_is_clearly_better():
    tuning = tune(soft_cases(12))
    assert tuning.chosen is tuning.baseline
    assert 0 < tuning.best.gain <= tuning.best.gain_error
    assert tuning.verdict.endswith("which is within one standard error.")


@pytest.mark.parametrize("metric", ["dice", "iou"])
def test_rankseg_is_chosen_where_it_helps(metric):
    tuning = tune(faint_cases(), metric=metric)
    assert tuning.chosen.candidate.method.startswith("RankSEG")
    assert tuning.chosen.gain > 3 * tuning.chosen.gain_error > 0
    assert tuning.config.calibration is None
    assert tuning.verdict.startswith("Use RankSEG")


def test_pruning_is_chosen_where_it_is_all_that_helps():
    tuning = tune(ghost_cases(), calibrations=["none"])
    assert tuning.chosen.candidate.name == "argmax, pruning 0.6"
    assert tuning.chosen.complexity == 1
    probs = ghost_cases()[0][0][None]
    assert tuning.config.solver == "pruned-argmax"
    expected = RankSEG("accuracy", solver="pruned-argmax", pruning_prob=0.6)(probs)
    assert np.array_equal(RankSEG.from_config(tuning.config)(probs), expected)
    assert not np.array_equal(expected, probs.argmax(axis=1))


def test_calibration_is_chosen_where_the_bias_is_what_hurts():
    # The foreground has a third of the odds that are claimed.
    true, claimed = Calibration("vector", 1.0, [np.log(3.0), 0.0]), []
    rng = np.random.default_rng(0)
    for _ in range(20):
        foreground = rng.beta(2, 2, (24, 24))
        probs = np.stack([1 - foreground, foreground])
        claimed.append((probs, draw(rng, true(probs[None])[0])))
    tuning = tune(claimed)
    assert tuning.chosen.candidate.calibration == "vector"
    # The prior, which counts as much as one image, keeps it short of the whole.
    background, foreground = tuning.config.calibration.bias
    assert 0.5 * np.log(3.0) < background - foreground < 1.2 * np.log(3.0)
    assert tuning.chosen.gain > tuning.untuned.gain


def test_the_simplest_within_one_standard_error_is_chosen():
    def outcome(complexity, gain, gain_error, behind, behind_error):
        errors = (gain, gain_error, behind, behind_error)
        return Outcome(Candidate(Config()), complexity, 0.0, 0.0, 0.0, *errors)

    argmax = outcome(0, 0.0, 0.0, 0.05, 0.02)
    far = outcome(1, 0.03, 0.01, 0.02, 0.015)
    near = outcome(3, 0.04, 0.02, 0.01, 0.01)
    best = outcome(9, 0.05, 0.02, 0.0, 0.0)
    assert _choose([argmax, best]) is best
    assert _choose([argmax, far, best, near]) is near
    assert _choose([argmax, replace(near, gain_error=0.04), best]) is best
    unsure = replace(argmax, behind_error=0.05)
    assert _choose([unsure, near, best]) is unsure
    closer = replace(near, behind=0.005)
    assert _choose([argmax, near, closer, best]) is closer


def three_outcomes(presence):
    """Argmax, a candidate that gains in both, one that gains more in label and loses in either."""
    candidates = list(all_candidates(["dice"], ["RMA"], [0.5], ["none"], "multiclass"))
    gains = np.array([[0.0, 0.0], [0.1, 0.05], [0.2, -0.01]])
    scores = 0.5 + np.zeros((8, 1, 1)) + gains
    return _outcomes(candidates, scores, list("abcdefgh"), 3, "dice", presence)


def test_for_both_what_loses_in_label_or_prediction_is_refused():
    outcomes = three_outcomes("both")
    assert [one.admitted for one in outcomes] == [True, True, False]
    assert _choose(outcomes) is outcomes[1]
    assert [one.behind for one in outcomes] == pytest.approx([0.1, 0.0, -0.1])
    outcomes = three_outcomes("label")
    assert all(one.admitted for one in outcomes)
    assert _choose(outcomes) is outcomes[2]


def test_the_verdict_tells_of_what_was_refused():
    tuning = replace(tune(faint_cases(6), folds=3), outcomes=three_outcomes("both"))
    refused = tuning.outcomes[2].candidate.name
    words = f"{refused} is 20.00 better than argmax, and refused for -1.00 over classes in label or"
    assert words in tuning.verdict
    assert "not falling over classes in label or prediction" in tuning.verdict


def test_choice_and_score_never_share_a_case():
    candidates = list(all_candidates(["dice"], ["RMA"], [0.5], ["none"], "multiclass"))
    folds = np.arange(8) % 2
    scores = np.full((8, 3, 2), 0.5)
    scores[folds == 0, 1] += 0.2  # each gains in one fold what it loses in the other
    scores[folds == 1, 1] -= 0.2
    scores[folds == 0, 2] -= 0.2
    scores[folds == 1, 2] += 0.2
    gains = _unseen_gains(candidates, scores, list("abcdefgh"), folds, 3, "dice", "both")
    np.testing.assert_allclose(gains, -0.2)


def test_a_correlation_is_chosen_where_pixels_are_correlated():
    rng, cases = np.random.default_rng(0), []
    foreground = np.full((32, 32), 0.12)  # all of it, seldom
    foreground[:5, :5] = 0.48
    for _ in range(60):
        cases.append((foreground[None], foreground[None] > rng.random()))
    tuning = tune(cases, calibrations=[], output_mode="multilabel", per_class=False)
    assert tuning.chosen.candidate.correlation > 0
    assert tuning.config.solver_params["correlation"] == tuning.chosen.candidate.correlation
    assert tuning.chosen.score > tuning.untuned.score


def test_correlations_are_tried_with_rma_alone_and_are_in_the_settings():
    tuning = tune(soft_cases(4), solvers=["RMA", "exact"], calibrations=[], per_class=False)
    names = {one.candidate.name for one in tuning.outcomes}
    assert "RankSEG Dice, correlation 0.5, pruning 0.05" in names
    assert not any("exact" in name and "correlation" in name for name in names)
    found = {one.candidate.correlation for one in tuning.outcomes}
    assert found == {0.0, 0.5, 0.85, 1.0}
    config = next(one.candidate for one in tuning.outcomes if one.candidate.correlation == 0.85)
    assert "correlation=0.85" in repr(RankSEG(**config.config.arguments))


def test_the_verdict_tells_of_a_better_candidate_that_is_less_simple():
    tuning = tune(faint_cases())
    assert tuning.chosen is not tuning.best
    assert f"The best candidate, {tuning.best.candidate.name}, is less simple" in tuning.verdict


def test_errors_are_those_of_differences_case_by_case():
    rng = np.random.default_rng(0)
    candidates = list(all_candidates(["dice"], ["RMA"], [0.5], ["none"], "multiclass"))
    scores = rng.random((8, 1, 1)) + rng.normal(0, [[0.1], [0.2], [0.3]], (8, 3, 1)) + np.zeros(2)
    groups = list("aabbcdef")
    outcomes = _outcomes(candidates, scores, groups, 3, "dice", "label")
    best = scores[:, scores.mean(axis=(0, 2)).argmax(), 0]
    for i, outcome in enumerate(outcomes):
        gains, behind = scores[:, i, 0] - scores[:, 0, 0], best - scores[:, i, 0]
        found = (outcome.gain, outcome.gain_error, outcome.behind, outcome.behind_error)
        errors = [standard_error(values, groups) for values in (gains, behind)]
        assert found == pytest.approx((gains.mean(), errors[0], behind.mean(), errors[1]))


def test_the_leaders_are_the_best_pruning_of_each_kind_in_order():
    tuning = tune(soft_cases(6), calibrations=[])
    leaders = tuning.leaders()
    order = [(not one.admitted, one.behind) for one in leaders]
    assert order == sorted(order)
    for outcome in tuning.outcomes:
        one = outcome.candidate
        alike = [
            leader.behind
            for leader in leaders
            if leader.candidate.method == one.method
            and leader.admitted >= outcome.admitted
            and leader.candidate.per_class == one.per_class
            and (leader.candidate.pruning == "none") == (one.pruning == "none")
        ]
        assert min(alike) <= outcome.behind


def test_the_order_of_simplicity():
    first, *others = all_candidates(
        ["dice", "iou"], ["RMA"], [0.5, 0.8], ["none", "vector"], "multiclass"
    )
    assert first.name == "argmax"
    names = {one.name: one.complexity("dice", 3) for one in (first, *others)}
    per_class = replace(others[1], per_class=True)
    order = [
        names["argmax"],
        names["argmax, pruning 0.8"],
        names["RankSEG Dice, pruning 0.5"],
        names["RankSEG Dice, pruning 0.8"],
        per_class.complexity("dice", 3),
        names["argmax, vector scaling"],
        names["RankSEG Dice, pruning 0.5, vector scaling"],
    ]
    assert all(a < b for a, b in pairwise(order))
    default = next(one for one in others if one.name == "RankSEG Dice, pruning 0.5")
    config = replace(default.config, solver_params={"correlation": 0.5})
    assert replace(default, config=config).complexity("dice", 3) == order[2] + 1


def test_temperature_is_not_tried_on_the_plain_argmax_which_it_cannot_change():
    names = [one.candidate.name for one in tune(soft_cases(4), per_class=False).outcomes]
    assert len(set(names)) == len(names)
    assert "argmax, temperature scaling" not in names
    assert "argmax, vector scaling" in names


# Cross-validation


@pytest.mark.parametrize("kind", ["temperature", "vector"])
def test_scores_are_of_calibrations_that_have_not_seen_the_fold(kind):
    groups = ["a", "a", "b", "b", "b"]
    cases = soft_cases(5, power=0.4, groups=groups)
    cases[2:] = [case._replace(labels=case.labels[::-1]) for case in cases[2:]]
    tuning = tune(cases, calibrations=[kind], per_class=False)
    wanted = f"RankSEG Dice, pruning 0.5, {kind} scaling"
    found = next(one for one in tuning.outcomes if one.candidate.name == wanted)

    scores = []
    for case in cases:
        others = [other for other in cases if other.group != case.group]
        pixels = Sample(
            np.concatenate([other.probs.reshape(3, -1).T for other in others]),
            np.concatenate([other.labels.reshape(-1) for other in others]),
        )
        calibration = fit(kind, pixels, prior=1 / len(others))
        prediction = RankSEG(calibration=calibration)(case.probs[None])
        dice = metrics.dice(prediction, case.labels[None], num_classes=3)
        present = metrics.class_presence(case.labels[None], num_classes=3)
        scores.append([metrics.mean_score(dice, present=present), metrics.mean_score(dice)])
    np.testing.assert_allclose([found.label, found.either], np.mean(scores, axis=0), rtol=1e-9)


def test_what_is_fitted_without_a_fold_does_not_depend_on_it():
    groups = ["a", "a", "a", "b", "b", "b", "c", "c", "c"]
    before = soft_cases(9, power=1.5, groups=groups)
    after = [
        case._replace(labels=(case.labels + 1) % 3) if case.group == "b" else case
        for case in before
    ]
    candidate = Candidate(Config(), "vector")

    def fitted(cases):
        source = Source(cases, "multiclass", 255, None)
        samples = draw_pixels(source, 0, len(cases))
        validation = CrossValidation(source, samples, ["temperature", "vector"], folds=3)
        validation.fit_pruning(candidate, PRUNING_PROBS, "dice", "both")
        return validation

    one, two = fitted(before), fitted(after)
    assert one.left_out == (0, 1, 2, None)
    for kind in ("temperature", "vector"):
        assert one.calibrations[kind, 1] == two.calibrations[kind, 1]
        assert one.calibrations[kind, 0] != two.calibrations[kind, 0]
        assert one.calibrations[kind, None] != two.calibrations[kind, None]
    assert one.pruning[1] == two.pruning[1]


def test_the_pruning_of_classes_is_fitted_without_each_fold_and_to_all_cases(monkeypatch):
    seen = []

    def spy(results, *arguments):
        seen.append((len(results), len(arguments[2])))
        return search(results, *arguments)

    monkeypatch.setattr("rankseg.evaluation.tuning.crossvalidation.search", spy)
    tuning = tune(soft_cases(10), folds=5, calibrations=["none"])
    assert seen == [(8, 8)] * 5 + [(10, 10)]
    assert tuning.outcomes[-1].candidate.per_class


def test_the_pruning_of_classes_is_scored_on_folds_that_it_has_not_seen():
    """One choice a fold, unlike the others in each: the scores of a case are those of its fold."""
    cases = soft_cases(6, seed=1)
    source = Source(cases, "multiclass", 255)
    validation = CrossValidation(source, draw_pixels(source, 0, 6), ["none"], folds=3)
    choices = [(0.5, 0.5, 0.5), (0.5, 1.0, 1.0), (1.0, 0.5, 1.0), (1.0, 1.0, 0.5)]
    validation.pruning = dict(zip((None, 0, 1, 2), choices, strict=True))
    found = validation.scores([Candidate(Config(), per_class=True)], "dice", "")
    for case, fold, scores in zip(cases, (0, 0, 1, 1, 2, 2), found, strict=True):
        scorer = Scorer(case, "dice", 255, None)
        by_choice = [as_presences(scorer(Config(pruning_prob=p))[None])[0] for p in choices]
        np.testing.assert_allclose(scores[0], by_choice[1 + fold])
        assert len({tuple(one) for one in by_choice}) == 4


def test_the_settings_are_fitted_to_all_cases():
    cases = soft_cases(6, power=0.4)
    source = Source(cases, "multiclass", 255, None)
    expected = fit(
        "temperature",
        Sample(*map(np.concatenate, zip(*draw_pixels(source, 0, 6), strict=True))),
        prior=1 / 6,
    )
    validation = CrossValidation(source, draw_pixels(source, 0, 6), ["temperature"], 3)
    assert validation.calibrations["temperature", None] == expected


def test_the_same_cases_give_the_same_choice():
    one, two = (tune(soft_cases(5, shape=(60, 70)), seed=3) for _ in range(2))
    assert one == two


def test_folds_keep_groups_whole_and_in_order():
    rng = np.random.default_rng(0)
    for _ in range(200):
        groups = [f"{i}" for i in rng.integers(0, rng.integers(2, 9), 30)]
        groups += ["x", "y"]  # two at least
        folds = int(rng.integers(2, 7))
        parts = split(groups, folds)
        assert set(parts) == set(range(parts.max() + 1))
        assert 2 <= parts.max() + 1 <= folds
        assert len(set(zip(groups, parts, strict=True))) == len(set(groups))
        assert np.all(np.diff([parts[groups.index(name)] for name in dict.fromkeys(groups)]) >= 0)


def test_a_group_is_in_the_fold_of_its_middle():
    assert np.bincount(split(list("aaabbbbbbc"), 2)).tolist() == [3, 7]  # not 9 and 1


def test_as_many_groups_as_folds_are_a_fold_each_whatever_their_sizes():
    assert split(list("aaaaaaaabc"), 3).tolist() == [0] * 8 + [1, 2]


def test_folds_of_single_cases_are_even_and_contiguous():
    parts = split([str(i) for i in range(23)], 5)
    assert np.all(np.diff(parts) >= 0)
    assert set(np.bincount(parts)) <= {4, 5}


# Scores of candidates


@pytest.mark.parametrize("calibration", [None, Calibration("vector", [0.5, 1.0, 2.0])])
@pytest.mark.parametrize("metric", ["dice", "iou"])
def test_a_scorer_scores_what_rankseg_returns(metric, calibration):
    rng = np.random.default_rng(0)
    case = soft_cases(1, shape=(6, 7))[0]
    labels = case.labels.copy()
    labels[0] = 255
    scorer = Scorer(case._replace(labels=labels), metric, 255, calibration)
    for _ in range(100):  # many share the same active classes
        config = random_config(rng, 3)
        found = RankSEG(**replace(config, calibration=calibration).arguments)(case.probs[None])
        form = {"num_classes": 3, "ignore_index": 255}
        scores = getattr(metrics, metric)(found, labels[None], **form)
        present = metrics.class_presence(labels[None], **form)
        expected = [metrics.mean_score(scores, present=present), metrics.mean_score(scores)]
        np.testing.assert_array_equal(as_presences(scorer(config)[None])[0], expected)
    assert len(scorer.scores) < 100


def test_a_class_at_the_pruning_probability_itself_is_pruned():
    probs = np.array([[0.9, 0.3], [0.1, 0.7]], np.float32)[:, None]
    scorer = Scorer(Case("", probs, np.array([[0, 1]]), ""), "dice", 255, None)
    assert scorer.active(0.7).tolist() == [True, False]


def test_trials_prune_one_class_at_a_time():
    case = soft_cases(1, classes=4, shape=(5, 6))[0]
    scorer = Scorer(case, "dice", 255, None)
    found = trials(scorer, Config(pruning_prob=0.8), PRUNING_PROBS)
    for c in range(4):
        for j, p in enumerate(PRUNING_PROBS):
            pruning = [0.8] * 4
            pruning[c] = p
            np.testing.assert_array_equal(found[c, j], scorer(Config(pruning_prob=pruning)))


def test_a_class_is_pruned_otherwise_where_that_is_clearly_better():
    rng = np.random.default_rng(0)
    results = np.full((10, 3, 2, 2), 0.5)
    results[:, 1, 1] += 0.1  # always better
    results[:, 2, 1] += rng.normal(scale=0.1, size=(10, 1))  # better or worse
    results[:, 2, 1] -= results[:, 2, 1].mean() - 0.501
    groups = [str(i) for i in range(10)]
    assert search(results, 0.5, (0.5, 0.9), groups, "both") == (0.5, 0.9, 0.5)


def test_a_case_where_no_class_counts_moves_no_mean():
    scores = np.array([[[0.4, 0.2]], [[np.nan, np.nan]], [[0.8, np.nan]]])[..., None, None]
    counted = 1.0 - np.isnan(scores)
    parts = np.concatenate([np.nan_to_num(scores), counted, counted], axis=-2)
    scores = as_presences(parts)
    np.testing.assert_allclose(target(scores, "label").mean(axis=0), 0.6)
    np.testing.assert_allclose(target(scores, "either").mean(axis=0), 0.2)
    np.testing.assert_allclose(target(scores, "both").mean(axis=0), 0.6)


# What else


def test_multilabel_masks_are_compared_with_a_threshold():
    rng, cases = np.random.default_rng(0), []
    for _ in range(12):
        probs = rng.beta(0.5, 1.5, (2, 16, 18))
        cases.append((probs, rng.random(probs.shape) < probs))
    tuning = tune(cases, output_mode="multilabel")
    assert tuning.baseline.candidate.name == "threshold"
    assert tuning.chosen.candidate.method.startswith("RankSEG")
    assert tuning.config.output_mode == "multilabel"
    assert RankSEG.from_config(tuning.config)(cases[0][0][None]).dtype == bool


def test_exact_may_be_tried():
    tuning = tune(soft_cases(4), solvers=["RMA", "exact"], calibrations=[], per_class=False)
    assert "RankSEG IoU, exact, pruning 0.5" in [one.candidate.name for one in tuning.outcomes]


@pytest.mark.parametrize("presence", ["label", "either"])
def test_the_presence_says_which_score_decides(presence):
    tuning = tune(ghost_cases(), presence=presence, calibrations=[])
    for outcome in tuning.outcomes:
        assert outcome.score == getattr(outcome, presence)
    # By classes in the label alone the ghost costs the 2 or 3 pixels of 60 that it takes; by
    # either it is a third class, with a score of 0.
    lost = tuning.best.gain
    assert 0 < lost < 3 / 60 if presence == "label" else 1 / 3 < lost < 1 / 3 + 3 / 60


def test_the_record_is_in_the_config():
    tuning = tune(faint_cases(6), folds=3)
    record = tuning.config.tuned
    assert record["choice"] == tuning.chosen.candidate.name
    assert (record["images"], record["groups"], record["folds"]) == (6, 6, 3)
    assert record["gain"] == pytest.approx(tuning.chosen.gain, abs=1e-6)


def test_bad_cases_are_left_out_and_reported():
    good = soft_cases(5)
    bad = [
        Case("wrong label", good[0].probs, np.full((12, 15), 7), ""),
        Case("wrong shape", good[0].probs, good[0].labels[1:], ""),
        Case("logits", 5 * good[0].probs, good[0].labels, ""),
    ]
    tuning = tune([good[0], bad[0], *good[1:3], bad[1], *good[3:], bad[2]])
    assert tuning.images == 5
    assert set(tuning.problems) == {case.name for case in bad}
    assert replace(tuning, problems={}) == tune(good)


def test_files_are_read_one_at_a_time_and_again(tmp_path):
    for case in soft_cases(4):
        np.savez(tmp_path / f"{case.name}.npz", probs=case.probs, label=case.labels)
    assert tune(LonelyFiles(tmp_path, tmp_path)) == tune(soft_cases(4))


def test_of_cases_made_anew_one_is_held_at_a_time():
    def make(i):
        case = soft_cases(6)[i]
        labels = case.labels[1:] if i == 2 else case.labels
        return f"case {i % 5}", case.probs, labels

    tuning = tune(LonelyCases(make, 6))
    assert tuning.images == 4
    assert "labels have shape" in tuning.problems["case 2"]
    assert "several cases have this name" in tuning.problems["case 0"]
    assert len({one.candidate.calibration for one in tuning.outcomes}) == 3


def test_one_calibrated_copy_of_a_case_is_held_at_a_time(monkeypatch):
    copies = []

    class Lonely(Scorer):
        def __init__(self, *arguments):
            assert all(copy() is None for copy in copies)
            super().__init__(*arguments)
            if arguments[-1] is not None:
                copies.append(weakref.ref(self.probs))

    monkeypatch.setattr("rankseg.evaluation.tuning.crossvalidation.Scorer", Lonely)
    tune(soft_cases(4))
    assert len(copies) > 8


def test_progress_is_told():
    told = []
    tune(soft_cases(3), progress=lambda step, done: told.append((step, done)))
    steps = list(dict.fromkeys(step for step, _ in told))
    assert told == [(step, done) for step in steps for done in (1, 2, 3)]
    assert len(steps) == 4


def test_cases_must_be_there_again():
    with pytest.raises(TypeError, match="found generator"):
        tune(case for case in soft_cases(4))

    class Shrinking:
        left = 4

        def __iter__(self):
            yield from soft_cases(self.left)
            self.left -= 1

    with pytest.raises(ValueError, match="the same each time"):
        tune(Shrinking())


@pytest.mark.parametrize(
    ("cases", "arguments", "error", "message"),
    [
        ([], {}, ValueError, "no usable case"),
        ([(np.zeros((2, 3)), np.full(3, 9))], {}, ValueError, "no usable case; 0: labels must be"),
        (soft_cases(1), {}, ValueError, "two groups of cases or more, found 1"),
        (soft_cases(3, groups="aaa"), {}, ValueError, "two groups of cases or more, found 1"),
        (soft_cases(3), {"folds": 1}, ValueError, "folds must be 2 or more, found 1"),
        (soft_cases(3), {"metric": "accuracy"}, ValueError, "metric must be one of 'dice', 'iou'"),
        (soft_cases(3), {"presence": "all"}, ValueError, "presence must be one of"),
        (soft_cases(3), {"calibrations": ["platt"]}, ValueError, "calibrations must be one of"),
        (soft_cases(3), {"pruning_probs": [2]}, ValueError, "pruning_probs must be in"),
        (soft_cases(3), {"solvers": []}, ValueError, "solvers must name one or more"),
        (soft_cases(3), {"solvers": ["BA"]}, ValueError, "solver 'BA' is not supported"),
        (soft_cases(3), {"output_mode": "both"}, ValueError, "output_mode must be one of"),
    ],
)
def test_wrong_arguments_are_refused(cases, arguments, error, message):
    with pytest.raises(error, match=message):
        tune(cases, **arguments)


def test_real_frames_tuned_on_one_sequence_and_scored_on_the_other():
    folder = os.environ.get("RANKSEG_DATA")
    if not folder:
        pytest.skip("RANKSEG_DATA is not set: nothing was tuned on the real frames")
    frames = Path(folder, "camvid_espnet")
    cases = Cases(frames, frames)

    def sequence(name):
        return (cases.read(one) for one in cases.names if one.startswith(name))

    tuning = tune(list(sequence("0001TP")))
    methods = {
        "argmax": RankSEG("accuracy", solver="argmax"),
        "untuned": RankSEG(),
        "tuned": RankSEG.from_config(tuning.config),
    }
    scores = {name: [] for name in methods}
    for case in sequence("Seq05VD"):
        form = {"num_classes": 11, "ignore_index": 255}
        present = metrics.class_presence(case.labels[None], **form)
        for name, predict in methods.items():
            dice = metrics.dice(predict(case.probs[None]), case.labels[None], **form)
            scores[name].append(
                [metrics.mean_score(dice, present=present), metrics.mean_score(dice)]
            )
    argmax, untuned, tuned = (np.array(scores[name]) for name in methods)
    error = (tuned - argmax).std(axis=0, ddof=1) / np.sqrt(len(tuned))
    assert np.all((tuned - argmax).mean(axis=0) > -2 * error)
    assert np.all((tuned - untuned).mean(axis=0) > 0)
