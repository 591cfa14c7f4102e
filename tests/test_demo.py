from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from rankseg.activations import sigmoid, softmax
from rankseg.demo import study as study_module
from rankseg.demo.model import PixelMLP, pixel_features
from rankseg.demo.scenes import CLASSES, SIZE, blur_matrix, make_scenes
from rankseg.demo.study import compare, run_study
from rankseg.functional import rankseg

small_study = partial(run_study, training_scenes=6, test_scenes=5, steps=150)


@pytest.fixture(scope="module")
def study():
    return small_study(seed=3)


# Scenes


def test_scenes_have_images_and_labels_and_depend_on_the_seed_only():
    scenes = make_scenes(3, np.random.default_rng(1))
    assert scenes.images.shape == (3, SIZE, SIZE, 3)
    assert scenes.images.dtype == np.float32
    assert 0 <= scenes.images.min() < scenes.images.max() <= 1
    assert scenes.labels.shape == (3, SIZE, SIZE)
    again, other = (make_scenes(3, np.random.default_rng(seed)) for seed in (1, 2))
    np.testing.assert_array_equal(again.images, scenes.images)
    assert not np.array_equal(other.labels, scenes.labels)


def test_every_class_occurs_and_cars_are_small():
    labels = make_scenes(30, np.random.default_rng(0)).labels
    area = np.bincount(labels.ravel(), minlength=len(CLASSES)) / labels.size
    assert len(area) == len(CLASSES)
    assert area.min() > 0
    assert area.argmin() == CLASSES.index("car")


def test_blur_keeps_constants_and_spreads_a_point():
    blur = blur_matrix(11, 1.5)
    np.testing.assert_allclose(blur @ np.ones(11), 1)
    assert blur[5].argmax() == 5
    np.testing.assert_allclose(blur[5], blur[5][::-1])


# Model


def test_features_of_a_flat_image_are_its_colour_without_contrast():
    features = pixel_features(np.full((1, 9, 9, 3), 0.25, dtype=np.float32))
    assert features.shape == (1, 9, 9, 19)
    contrast = features[..., [6, 10, 14, 18]]
    np.testing.assert_allclose(contrast, 0, atol=1e-6)
    np.testing.assert_allclose(np.delete(features, [6, 10, 14, 18], axis=-1), 0.25, atol=1e-6)


def test_gradients_are_those_of_the_weighted_cross_entropy():
    rng = np.random.default_rng(0)
    model = PixelMLP(3, seed=0, hidden=(5, 4))
    model.weights = [w.astype(np.float64) for w in model._initial_weights((6, 5, 4, 3))]
    for bias in model.weights[1::2]:
        bias += rng.normal(size=bias.shape)  # away from the kinks of the activation
    inputs, targets = rng.normal(size=(7, 6)), np.eye(3)[rng.integers(3, size=7)]
    importance = rng.uniform(0.5, 2, size=(7, 1))

    def loss():
        probs = softmax(model._layers(inputs)[-1])
        return -np.mean(importance * np.sum(targets * np.log(probs), axis=1, keepdims=True))

    gradients = model._gradients(inputs, targets, importance)
    assert len(gradients) == len(model.weights)
    for weight, gradient in zip(model.weights, gradients, strict=True):
        for place in [(0,) * weight.ndim, (-1,) * weight.ndim]:
            kept, losses = weight[place], []
            for sign in (1, -1):
                weight[place] = kept + sign * 1e-5
                losses.append(loss())
            weight[place] = kept
            assert gradient[place] == pytest.approx((losses[0] - losses[1]) / 2e-5, abs=1e-8)


def test_model_learns_what_one_feature_says():
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=(4, 10, 10))
    features = rng.normal(scale=0.1, size=(4, 10, 10, 2)).astype(np.float32)
    features[..., 0] += labels
    model = PixelMLP(3, seed=0).fit(features, labels, steps=200, batch=64)
    probs = model.probabilities(features)
    assert probs.shape == (4, 3, 10, 10)
    np.testing.assert_allclose(probs.sum(axis=1), 1, rtol=1e-5)
    assert np.mean(probs.argmax(axis=1) == labels) > 0.98


def test_class_weights_make_a_class_more_probable():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(1, 20, 20, 1)).astype(np.float32)
    labels = (rng.random((1, 20, 20)) < 0.2).astype(int)
    claims = [
        PixelMLP(2, seed=0)
        .fit(features, labels, class_weights=weights, steps=200, batch=64)
        .probabilities(features)[:, 1]
        .mean()
        for weights in (None, np.array([1.0, 4.0]))
    ]
    assert claims[0] == pytest.approx(0.2, abs=0.07)
    assert claims[1] == pytest.approx(0.5, abs=0.1)


