"""The evaluation as a whole: against a direct loop, as a stream, interrupted and resumed."""

import json
import os
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lonely import LonelyCases, LonelyFiles

from rankseg import RankSEG, metrics
from rankseg.evaluation import Case, Cases, Method, default_methods, evaluate
from rankseg.functional import rankseg

CLASSES, SHAPE = 4, (9, 11)
SCORES = {"dice": metrics.dice, "iou": metrics.iou}


def make_cases(number=6, classes=CLASSES, shape=SHAPE, void=True):
    """Cases whose labels follow the probabilities, with a class that some of them lack."""
    rng = np.random.default_rng(3)
    cases = []
    for i in range(number):
        sharp = rng.dirichlet(0.3 * np.ones(classes), shape)
        if i % 2:
            sharp[..., -1] *= 0.4  # nowhere above 0.5, which pruning leaves out
            sharp[..., :-1] *= (1 - sharp[..., -1:]) / sharp[..., :-1].sum(axis=-1, keepdims=True)
        probs = np.moveaxis(sharp, -1, 0).astype(np.float32)
        labels = (sharp.cumsum(axis=-1) < rng.random((*shape, 1))).sum(axis=-1)
        labels = np.minimum(labels, classes - 1).astype(np.uint8)
        if i % 2:
            labels[labels == classes - 1] = 0
        if void:
            labels[rng.random(shape) < 0.1] = 255
        cases.append(Case(f"case{i:02}", probs, labels, f"group{i // 2}"))
    return cases


def make_mask_cases(number=6):
    rng = np.random.default_rng(4)
    cases = []
    for i in range(number):
        probs = rng.beta(0.4, 1.2, (CLASSES, *SHAPE))
        cases.append(Case(f"case{i:02}", probs, rng.random(probs.shape) < probs, f"{i}"))
    return cases


def comparable(evaluation):
    """Everything of an evaluation but for its time and memory."""
    return {key: value for key, value in evaluation.to_json().items() if key != "cost"}


# Against a direct loop


@pytest.mark.parametrize("shape", [(40,), SHAPE, (4, 5, 6)])
def test_scores_and_gains_are_those_of_a_direct_loop(shape):
    cases = make_cases(shape=shape)
    evaluation = evaluate(cases, bootstrap=10)
    probs, target = (np.stack([getattr(c, f) for c in cases]) for f in ("probs", "labels"))
    form = {"num_classes": CLASSES, "ignore_index": 255}
    presence = {"label": metrics.class_presence(target, **form), "either": None}
    predictions = {
        "argmax": probs.argmax(axis=1),
        "RankSEG Dice": rankseg(probs, "dice"),
        "RankSEG IoU": rankseg(probs, "iou"),
    }
    for method, labels in predictions.items():
        for metric, score in SCORES.items():
            for name, present in presence.items():
                scores = score(labels, target, **form)
                before = score(predictions["argmax"], target, **form)
                result = evaluation.result(method, metric, name)
                mean = metrics.mean_score(scores, present=present)
                assert result.score == pytest.approx(mean, abs=1e-12)
                assert result.gain == pytest.approx(
                    mean - metrics.mean_score(before, present=present), abs=1e-12
                )
                per_class = metrics.mean_score(scores, present=present, per="class")
                np.testing.assert_allclose(result.class_score, per_class, atol=1e-12)
                gains = metrics.mean_score(scores, present=present, per="image")
                gains = gains - metrics.mean_score(before, present=present, per="image")
                np.testing.assert_allclose(result.gains, gains, atol=1e-12)
                assert result.counts == ((gains > 0).sum(), (gains == 0).sum(), (gains < 0).sum())


def test_the_methods_do_differ_on_these_cases():
    evaluation = evaluate(make_cases(), bootstrap=10)
    gains = {r.gain for r in evaluation.results if r.method != "argmax"}
    assert len(gains) == 5 * 4  # so that the test above compares different things
    assert evaluation.result("argmax", "dice", "label").gain == 0


def test_multilabel():
    cases = make_mask_cases()
    evaluation = evaluate(cases, output_mode="multilabel", bootstrap=10)
    probs, target = (np.stack([getattr(c, f) for c in cases]) for f in ("probs", "labels"))
    predictions = {
        "threshold": probs > 0.5,
        "RankSEG Dice": rankseg(probs, "dice", output_mode="multilabel"),
    }
    for method, masks in predictions.items():
        score = metrics.mean_score(metrics.dice(masks, target))
        assert evaluation.result(method, "dice", "either").score == pytest.approx(score)
    area, mass = target.sum(axis=(0, 2, 3)), probs.sum(axis=(0, 2, 3))
    np.testing.assert_allclose(evaluation.reliability.claimed_area, mass / area)


