"""The HTML report, its pictures and the sentences in it."""

import re
import subprocess
import sys
from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="reports need the extra cli")

from commandline import refuse
from lonely import LonelyFiles
from PIL import Image

from rankseg.evaluation import Case, Cases, default_methods, evaluate, write_report
from rankseg.evaluation.report.pictures import AGREED, BETTER, NEITHER, VOID, WORSE, case_panels
from rankseg.evaluation.report.tables import conclusions, score_lines
from rankseg.plotting import class_colours

NASTY = "<b>&amp; 'x'"


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c", NASTY):
        foreground = rng.beta(0.7, 2, (12, 16))
        label = (rng.random((12, 16)) < foreground).astype(np.uint8)
        np.savez(
            tmp_path / f"{name}.npz", probs=np.stack([1 - foreground, foreground]), label=label
        )
    return tmp_path


class Checker(HTMLParser):
    """Opening and closing tags must match; gathers text and images."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.images = [], "", []

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.images.append(dict(attributes)["src"])
        elif tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def parse(path):
    checker = Checker()
    checker.feed(path.read_text(encoding="utf-8"))
    assert not checker.open
    return checker


def test_the_report_is_one_file_with_everything(folder, tmp_path):
    cases = LonelyFiles(folder, folder)
    evaluation = evaluate(cases, bootstrap=20)
    evaluation.problems["broken"] = "no reason"
    path = tmp_path / "report.html"
    write_report(evaluation, path, cases)
    page = parse(path)
    assert all(source.startswith("data:image/png;base64,") for source in page.images)
    assert not re.search(r"https?:|<link|<script", path.read_text())
    result = evaluation.result("RankSEG Dice", "dice", "either")
    changed = int((np.abs(result.gains) > 0).sum())
    assert changed > 1
    assert len(page.images) == 2 + 4 * changed  # two plots, four panels a case
    for source in page.images:
        Image.open(BytesIO(b64decode(source.partition(",")[2]))).verify()
    for name in ("a", "b", "c", NASTY, "broken", "no reason", *evaluation.names):
        assert name in page.text
    for sentence in conclusions(evaluation):
        assert sentence in page.text


def test_without_jinja_there_is_one_clear_line_before_the_work(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    evaluation = evaluate(Cases(folder, folder), bootstrap=20)
    with pytest.raises(ModuleNotFoundError, match=r'^jinja2 .* pip install "rankseg\[cli\]"$'):
        write_report(evaluation, tmp_path / "report.html")
    arguments = ("evaluate", folder, folder, "-o", tmp_path / "report.html")
    assert 'jinja2 is not installed: pip install "rankseg[cli]"' in refuse(*arguments)
    assert not list(tmp_path.glob("*report*"))


def test_importing_the_evaluation_does_not_import_jinja():
    code = "import sys, rankseg.evaluation; print('jinja2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_without_files_there_are_no_pictures_of_cases(folder, tmp_path):
    evaluation = evaluate(iter(Cases(folder, folder)), bootstrap=20)
    write_report(evaluation, tmp_path / "report.html", method="RankSEG IoU")
    page = parse(tmp_path / "report.html")
    assert len(page.images) == 2
    assert "Largest losses of RankSEG IoU" in page.text


def test_an_older_report_is_replaced_only_if_asked(folder, tmp_path):
    evaluation = evaluate(Cases(folder, folder), bootstrap=20)
    (tmp_path / "report.html").write_text("old")
    with pytest.raises(FileExistsError):
        write_report(evaluation, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text() == "old"
    write_report(evaluation, tmp_path / "report.html", overwrite=True)
    parse(tmp_path / "report.html")


def test_an_unknown_method_is_an_error(folder, tmp_path):
    evaluation = evaluate(Cases(folder, folder), bootstrap=20)
    with pytest.raises(ValueError, match="no result for method"):
        write_report(evaluation, tmp_path / "report.html", method="other")
    assert not (tmp_path / "report.html").exists()


def test_a_report_of_masks(tmp_path):
    rng = np.random.default_rng(0)
    for name in "ab":
        probs = rng.beta(0.7, 2, (3, 12, 16))
        np.savez(tmp_path / f"{name}.npz", probs=probs, label=rng.random(probs.shape) < probs)
    cases = Cases(tmp_path, tmp_path)
    evaluation = evaluate(cases, output_mode="multilabel", bootstrap=20)
    write_report(evaluation, tmp_path / "report.html", cases)
    assert "threshold" in parse(tmp_path / "report.html").text


# Panels


def panels(labels, before, after, void_index=255):
    case = Case("x", np.zeros((3, *labels.shape)), labels, "x")
    return case_panels(case, {"argmax": before, "RankSEG": after}, void_index)


def test_panels_show_truth_predictions_and_who_is_right():
    truth = np.array([[0, 1, 2, 2, 255]])
    before = np.array([[0, 0, 2, 1, 0]])
    after = np.array([[0, 1, 0, 0, 1]])
    (_, shown), *predictions, (_, change) = panels(truth, before, after)
    colours = class_colours(3)
    np.testing.assert_array_equal(shown[0, :4], colours[truth[0, :4]])
    np.testing.assert_array_equal(shown[0, 4], VOID)
    assert [title for title, _ in predictions] == ["argmax", "RankSEG"]
    np.testing.assert_array_equal(predictions[1][1], colours[after])
    np.testing.assert_array_equal(change[0], [AGREED, BETTER, WORSE, NEITHER, AGREED])


def test_labels_of_a_method_that_are_no_class_are_white():
    truth = np.array([[0, 1, 2, 255]])
    after = np.array([[0, 1000, -2, 2]])
    *_, (_, shown), (_, change) = panels(truth, truth % 255, after)
    np.testing.assert_array_equal(shown[0, 1:3], [VOID, VOID])
    np.testing.assert_array_equal(shown[0, [0, 3]], class_colours(3)[[0, 2]])
    np.testing.assert_array_equal(change[0], [AGREED, WORSE, WORSE, AGREED])


def test_void_may_have_the_number_of_a_class():
    labels = np.array([[0, 1, 2]])
    (_, shown), (_, before), *_ = panels(labels, labels, labels, void_index=1)
    np.testing.assert_array_equal(shown[0, 1], VOID)
    np.testing.assert_array_equal(before[0], class_colours(3))


def test_of_a_volume_the_slice_with_most_changes_is_shown():
    truth, before = np.zeros((2, 4, 5, 6), int)
    after = before.copy()
    after[2, 1:3] = 1
    after[3, 0, 0] = 1
    (title, shown), *_ = panels(truth, before, after)
    assert title == "truth, slice 2"
    assert shown.shape == (5, 6, 3)


def test_of_masks_the_class_with_most_changes_is_shown():
    before = np.zeros((3, 4, 5), bool)
    after = before.copy()
    after[1, :2] = True
    case = Case("x", np.zeros((3, 4, 5)), after, "x")
    result = case_panels(case, {"threshold": before, "RankSEG": after}, void_index=255)
    assert result[0][0] == "truth of class 1"
    np.testing.assert_array_equal(result[-1][1][0, 0], BETTER)


def test_large_images_are_thinned_out_and_lines_not_drawn():
    truth = np.zeros((30, 1200), int)
    assert panels(truth, truth, truth)[0][1].shape == (10, 400, 3)
    line = np.zeros(7, int)
    assert panels(line, line, line) == []


# Sentences


def test_conclusions_name_verdicts_and_warn_of_few_groups(folder):
    evaluation = evaluate(Cases(folder, folder), bootstrap=20)
    sentences = conclusions(evaluation)
    methods = evaluation.names[1:]
    assert len(sentences) == len(methods) + 2
    for name, sentence in zip(methods, sentences, strict=False):
        assert sentence.startswith(f"{name}: ")
        words = {"helps": "helps", "hurts": "hurts", "unclear": "no clear effect"}
        for verdict, word in words.items():
            said = {r.verdict for r in evaluation.results if r.method == name}
            assert (word in sentence) == (verdict in said)
    assert "the number of groups is 4" in sentences[-2]
    assert "calibration error" in sentences[-1]


def test_enough_groups_need_no_warning(folder):
    cases = Cases(folder, folder)
    copies = (
        case._replace(name=f"{case.name} {i}", group=str(i)) for i in range(6) for case in cases
    )
    assert not any("number of groups" in one for one in conclusions(evaluate(copies, bootstrap=20)))


def test_rows_are_in_percent_and_the_baseline_has_no_gain(folder):
    evaluation = evaluate(Cases(folder, folder), default_methods(["dice"]), bootstrap=20)
    rows = score_lines(evaluation, "dice", "label")
    assert rows[0][2:] == ("", "", "", "baseline")
    result = evaluation.result("RankSEG Dice", "dice", "label")
    assert rows[2][1] == f"{100 * result.score:.2f}"
    assert rows[2][2] == f"{100 * result.gain:+.2f}"
    assert rows[2][4] == "/".join(map(str, result.counts))
