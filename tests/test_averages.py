"""Means of scores: each against a direct loop, with its intervals, and as what tune chooses by."""

import json
import os
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from rankseg import RankSEG
from rankseg.evaluation import Cases, Method, default_methods, evaluate, tune
from rankseg.evaluation.averages import AVERAGES, Average, Parts, as_scores, mean_of
from rankseg.evaluation.statistics import paired_interval, resample

CLASSES = 4


def make_cases(count=9, seed=0):
    """Cases that lack a class here and there, in label, prediction or both."""
    rng = np.random.default_rng(seed)
    cases = []
    for i in range(count):
        probs = rng.dirichlet(np.full(CLASSES, 0.5), (8, 9))
        probs[..., i % CLASSES] *= 0.01
        if i % 3:
            probs[..., (i + 1) % CLASSES] *= 0.01
        probs = np.moveaxis(probs / probs.sum(axis=-1, keepdims=True), -1, 0)
        labels = (probs.cumsum(axis=0) < rng.random((8, 9))).sum(axis=0).clip(0, CLASSES - 1)
        labels[rng.random((8, 9)) < 0.1] = 255
        labels[labels == (i + 2) % CLASSES] = i % CLASSES if i % 2 else 0
        cases.append((probs, labels))
    return cases


def table(cases, predict):
    """Dice and IoU as intersections and sizes (case, class), by a loop over pixels' sets."""
    rows = []
    for probs, labels in cases:
        found, valid = predict(probs[None])[0], labels != 255
        rows.append(
            [
                [np.sum((found == c) & (labels == c)) for c in range(CLASSES)],
                [np.sum((found == c) & valid) for c in range(CLASSES)],
                [np.sum(labels == c) for c in range(CLASSES)],
            ]
        )
    return np.array(rows, float).transpose(1, 0, 2)


def ratio(metric, both, found, true):
    return 2 * both / (found + true) if metric == "dice" else both / (found + true - both)


def expected_mean(name, metric, presence, classes, empty, both, found, true):
    """The mean as its definition says, pair by pair."""
    cases, total = range(len(both)), []

    def score(both, found, true):
        if found + true == 0:
            return 1.0 if empty == "one" and presence == "either" else None
        if presence == "label" and true == 0:
            return None
        return ratio(metric, both, found, true)

    def mean(values):
        values = [value for value in values if value is not None]
        return sum(values) / len(values) if values else None

    if name == "dataset":
        return mean([score(both[:, c].sum(), found[:, c].sum(), true[:, c].sum()) for c in classes])
    scores = {(i, c): score(both[i, c], found[i, c], true[i, c]) for i in cases for c in classes}
    if name == "image-first":
        total = [mean([scores[i, c] for c in classes]) for i in cases]
    else:
        total = [mean([scores[i, c] for i in cases]) for c in classes]
    return mean(total)


SETS = [(None, ()), (None, (0,)), ((1, 3), ()), ((0, 1, 2), (1,))]


@pytest.mark.parametrize("empty", ["nan", "one"])
@pytest.mark.parametrize(("classes", "ignored"), SETS)
@pytest.mark.parametrize("name", AVERAGES)
def test_means_are_those_of_a_direct_loop(name, classes, ignored, empty):
    cases = make_cases()
    evaluation = evaluate(
        cases, average=name, classes=classes, ignore_classes=ignored, empty=empty, bootstrap=20
    )
    counted = [c for c in range(CLASSES) if (classes is None or c in classes) and c not in ignored]
    counted = [c for c in counted if c or name != "nnunet"]
    for method in evaluation.methods:
        counts = table(cases, method.predict)
        for metric, presence in product(("dice", "iou"), ("label", "either")):
            result = evaluation.result(method.name, metric, presence, name)
            expected = expected_mean(name, metric, presence, counted, empty, *counts)
            assert result.score == pytest.approx(expected, rel=1e-12)
            assert result.average == name
    baseline = evaluation.result("argmax", "dice", "either")
    found = evaluation.result("RankSEG Dice", "dice", "either")
    assert found.gain == pytest.approx(found.score - baseline.score, abs=1e-12)