def test_void_pixels_change_no_score():
    cases = make_cases()
    changed = [case._replace(probs=case.probs.copy()) for case in cases]
    for case in changed:
        flat = case.probs[:, case.labels == 255]
        case.probs[:, case.labels == 255] = flat[::-1]
    argmax = default_methods()[:1]
    assert comparable(evaluate(cases, argmax)) == comparable(evaluate(changed, argmax))


# Methods


def test_default_methods_by_metric_and_solver():
    methods = default_methods(["iou"], ["exact", "RMA"], pruning_prob=0.3, refine=2)
    assert [method.name for method in methods[2:]] == ["RankSEG IoU, exact", "RankSEG IoU"]
    probs = make_cases(1)[0].probs[None]
    expected = RankSEG("iou", solver="exact", pruning_prob=0.3, refine=2)(probs)
    np.testing.assert_array_equal(methods[2].predict(probs), expected)
    assert repr(methods[2].predict) != repr(methods[3].predict)


def test_rma_is_compared_without_and_with_a_correlation():
    names = [method.name for method in default_methods(["iou"], ["exact", "RMA"])]
    assert names[2:] == ["RankSEG IoU, exact", "RankSEG IoU", "RankSEG IoU, correlation 0.5"]
    methods = default_methods(["iou"])
    assert "correlation" not in repr(methods[2].predict)
    assert "correlation=0.5" in repr(methods[3].predict)
    asked = default_methods(["iou"], correlation=0.85)
    assert [method.name for method in asked[2:]] == ["RankSEG IoU"]
    assert "correlation=0.85" in repr(asked[2].predict)


def pruned(mode, pruning):
    return default_methods(output_mode=mode, pruning_prob=pruning)[1].predict


@pytest.mark.parametrize("pruning", [0.0, 0.7, 1.0])
def test_pruned_argmax_leaves_out_what_rankseg_leaves_out(pruning):
    probs = make_cases(1, shape=(3, 3))[0].probs[None]
    active = probs.max(axis=(0, 2, 3)) > pruning
    assert 0 < active.sum() < CLASSES or pruning != 0.7
    kept = np.where(active[:, None, None], probs, -1) if active.any() else probs
    labels = pruned("multiclass", pruning)(probs)
    np.testing.assert_array_equal(labels, kept.argmax(axis=1))
    masks = pruned("multilabel", pruning)(probs)
    np.testing.assert_array_equal(masks, (probs > 0.5) & active[:, None, None])


def test_pruning_is_strict_in_the_precision_of_the_probabilities():
    probs = np.full((1, 2, 1, 1), np.float32(0.1))
    probs[0, 1] = 0.9
    assert pruned("multiclass", 0.1)(probs) == 1
    assert not pruned("multilabel", 0.1)(probs)[0, 0].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metrics": ["accuracy"]}, "metrics must be one of 'dice', 'iou'"),
        ({"solvers": ["BA"]}, "solver 'BA' is not supported"),
        ({"output_mode": "both"}, "output_mode must be one of"),
        ({"pruning_prob": 2}, "pruning_prob must be in"),
    ],
)
def test_wrong_settings_of_methods(arguments, message):
    with pytest.raises(ValueError, match=message):
        default_methods(**arguments)


# A stream


def test_a_generator_is_enough():
    assert comparable(evaluate(iter(make_cases()))) == comparable(evaluate(make_cases()))


def test_of_files_one_case_is_held_at_a_time(tmp_path):
    for case in make_cases(3):
        np.savez(tmp_path / f"{case.name}.npz", probs=case.probs, label=case.labels)
    assert len(evaluate(LonelyFiles(tmp_path, tmp_path)).records) == 3


def test_of_a_stream_one_case_is_held_at_a_time(tmp_path):
    """Good ones, a bad one, one of a name that was there, and one that the log has."""

    def make(i):
        case = make_cases(6)[i]
        labels = case.labels[1:] if i == 2 else case.labels.copy()
        return f"case{i % 4}", case.probs.copy(), labels

    evaluate([make(1)], log=tmp_path / "log")
    evaluation = evaluate(iter(LonelyCases(make, 6)), log=tmp_path / "log")
    assert [record.name for record in evaluation.records] == ["case0", "case1", "case3"]
    assert evaluation.problems.keys() == {"case0", "case1", "case2"}


def test_memory_does_not_grow_with_the_number_of_cases():
    def peak(number):
        def stream():
            rng = np.random.default_rng(0)
            for _ in range(number):
                foreground = rng.random((200, 200))
                yield np.stack([1 - foreground, foreground]), foreground > rng.random((200, 200))

        tracemalloc.start()
        try:
            evaluate(stream(), bootstrap=1)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    probabilities = 2 * 200 * 200 * 8
    assert peak(24) - peak(4) < probabilities / 4