# Activations


def test_activations_are_finite_and_wide_enough():
    logits = np.array([-2000, 0, 2000], dtype=np.float16)
    for result in (softmax(logits), sigmoid(logits)):
        assert result.dtype == np.float32
        assert np.all((result >= 0) & (result <= 1))
    assert softmax(logits.astype(np.float64)).dtype == np.float64
    assert sigmoid(np.array([-30.0]))[0] == pytest.approx(np.exp(-30), rel=1e-9)


# Study


def test_study_depends_on_the_seed_only(study):
    again = small_study(seed=3)
    for one, other in zip(study.cases, again.cases, strict=True):
        for method, labels in one.labels.items():
            np.testing.assert_array_equal(labels, other.labels[method])
    assert not np.array_equal(small_study(seed=4).scenes.labels, study.scenes.labels)


def test_scores_are_those_of_an_independent_count():
    rng = np.random.default_rng(0)
    truth = rng.integers(3, size=(6, 8, 8))
    probs = softmax(rng.normal(size=(6, 4, 8, 8)) + 2 * np.eye(4)[:, truth].swapaxes(0, 1), axis=1)
    case = compare("random", probs, truth)
    np.testing.assert_array_equal(case.labels["argmax"], probs.argmax(axis=1))
    for comparison in case.comparisons:
        means = []
        for labels in (probs.argmax(axis=1), rankseg(probs, comparison.result.metric)):
            scores = []
            for pred, true in zip(labels, truth, strict=True):
                classes = (
                    set(true.flat)
                    if comparison.result.presence == "label"
                    else {*true.flat, *pred.flat}
                )
                overlaps = [((pred == c) & (true == c)).sum() for c in classes]
                sizes = [(pred == c).sum() + (true == c).sum() for c in classes]
                pairs = list(zip(overlaps, sizes, strict=True))
                if comparison.result.metric == "dice":
                    scores.append(np.mean([2 * both / size for both, size in pairs]))
                else:
                    scores.append(np.mean([both / (size - both) for both, size in pairs]))
            means.append(np.array(scores))
        assert comparison.argmax == pytest.approx(means[0].mean())
        assert comparison.rankseg == pytest.approx(means[1].mean())
        np.testing.assert_allclose(comparison.gains, means[1] - means[0], atol=1e-12)
        assert sum(comparison.counts) == 6
    area = case.evaluation.reliability.claimed_area
    assert area[1] == pytest.approx(probs[:, 1].sum() / (truth == 1).sum())


def test_dividing_class_weights_out_restores_the_claimed_areas(study):
    plain, weighted, undone = (
        np.abs(np.log(case.evaluation.reliability.claimed_area)).max() for case in study.cases
    )
    assert weighted > undone
    assert weighted > plain


# Text and picture


@pytest.fixture
def report():
    pytest.importorskip("rich")
    from rankseg.demo import report

    return report


def with_verdicts(case, *verdicts):
    """A case whose intervals lie as the verdicts say."""
    ends = {"helps": (0.1, 0.2), "hurts": (-0.2, -0.1), "unclear": (-0.1, 0.1)}
    wanted = iter(verdicts)

    def change(result):
        counts = (result.method, result.metric) in (
            ("RankSEG Dice", "dice"),
            ("RankSEG IoU", "iou"),
        )
        low, high = ends[next(wanted)] if counts else (0.0, 0.0)
        return replace(result, low=low, high=high, groups=6)

    evaluation = replace(case.evaluation)
    evaluation.__dict__["results"] = tuple(map(change, case.evaluation.results))
    return replace(case, evaluation=evaluation)


@pytest.mark.parametrize(
    ("verdicts", "text"),
    [
        (["helps"] * 4, "helps by 4 and hurts by 0 of 4"),
        (["hurts"] * 4, "helps by 0 and hurts by 4 of 4"),
        (["unclear", "helps", "hurts", "helps"], "helps by 2 and hurts by 1 of 4"),
    ],
)
def test_conclusion_counts_the_verdicts(study, report, verdicts, text):
    assert text in report.conclusion(with_verdicts(study.cases[0], *verdicts))