@pytest.mark.parametrize("name", AVERAGES)
def test_intervals_are_of_the_mean_of_each_resample(name):
    cases = make_cases(12)
    evaluation = evaluate(cases, average=name, ignore_classes=(3,), bootstrap=150, seed=4)
    counted = [c for c in range(CLASSES - 1) if c or name != "nnunet"]
    tables = [table(cases, evaluation.methods[i].predict) for i in (0, 2)]
    names = [record.name for record in evaluation.records]
    order = [int(name) for name in names]
    differences = []
    for draws in resample(names, 150, 4):
        for draw in draws:
            drawn = np.repeat(order, draw)
            before, after = (
                expected_mean(name, "iou", "either", counted, "nan", *(part[drawn] for part in one))
                for one in tables
            )
            differences.append(after - before)
    low, high = np.percentile(differences, (2.5, 97.5))
    result = evaluation.result("RankSEG Dice", "iou", "either")
    assert (result.low, result.high) == pytest.approx((low, high), abs=1e-9)
    assert result.verdict == ("helps" if low > 0 else "hurts" if high < 0 else "unclear")


def test_the_classes_have_their_own_scores_whatever_counts():
    cases = make_cases()
    found = evaluate(cases, average=["class-first", "dataset"], ignore_classes=(0,), bootstrap=20)
    both, sizes, true = table(cases, found.methods[0].predict)
    scores = [
        np.mean([2 * b / (s + t) for b, s, t in zip(*rows, strict=True) if s + t])
        for rows in zip(both.T, sizes.T, true.T, strict=True)
    ]
    result = found.result("argmax", "dice", "either", "class-first")
    np.testing.assert_allclose(result.class_score, scores)
    assert result.score == pytest.approx(np.mean(scores[1:]))
    result = found.result("argmax", "dice", "either", "dataset")
    total = 2 * both.sum(axis=0) / (sizes + true).sum(axis=0)
    np.testing.assert_allclose(result.class_score, total)
    assert found.result("argmax", "dice", "either").average == "class-first"
    assert [one["name"] for one in found.to_json()["average"]] == ["class-first", "dataset"]
    assert found.to_json()["average"][0]["classes"] == [1, 2, 3]
    json.dumps(found.to_json(), allow_nan=False)


def test_in_multilabel_there_is_no_background():
    assert Average("nnunet").selected(3).tolist() == [False, True, True]
    assert Average("nnunet").selected(3, multilabel=True).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"average": "mean"}, "average must be one of 'image-first'"),
        ({"average": []}, "average must name one or more"),
        ({"empty": "0"}, "empty must be one of"),
        ({"classes": [4]}, r"classes must be in \[0, 4\), as there are 4, found 4"),
        ({"ignore_classes": [-1]}, "ignored must be classes from 0"),
        ({"classes": [1], "ignore_classes": [1]}, "ignored must leave one or more classes of 4"),
        ({"ignore_classes": [5]}, r"ignored must be in \[0, 4\), as there are 4, found 5"),
        ({"class_names": ["a"]}, "class_names must be 4, as there are classes, found 1"),
    ],
)
def test_wrong_choices_are_refused_before_the_work(arguments, message):
    def fail(probs):
        raise AssertionError("work was done")

    with pytest.raises(ValueError, match=message):
        evaluate(make_cases(), [Method("x", fail)], **arguments)


# One number a case


@pytest.mark.parametrize("name", ["image-first", "class-first", "dataset"])
def test_scores_of_cases_have_the_mean_of_all_and_its_jackknife(name):
    rng = np.random.default_rng(0)
    union = rng.integers(0, 30, (200, 3)) * (rng.random((200, 3)) < 0.8)
    both = np.minimum(rng.integers(0, 30, (200, 3)), union)
    present = rng.random((200, 3)) < 0.7
    average = Average(name)
    for metric, presence in product(("dice", "iou"), ("label", "either")):
        parts = average.parts(metric, presence, both, union, present, np.full(3, True))
        scores = as_scores(parts)
        mean = mean_of(parts.columns(np.ones((1, 200))))[0]
        assert scores.mean() == pytest.approx(mean, rel=1e-12)
        left_out = mean_of(parts.columns(1 - np.eye(200)))
        jackknife = 200 * mean - 199 * left_out
        np.testing.assert_allclose(scores, jackknife, atol=0.02)
        boot = mean_of(parts.columns(next(resample(range(200), 100, 0))))
        assert scores.std() / np.sqrt(200) == pytest.approx(boot.std(), rel=0.3)


def test_a_column_without_anything_counts_where_it_is_said_to():
    zeros = np.zeros((4, 2))
    one = replace(Average("dataset"), empty="one")
    every = np.full(2, True)
    present = np.zeros((4, 2), bool)
    parts = one.parts("dice", "either", zeros, zeros, present, every)
    assert parts.columns(np.ones((1, 4))).tolist() == [[1, 1]]
    assert as_scores(parts).tolist() == [1, 1, 1, 1]
    parts = Average("dataset").parts("dice", "either", zeros, zeros, present, every)
    assert np.isnan(parts.columns(np.ones((1, 4)))).all()
    assert np.isnan(as_scores(Parts(*parts))).all()