def test_progress_counts_good_and_bad_cases():
    cases = make_cases(4)
    cases[1] = cases[1]._replace(labels=cases[1].labels[1:])
    done = []
    evaluate(cases, progress=done.append)
    assert done == [1, 3, 4]


def test_the_order_of_the_cases_does_not_matter():
    cases = make_cases()
    assert comparable(evaluate(cases)) == comparable(evaluate(cases[::-1]))


# Interrupted and resumed


def interrupted(cases, log, after, **options):
    def stop(done):
        if done == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(cases, log=log, progress=stop, **options)


@pytest.mark.parametrize("torn", [False, True])
def test_resumed_results_are_identical(tmp_path, torn):
    log, cases = tmp_path / "log", make_cases()
    interrupted(cases, log, after=4)
    if torn:  # killed in the middle of a write
        log.write_bytes(log.read_bytes()[:-20])
    resumed = evaluate(cases, log=log)
    assert comparable(resumed) == comparable(evaluate(cases))
    assert len(log.read_text().splitlines()) == 1 + len(cases)


def test_a_log_that_was_torn_and_continued_can_be_resumed_again(tmp_path):
    log, cases = tmp_path / "log", make_cases()
    interrupted(cases, log, after=3)
    log.write_bytes(log.read_bytes()[:-20])
    interrupted(cases, log, after=5)
    assert comparable(evaluate(cases, log=log)) == comparable(evaluate(cases))


def test_finished_cases_are_not_computed_again(tmp_path):
    class Counted:
        calls = 0

        def __call__(self, probs):
            self.calls += 1
            return probs.argmax(axis=1)

        def __repr__(self):
            return "Counted()"

    cases, log = make_cases(), tmp_path / "log"
    interrupted(cases, log, after=4, methods=[Method("argmax", Counted())])
    again = Counted()
    evaluate(cases, [Method("argmax", again)], log=log)
    assert again.calls == 2 + 1  # one more to measure memory
    evaluate(cases, [Method("argmax", again)], log=log)
    assert again.calls == 3


def test_a_repaired_case_is_added_by_a_second_run(tmp_path):
    cases, log = make_cases(), tmp_path / "log"
    damaged = [cases[0]._replace(probs=cases[0].probs * 2), *cases[1:]]
    assert evaluate(damaged, log=log).problems.keys() == {"case00"}
    assert comparable(evaluate(cases, log=log)) == comparable(evaluate(cases))


def test_a_file_that_was_removed_since_does_not_count(tmp_path):
    folder, log = tmp_path / "cases", tmp_path / "log"
    folder.mkdir()
    for case in make_cases():
        np.savez(folder / f"{case.name}.npz", probs=case.probs, label=case.labels)
    evaluate(Cases(folder, folder), log=log)
    (folder / "case03.npz").unlink()
    resumed = evaluate(Cases(folder, folder), log=log)
    assert comparable(resumed) == comparable(evaluate(Cases(folder, folder)))


def test_a_log_with_a_damaged_line_is_refused(tmp_path):
    cases, log = make_cases(), tmp_path / "log"
    evaluate(cases, log=log)
    lines = log.read_text().splitlines(keepends=True)
    for damaged in ("{\n", "{}\n", "3\n", lines[1][:50] + "\n"):
        log.write_text("".join([lines[0], damaged, *lines[2:]]))
        with pytest.raises(ValueError, match="is damaged"):
            evaluate(cases, log=log)


@pytest.mark.parametrize(
    "options",
    [
        {"methods": default_methods(pruning_prob=0.6)},
        {"methods": default_methods(["dice"])},
        {"void_index": 254},
    ],
)
def test_a_log_of_other_settings_is_refused_and_kept(tmp_path, options):
    cases, log = make_cases(void=False), tmp_path / "log"
    evaluate(cases, log=log)
    before = log.read_bytes()
    with pytest.raises(ValueError, match=r"was made with (methods|void_index)="):
        evaluate(cases, log=log, **options)
    assert log.read_bytes() == before


@pytest.mark.parametrize("content", ["something else\n", "[1, 2]\n", "3\n", "notes"])
def test_another_file_is_not_taken_for_a_log(tmp_path, content):
    (tmp_path / "log").write_text(content)
    with pytest.raises(ValueError, match="is not a log"):
        evaluate(make_cases(), log=tmp_path / "log")
    assert (tmp_path / "log").read_text() == content


# Conclusions