def with_area(case, label, area):
    """A case whose probabilities add up to the true areas, but for one class."""
    mass = np.ones(len(CLASSES))
    mass[label] = area
    record = case.evaluation.records[0]
    reliability = record.reliability._replace(mass=mass, area=np.ones(len(CLASSES)))
    records = (replace(record, reliability=reliability),)
    evaluation = replace(case.evaluation, records=records)
    evaluation.__dict__["results"] = case.evaluation.results
    return replace(case, evaluation=evaluation)


@pytest.mark.parametrize(
    ("area", "text"), [(1.1, "about the true areas"), (3.0, "3.00 times"), (0.2, "0.20 times")]
)
def test_conclusion_names_the_class_that_claims_too_much_or_too_little(study, report, area, text):
    conclusion = report.conclusion(with_area(study.cases[0], 4, area))
    assert text in conclusion
    assert CLASSES[4] in conclusion
    assert ("only as good as" in conclusion) == (area != 1.1)


def test_report_prints_the_measured_numbers(study, report):
    from rich.console import Console

    console = Console(width=80, record=True, quiet=True)
    console.quiet = False
    with console.capture() as capture:
        report.print_study(study, console)
    text = capture.get()
    assert max(len(line) for line in text.splitlines()) <= 80
    for case in study.cases:
        assert case.title in text
        for comparison in case.comparisons:
            result = comparison.result
            scores = f"{100 * comparison.argmax:.2f}    {100 * comparison.rankseg:.2f}"
            gain = f"{100 * result.gain:+.2f}  {100 * result.low:+.2f} to {100 * result.high:+.2f}"
            assert f"{scores}  {gain}" in text


def test_picture_has_every_panel(study, tmp_path):
    pytest.importorskip("matplotlib")
    from rankseg.demo.picture import study_figure
    from rankseg.plotting import save_png

    figure = study_figure(study)
    assert len(figure.axes) == 4 * 5 + 3
    save_png(figure, tmp_path / "study.png")
    assert (tmp_path / "study.png").read_bytes().startswith(b"\x89PNG")


def test_picture_shows_best_median_and_worst_scene(study):
    pytest.importorskip("matplotlib")
    from rankseg.demo.picture import dice_comparison, study_figure

    gains = np.sort(dice_comparison(study.cases[0]).gains)
    labels = [axes.get_ylabel() for axes in study_figure(study).axes[:15:5]]
    for label, gain in zip(labels, gains[[-1, 2, 0]], strict=True):
        assert f"{100 * gain:+.1f} Dice" in label


# Command


@pytest.fixture
def invoke(monkeypatch, study):
    pytest.importorskip("typer")
    pytest.importorskip("matplotlib")
    from typer.testing import CliRunner

    from rankseg.cli.app import app

    def fake(seed):
        if seed == 13:
            raise KeyboardInterrupt
        return replace(study, seconds=float(seed))

    monkeypatch.setattr(study_module, "run_study", fake)
    return lambda *arguments: CliRunner().invoke(app, ["demo", *map(str, arguments)])


def test_demo_prints_and_draws(invoke, tmp_path):
    result = invoke("-o", tmp_path / "demo.png", "--seed", 5)
    assert result.exit_code == 0
    assert "took 5.0 s" in result.stdout
    assert str(tmp_path / "demo.png") in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["demo.png"]


def test_demo_has_a_default_picture(invoke, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert invoke().exit_code == 0
    assert (tmp_path / "rankseg-demo.png").exists()


@pytest.mark.parametrize(
    ("name", "seed", "text"),
    [
        ("no/demo.png", 0, "no such folder"),
        ("demo.jpg", 0, ".png"),
        ("demo.png", 13, "interrupted"),
    ],
)
def test_demo_fails_in_one_line(invoke, tmp_path, name, seed, text):
    result = invoke("-o", tmp_path / name, "--seed", seed)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("rankseg: ")
    assert text in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_foresight_compares_expected_with_measured_dice(report):
    rng = np.random.default_rng(0)
    probs = rng.dirichlet([0.3, 0.3, 0.3], (4, 12, 12)).transpose(0, 3, 1, 2)
    truth = (rng.random((4, 1, 12, 12)) > probs.cumsum(axis=1)).sum(axis=1)
    case = compare("drawn from the probabilities", probs, truth)
    # Labels drawn from the probabilities themselves: the expectation is right on average.
    assert case.foresight.expected == pytest.approx(case.foresight.measured, abs=0.05)
    assert -1 <= case.foresight.correlation <= 1
    assert f"{100 * case.foresight.expected:.1f}" in report.foresight(case)
