"""The recipes of the Transformers and SAM guides, run on small models with random weights."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
Image = pytest.importorskip("PIL.Image")

from huggingface import SIDE, make_model, make_processor
from recipes import recipes, run

HEIGHT, WIDTH = 40, 50


@pytest.fixture
def picture(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    monkeypatch.setattr(Image, "open", lambda name: Image.fromarray(pixels))


def pretend(monkeypatch, name, value):
    """Have ``from_pretrained`` of a class return what the test made."""
    monkeypatch.setattr(getattr(transformers, name), "from_pretrained", lambda name: value)


def test_transformers(monkeypatch, picture):
    dense, queries, probabilities, eomt = recipes("transformers.md")

    size = {"height": SIDE, "width": SIDE}
    pretend(monkeypatch, "AutoImageProcessor", make_processor("SegFormer", size=size))
    pretend(monkeypatch, "AutoModelForSemanticSegmentation", make_model("SegFormer", num_labels=5))
    names = run(dense)
    assert (names["labels"].dtype, names["labels"].shape) == (torch.int64, (HEIGHT, WIDTH))

    pretend(monkeypatch, "AutoImageProcessor", make_processor("Mask2Former", size=size))
    pretend(
        monkeypatch, "AutoModelForUniversalSegmentation", make_model("Mask2Former", num_labels=5)
    )
    names = run(queries)
    assert (names["labels"].dtype, names["labels"].shape) == (torch.int64, (HEIGHT, WIDTH))

    names = run(probabilities, **names)
    assert names["probs"].shape == (5, HEIGHT, WIDTH)
    assert names["labels"].shape == (HEIGHT, WIDTH)

    size = {"shortest_edge": SIDE, "longest_edge": SIDE}
    names["processor"] = make_processor("EoMT", size=size, do_pad=True)
    inputs = names["processor"](Image.open(""), return_tensors="pt")
    inputs.pop("patch_offsets", None)
    with torch.inference_mode():
        names["outputs"] = make_model("EoMT", num_labels=5)(**inputs)
    assert run(eomt, **names)["labels"].shape == (HEIGHT, WIDTH)


def test_sam(monkeypatch, picture):
    recipe = recipes("sam.md")[0]
    assert "Sam1" in recipe
    image_processor = make_processor(
        "SAM", size={"longest_edge": SIDE}, pad_size={"height": SIDE, "width": SIDE}
    )
    pretend(monkeypatch, "SamProcessor", transformers.SamProcessor(image_processor))
    pretend(monkeypatch, "SamModel", make_model("SAM"))
    names = run(recipe.replace("Sam1(", f"Sam1(pad_size=({SIDE}, {SIDE}), "))
    assert (names["masks"].dtype, names["masks"].shape) == (torch.bool, (1, 3, HEIGHT, WIDTH))


def test_sam2(monkeypatch, picture):
    recipe = recipes("sam.md")[1]
    assert "Sam2" in recipe
    image_processor = make_processor("SAM 2", size={"height": SIDE, "width": SIDE})
    pretend(monkeypatch, "Sam2Processor", transformers.Sam2Processor(image_processor, SIDE))
    pretend(monkeypatch, "Sam2Model", make_model("SAM 2"))
    names = run(recipe)
    assert (names["masks"].dtype, names["masks"].shape) == (torch.bool, (1, 3, HEIGHT, WIDTH))


def test_sam3(monkeypatch, picture):
    recipe = recipes("sam.md")[2]
    assert "Sam3" in recipe
    image_processor = make_processor("SAM 3", size={"height": SIDE, "width": SIDE})

    def processor(image, text, return_tensors):  # without a tokeniser, whose words are a download
        pixels = image_processor(image, return_tensors=return_tensors)["pixel_values"]
        words = torch.tensor([[0, 5, 6, 2]])
        return {"pixel_values": pixels, "input_ids": words, "attention_mask": words**0}

    pretend(monkeypatch, "Sam3Processor", processor)
    pretend(monkeypatch, "Sam3Model", make_model("SAM 3"))
    names = run(recipe)
    found = names["found"]
    assert (found["masks"].dtype, len(found["masks"])) == (torch.bool, len(found["scores"]))
    assert (names["wheels"].dtype, names["wheels"].shape) == (torch.bool, (HEIGHT, WIDTH))