def test_a_class_that_no_label_has_moves_no_score_of_a_case():
    union = np.random.default_rng(1).integers(5, 30, (20, 3))
    present = np.array([[True, True, False]]).repeat(20, 0)
    parts = Average("dataset").parts("iou", "label", union // 2, union, present, np.full(3, True))
    without = Parts(*(part[:, :2] for part in parts))
    np.testing.assert_allclose(as_scores(parts), as_scores(without), rtol=1e-12)


def test_paired_intervals_take_any_estimate():
    values = np.random.default_rng(0).normal(size=(40, 2))
    low, high = paired_interval(
        lambda draws: draws @ values / 40,
        lambda draws: draws @ (values - 1) / 40,
        range(40),
        200,
        0,
    )
    np.testing.assert_allclose([low, high], 1)


# Tune


def rare_cases(count=12):
    """Faint objects in few cases, which one image in three has, beside a large class."""
    rng = np.random.default_rng(0)
    cases = []
    for i in range(count):
        faint = np.full((12, 14), 0.02)
        if i % 3 == 0:
            faint[3:9, 4:10] = rng.beta(3, 4, (6, 6))
        labels = (rng.random(faint.shape) < faint).astype(np.uint8)
        cases.append((np.stack([1 - faint, faint]), labels))
    return cases


@pytest.mark.parametrize("name", AVERAGES)
@pytest.mark.parametrize("presence", ["label", "either", "both"])
def test_tune_scores_by_the_mean_that_was_asked_for(name, presence):
    cases = rare_cases()
    tuning = tune(cases, average=name, presence=presence, calibrations=[], metrics=["dice"])
    untuned = RankSEG()
    evaluation = evaluate(cases, default_methods(["dice"]), average=name, bootstrap=10)
    for method, outcome in (("argmax", tuning.baseline), ("RankSEG Dice", tuning.untuned)):
        label, either = (
            evaluation.result(method, "dice", one).score for one in ("label", "either")
        )
        expected = {"label": label, "either": either, "both": (label + either) / 2}[presence]
        assert (outcome.label, outcome.either) == pytest.approx((label, either))
        assert outcome.score == pytest.approx(expected)
    assert untuned.solver == "RMA"
    assert tuning.average.name == name
    assert (name in tuning.verdict) == (name != "image-first")
    assert ("average" in tuning.config.tuned) == (name != "image-first")


def test_tune_may_leave_the_background_out():
    cases = rare_cases()
    tuning = tune(cases, ignore_classes=[0], calibrations=[], average="class-first")
    evaluation = evaluate(cases, ignore_classes=[0], average="class-first", bootstrap=10)
    score = evaluation.result("argmax", "dice", "label").score
    assert tuning.baseline.label == pytest.approx(score)
    assert tuning.config.tuned["ignore_classes"] == [0]
    assert "without 0" in tuning.title
    assert tuning.chosen.gain > tune(cases, calibrations=[]).chosen.gain


def test_the_pruning_of_classes_is_chosen_by_the_mean_that_was_asked_for():
    """A ghost in every second case: pruned where a score of 0 for it counts."""
    rng, cases = np.random.default_rng(0), []
    for i in range(12):
        probs = np.full((3, 10, 12), 0.005)
        probs[0, :, :6] = probs[1, :, 6:] = 0.99
        if i % 2:
            probs[:, rng.integers(1, 9), 2:4] = np.array([0.44, 0.01, 0.55])[:, None]
        labels = np.zeros((10, 12), np.uint8)
        labels[:, 6:] = 1
        cases.append((probs / probs.sum(axis=0), labels))
    for name in ("class-first", "dataset"):
        tuning = tune(cases, average=name, presence="either", calibrations=[])
        assert tuning.chosen.score == pytest.approx(1)
        assert tuning.baseline.score == pytest.approx(2 / 3, abs=0.01)


# On real frames


@pytest.mark.parametrize(
    ("folder", "score"), [("camvid_espnet", "58.62"), ("voc_deeplab", "48.53")]
)
def test_class_first_is_the_convention_of_published_tables(folder, score):
    data = os.environ.get("RANKSEG_DATA")
    if not data:
        pytest.skip("RANKSEG_DATA is not set: the published convention was NOT reproduced")
    path = Path(data, folder)
    evaluation = evaluate(
        Cases(path, path), default_methods(["dice"])[:1], average="class-first", bootstrap=1
    )
    assert f"{100 * evaluation.result('argmax', 'dice', 'label').score:.2f}" == score