def test_a_clear_gain_and_a_clear_loss_are_told_from_noise():
    cases = make_cases(12)
    wrong = Method("wrong", lambda probs: probs.argmin(axis=1))
    argmax = default_methods()[0]
    worse = evaluate(cases, [argmax, wrong]).result("wrong", "dice", "label")
    assert worse.verdict == "hurts"
    assert worse.counts == (0, 0, 12)
    better = evaluate(cases, [wrong, argmax]).result("argmax", "dice", "label")
    assert better.verdict == "helps"
    assert (better.low, better.high) == pytest.approx((-worse.high, -worse.low))
    same = evaluate(cases, [argmax, argmax._replace(name="again")]).result("again", "iou", "either")
    assert same.verdict == "unclear"
    assert same.counts == (0, 12, 0)


def test_the_best_and_the_worst_cases_by_name():
    evaluation = evaluate(make_cases(), bootstrap=1)
    result = evaluation.result("RankSEG Dice", "dice", "either")
    known = replace(result, gains=np.array([0.1, -0.2, 1e-17, 0.3, np.nan, -0.1]))
    assert evaluation.best(known) == [("case03", 0.3), ("case00", 0.1)]
    assert evaluation.worst(known) == [("case01", -0.2), ("case05", -0.1)]
    assert evaluation.worst(known, number=1) == [("case01", -0.2)]
    assert known.counts == (2, 1, 2)


@pytest.mark.parametrize(("groups", "verdict"), [(5, "unclear"), (6, "hurts")])
def test_few_groups_may_agree_by_chance(groups, verdict):
    cases = [case._replace(group=str(i % groups)) for i, case in enumerate(make_cases(12))]
    wrong = Method("wrong", lambda probs: probs.argmin(axis=1))
    result = evaluate(cases, [default_methods()[0], wrong]).result("wrong", "dice", "label")
    assert result.high < 0
    assert result.verdict == verdict


def test_one_group_gives_no_interval():
    cases = [case._replace(group="one") for case in make_cases()]
    result = evaluate(cases).result("RankSEG Dice", "dice", "either")
    assert np.isnan((result.low, result.high)).all()
    assert result.verdict == "unclear"


def test_a_class_that_no_case_has_is_null_in_json():
    cases = [
        case._replace(probs=np.concatenate([case.probs, np.zeros((1, *SHAPE), np.float32)]))
        for case in make_cases()
    ]
    numbers = json.loads(json.dumps(evaluate(cases).to_json(), allow_nan=False))
    assert numbers["calibration"]["claimed_area"][-1] is None
    for result in numbers["results"]:
        assert result["classes"]["score"][-1] is None
        assert result["classes"]["score"][0] is not None
    assert [r["method"] for r in numbers["results"][:2]] == ["argmax", "argmax, pruned"]
    assert numbers["cost"].keys() == {method.name for method in default_methods()}


def test_time_and_memory_are_those_of_each_method():
    def hungry(probs):
        scratch = np.ones(10_000_000, np.uint8)
        return probs.argmax(axis=1) + 0 * int(scratch[0])

    evaluation = evaluate(make_cases(), [default_methods()[0], Method("hungry", hungry)])
    modest, greedy = evaluation.memory
    assert modest < 1_000_000
    assert 10_000_000 <= greedy < 11_000_000
    assert (evaluation.seconds > 0).all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"cases": []}, ValueError, "no usable case; there is none at all"),
        ({"cases": [(np.zeros(3), np.zeros(3))]}, ValueError, "no usable case; 0: probs must have"),
        ({"methods": []}, ValueError, "methods must be one or more"),
        ({"methods": default_methods()[:1] * 2}, ValueError, "different names"),
        ({"bootstrap": 0}, ValueError, "bootstrap must be at least 1"),
        ({"bootstrap": 1.5}, TypeError, "float"),
        ({"void_index": "x"}, TypeError, "void_index must be an int"),
        ({"output_mode": "x"}, ValueError, "output_mode must be one of"),
        ({"cases": [(np.ones((1, 3)), np.zeros(3, int))]}, ValueError, "probs has one class"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        evaluate(**{"cases": make_cases(2)} | arguments)


def test_real_frames():
    """Published figures of this data: percent, with two decimals."""
    folder = os.environ.get("RANKSEG_DATA")
    if not folder:
        pytest.skip("RANKSEG_DATA is not set: the real frames were NOT evaluated")
    frames = Path(folder, "camvid_espnet")
    evaluation = evaluate(Cases(frames, frames, group="(Seq05VD|0001TP)"))
    assert len(evaluation.records) == 60
    assert evaluation.groups == 2
    assert not evaluation.problems
    known = {
        ("argmax", "either"): 58.89,
        ("argmax", "label"): 63.87,
        ("RankSEG Dice", "either"): 60.03,
        ("RankSEG Dice", "label"): 63.55,
        ("argmax, pruned", "either"): 60.31,
    }
    for (method, presence), percent in known.items():
        score = 100 * evaluation.result(method, "dice", presence).score
        assert score == pytest.approx(percent, abs=0.0051), (method, presence)
