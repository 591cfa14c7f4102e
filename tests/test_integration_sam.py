"""Masks of small real SAM models against the answers of their own processors."""

from functools import cache, partial
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from huggingface import SIDE, make_model, make_processor, pictures

from rankseg.functional import rankseg
from rankseg.integration.sam import Sam1, Sam2, Sam3

THRESHOLD = {"metric": "acc", "solver": "TR"}
PADDED = {"height": SIDE, "width": SIDE}
ORIGINAL = [(40, 50), (90, 33)]
RESHAPED = [(51, 64), (64, 23)]
PROMPTS = 3


def prompts():
    generator = torch.Generator().manual_seed(3)
    points = torch.rand(2, PROMPTS, 1, 2, generator=generator) * SIDE
    return {"input_points": points, "input_labels": torch.ones(2, PROMPTS, 1, dtype=torch.int64)}


@cache
def run(family):
    model = make_model(family)
    if family != "SAM 3":
        return model(pictures(), **prompts())
    words = torch.tensor([[0, 5, 6, 2], [0, 7, 8, 2]])
    return model(pictures(), input_ids=words, attention_mask=torch.ones_like(words))


def centred(outputs, name="pred_masks"):
    """Shift each map to a mean of zero: without training all of it may lie on one side."""
    maps = outputs[name]
    return type(outputs)(**outputs | {name: maps - maps.mean((-2, -1), keepdim=True)})


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def named(name, **values):
    """Return outputs whose type has a given name."""
    return type(name, (SimpleNamespace,), {})(**values)


def prompt_outputs(**values):
    return SimpleNamespace(pred_masks=noise(2, PROMPTS, 3, 16, 16), **values)


def concept_outputs(**values):
    defaults = {
        "pred_masks": noise(2, 6, 8, 8),
        "pred_boxes": noise(2, 6, 4, seed=1).sigmoid(),
        "pred_logits": noise(2, 6, seed=2),
        "presence_logits": noise(2, 1, seed=3) + 2,
        "semantic_seg": noise(2, 1, 8, 8, seed=4),
    }
    return SimpleNamespace(**defaults | values)


def equal(found, expected):
    return all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


def vary(masks):
    """Tell whether masks are neither all empty nor all full."""
    return all(0 < mask.float().mean() < 1 for mask in masks)


# Sam1


def sam1_sizes(form=list):
    return {"original_sizes": form(ORIGINAL), "reshaped_input_sizes": form(RESHAPED)}


@pytest.mark.parametrize("form", [list, torch.tensor, np.array])
@pytest.mark.parametrize("family", ["SAM", "SAM-HQ"])
def test_sam1_with_a_threshold_gives_the_masks_of_the_processor(family, form):
    outputs = centred(run(family))
    processor = make_processor(family, pad_size=PADDED)
    expected = processor.post_process_masks(outputs.pred_masks, ORIGINAL, RESHAPED)
    adapter = Sam1(rankseg_kwargs=THRESHOLD, pad_size=PADDED)
    found = adapter.postprocess(outputs, **sam1_sizes(form))
    assert [tuple(mask.shape) for mask in found] == [(PROMPTS, 3, *size) for size in ORIGINAL]
    assert equal(found, expected)
    assert vary(expected)


@pytest.mark.parametrize("family", ["SAM", "SAM-HQ"])
def test_sam1_probabilities_are_those_behind_the_masks_of_the_processor(family):
    outputs = run(family)
    processor = make_processor(family, pad_size=PADDED)
    expected = processor.post_process_masks(outputs.pred_masks, ORIGINAL, RESHAPED, binarize=False)
    found = Sam1(pad_size=PADDED).restore_mask_probs(outputs, **sam1_sizes())
    for probs, logits in zip(found, expected, strict=True):
        torch.testing.assert_close(probs, logits.sigmoid(), rtol=0, atol=1e-6)


def test_sam1_takes_the_sizes_that_the_processor_returns():
    processor = make_processor("SAM", size={"longest_edge": SIDE}, pad_size=PADDED)
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ORIGINAL]
    inputs = processor(images=images, return_tensors="pt")
    outputs = make_model("SAM")(inputs["pixel_values"], **prompts())
    sizes = {name: inputs[name] for name in ("original_sizes", "reshaped_input_sizes")}
    expected = processor.post_process_masks(outputs.pred_masks, **sizes)
    found = Sam1(rankseg_kwargs=THRESHOLD, pad_size=(SIDE, SIDE)).postprocess(outputs, **sizes)
    assert equal(found, expected)


def test_sam1_pads_to_1024_by_default():
    outputs = SimpleNamespace(pred_masks=noise(1, 1, 1, 16, 16))
    sizes = {"original_sizes": [(30, 40)], "reshaped_input_sizes": [(768, 1024)]}
    expected = make_processor("SAM").post_process_masks(outputs.pred_masks, *sizes.values())
    assert equal(Sam1(rankseg_kwargs=THRESHOLD).postprocess(outputs, **sizes), expected)


@pytest.mark.parametrize(
    ("pad_size", "error", "message"),
    [
        (16, ValueError, r"pad_size must be a \(height, width\) pair"),
        ((0, 16), ValueError, "pad_size must be positive"),
        ((True, 16), TypeError, "pad_size must hold two ints"),
        ({"height": 16}, ValueError, r"pad_size must be a \(height, width\) pair"),
        ((), ValueError, r"pad_size must be a \(height, width\) pair"),
    ],
)
def test_sam1_refuses_a_wrong_pad_size(pad_size, error, message):
    with pytest.raises(error, match=message):
        Sam1(pad_size=pad_size)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"original_sizes": ORIGINAL[:1]}, ValueError, "original_sizes must have one pair"),
        ({"original_sizes": None}, ValueError, "original_sizes must be given"),
        ({"reshaped_input_sizes": None}, ValueError, "reshaped_input_sizes must be given"),
        ({"original_sizes": 5}, TypeError, "original_sizes must be a list"),
        ({"original_sizes": (2.5, 2)}, TypeError, "original_sizes must hold two ints"),
        ({"original_sizes": torch.ones(2)}, TypeError, "original_sizes must have an integer dtype"),
        ({"original_sizes": [(True, 2), (2, 2)]}, TypeError, r"original_sizes\[0\]"),
        ({"original_sizes": [(3, 2), (2, 0)]}, ValueError, r"original_sizes\[1\] must be positive"),
        ({"reshaped_input_sizes": RESHAPED[:1]}, ValueError, "reshaped_input_sizes must have one"),
        (
            {"reshaped_input_sizes": [(51, 64), (64, 65)]},
            ValueError,
            r"reshaped_input_sizes\[1\] must fit into the pad size \(64, 64\), found \(64, 65\)",
        ),
    ],
)
def test_sam1_refuses_wrong_sizes(changed, error, message):
    for method in ("postprocess", "restore_mask_probs"):
        with pytest.raises(error, match=message):
            getattr(Sam1(pad_size=PADDED), method)(prompt_outputs(), **sam1_sizes() | changed)


@pytest.mark.parametrize(
    "size", [(40, 50), [40, 50], {"height": 40, "width": 50}, torch.tensor([40, 50])], ids=repr
)
def test_one_size_is_that_of_all_pictures(size):
    outputs, sizes = prompt_outputs(), [(40, 50)] * 2
    sam1 = partial(Sam1(pad_size=PADDED).restore_mask_probs, outputs)
    expected = sam1(original_sizes=sizes, reshaped_input_sizes=sizes)
    assert equal(sam1(original_sizes=size, reshaped_input_sizes=size), expected)
    sam2 = partial(Sam2().restore_mask_probs, outputs)
    assert equal(sam2(original_sizes=size), sam2(original_sizes=sizes))
    sam3 = partial(Sam3().restore_semantic_mask_probs, concept_outputs())
    assert equal(sam3(target_sizes=size), sam3(target_sizes=sizes))


@pytest.mark.parametrize("adapter", [Sam1, Sam2])
def test_masks_without_an_axis_of_prompts_are_those_of_one(adapter):
    sizes = sam1_sizes() if adapter is Sam1 else {"original_sizes": ORIGINAL}
    masks = noise(2, 3, 16, 16)
    for method in ("restore_mask_probs", "postprocess"):
        call = getattr(adapter(), method)
        found = call(SimpleNamespace(pred_masks=masks), **sizes)
        assert [tuple(mask.shape) for mask in found] == [(1, 3, *size) for size in ORIGINAL]
        assert equal(found, call(SimpleNamespace(pred_masks=masks[:, None]), **sizes))


# Sam2


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("form", [list, torch.tensor])
def test_sam2_with_a_threshold_gives_the_masks_of_the_processor(form, apart):
    outputs = centred(run("SAM 2"))
    expected = make_processor("SAM 2").post_process_masks(
        outputs.pred_masks, ORIGINAL, apply_non_overlapping_constraints=apart
    )
    adapter = Sam2(rankseg_kwargs=THRESHOLD, apply_non_overlapping_constraints=apart)
    found = adapter.postprocess(outputs, original_sizes=form(ORIGINAL))
    assert equal(found, expected)
    assert vary(expected)
    assert all((mask.sum(0) <= 1).all() for mask in found) == apart


@pytest.mark.parametrize("apart", [False, True])
def test_sam2_probabilities_are_those_behind_the_masks_of_the_processor(apart):
    outputs = run("SAM 2")
    expected = make_processor("SAM 2").post_process_masks(
        outputs.pred_masks, ORIGINAL, binarize=False, apply_non_overlapping_constraints=apart
    )
    adapter = Sam2(apply_non_overlapping_constraints=apart)
    found = adapter.restore_mask_probs(outputs, original_sizes=ORIGINAL)
    for probs, logits in zip(found, expected, strict=True):
        torch.testing.assert_close(probs, logits.sigmoid(), rtol=0, atol=1e-6)


def test_sam2_takes_the_sizes_that_the_processor_returns():
    processor = make_processor("SAM 2", size=PADDED)
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ORIGINAL]
    inputs = processor(images=images, return_tensors="pt")
    outputs = make_model("SAM 2")(inputs["pixel_values"], **prompts())
    expected = processor.post_process_masks(outputs.pred_masks, inputs["original_sizes"])
    adapter = Sam2(rankseg_kwargs=THRESHOLD)
    assert equal(adapter.postprocess(outputs, original_sizes=inputs["original_sizes"]), expected)


def test_sam2_refuses_a_flag_that_is_no_bool():
    with pytest.raises(TypeError, match="apply_non_overlapping_constraints must be a bool"):
        Sam2(apply_non_overlapping_constraints=1)


# Sam3


@pytest.mark.parametrize("sizes", [None, ORIGINAL])
@pytest.mark.parametrize("presence", [True, False])
def test_sam3_instances_with_a_threshold_are_those_of_the_processor(sizes, presence):
    outputs = centred(run("SAM 3"))
    if not presence:
        outputs.presence_logits = None
    processor = make_processor("SAM 3")
    scores = torch.cat(
        [
            found["scores"]
            for found in processor.post_process_instance_segmentation(outputs, threshold=0)
        ]
    )
    threshold = float(scores.detach().median())  # so that some instances stay
    expected = processor.post_process_instance_segmentation(
        outputs, threshold=threshold, target_sizes=sizes
    )
    adapter = Sam3(rankseg_kwargs=THRESHOLD, threshold=threshold)
    found = adapter.postprocess_instance(outputs, target_sizes=sizes)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys()
        assert torch.equal(ours["scores"], theirs["scores"])
        assert torch.equal(ours["boxes"], theirs["boxes"])
        assert torch.equal(ours["masks"], theirs["masks"].bool())
        assert ours["masks"].dtype == torch.bool
    kept = torch.cat([ours["masks"].flatten() for ours in found])
    assert vary([kept])
    assert 0 < sum(len(ours["scores"]) for ours in found) < len(scores)


@pytest.mark.parametrize("sizes", [None, ORIGINAL])
def test_sam3_instances_without_any_are_those_of_the_processor(sizes):
    outputs = run("SAM 3")
    expected = make_processor("SAM 3").post_process_instance_segmentation(
        outputs, threshold=1, target_sizes=sizes
    )
    found = Sam3(threshold=1).postprocess_instance(outputs, target_sizes=sizes)
    for ours, theirs in zip(found, expected, strict=True):
        assert len(ours["scores"]) == 0
        assert {name: x.shape for name, x in ours.items()} == {
            name: x.shape for name, x in theirs.items()
        }
        assert ours["masks"].dtype == torch.bool


def test_sam3_keeps_scores_strictly_above_the_threshold():
    logits = torch.tensor([[0.0, -1.0, 1.0]])  # sigmoid(0) is 0.5 exactly
    outputs = SimpleNamespace(
        pred_masks=noise(1, 3, 4, 4), pred_boxes=noise(1, 3, 4), pred_logits=logits
    )
    (found,) = Sam3(threshold=0.5).restore_instance_mask_probs(outputs)
    assert torch.equal(found["scores"], logits[0, 2:].sigmoid())
    assert torch.equal(found["mask_probs"], outputs.pred_masks[0, 2:].sigmoid())


def test_sam3_keeps_what_the_presence_leaves_above_three_tenths():
    scores, presence = torch.tensor([[0.37, 0.38, 0.9]]), torch.tensor([[0.8]])
    outputs = SimpleNamespace(
        pred_masks=noise(1, 3, 4, 4),
        pred_boxes=noise(1, 3, 4),
        pred_logits=scores.logit(),
        presence_logits=presence.logit(),
    )
    (found,) = Sam3().postprocess_instance(outputs)
    torch.testing.assert_close(found["scores"], scores[0, 1:] * 0.8)  # 0.37 x 0.8 is below 0.3
    assert len(found["boxes"]) == len(found["masks"]) == 2


def test_sam3_takes_the_sigmoid_before_resizing():
    outputs, sizes = concept_outputs(), [(20, 30), (3, 5)]
    resize = partial(torch.nn.functional.interpolate, mode="bilinear", align_corners=False)
    adapter = Sam3(threshold=0)
    instances = adapter.restore_instance_mask_probs(outputs, target_sizes=sizes)
    concepts = adapter.restore_semantic_mask_probs(outputs, target_sizes=sizes)
    for i, size in enumerate(sizes):
        expected = resize(outputs.pred_masks[i : i + 1].sigmoid(), size)[0]
        torch.testing.assert_close(instances[i]["mask_probs"], expected, rtol=0, atol=1e-6)
        expected = resize(outputs.semantic_seg[i : i + 1].sigmoid(), size)[0]
        torch.testing.assert_close(concepts[i], expected, rtol=0, atol=1e-6)


def test_sam3_boxes_are_scaled_to_the_target():
    outputs, sizes = concept_outputs(), [(10, 20), (30, 40)]
    relative = Sam3().restore_instance_mask_probs(outputs)
    scaled = Sam3().restore_instance_mask_probs(outputs, target_sizes=sizes)
    for ours, theirs, (height, width) in zip(scaled, relative, sizes, strict=True):
        assert torch.equal(
            ours["boxes"], theirs["boxes"] * torch.tensor([width, height, width, height])
        )


@pytest.mark.parametrize("sizes", [None, ORIGINAL])
def test_sam3_semantic_with_a_threshold_is_that_of_the_processor(sizes):
    outputs = centred(run("SAM 3"), "semantic_seg")
    expected = make_processor("SAM 3").post_process_semantic_segmentation(outputs, sizes)
    found = Sam3(rankseg_kwargs=THRESHOLD).postprocess_semantic(outputs, target_sizes=sizes)
    assert equal(found, [mask.bool() for mask in expected])
    assert found[0].dtype == torch.bool
    assert vary(found)


def test_sam3_original_sizes_stand_in_for_target_sizes():
    outputs, adapter = concept_outputs(), Sam3()
    for method in ("restore_semantic_mask_probs", "postprocess_semantic"):
        call = getattr(adapter, method)
        expected = call(outputs, target_sizes=ORIGINAL)
        assert equal(call(outputs, original_sizes=ORIGINAL), expected)
        both = call(outputs, target_sizes=ORIGINAL, original_sizes=RESHAPED)
        assert equal(both, expected)
    for method, field in (
        ("restore_instance_mask_probs", "mask_probs"),
        ("postprocess_instance", "masks"),
    ):
        call = getattr(adapter, method)
        expected = [found[field] for found in call(outputs, target_sizes=ORIGINAL)]
        found = [found[field] for found in call(outputs, original_sizes=ORIGINAL)]
        assert equal(found, expected)


def test_sam3_names_the_sizes_that_are_wrong():
    for name in ("target_sizes", "original_sizes"):
        with pytest.raises(TypeError, match=rf"{name}\[1\] must hold two ints"):
            Sam3().postprocess_semantic(concept_outputs(), **{name: [(8, 8), (8.5, 8)]})


def test_sam3_keeps_the_precision_of_each_field():
    outputs = concept_outputs()
    outputs.presence_logits = outputs.presence_logits.double()
    (found, _) = Sam3().restore_instance_mask_probs(outputs)
    assert found["scores"].dtype == torch.float64
    assert found["boxes"].dtype == found["mask_probs"].dtype == torch.float32


@pytest.mark.parametrize(
    ("threshold", "error"),
    [(True, TypeError), ("a", TypeError), (-0.1, ValueError), (2, ValueError)],
)
def test_sam3_refuses_a_wrong_threshold(threshold, error):
    with pytest.raises(error, match="threshold"):
        Sam3(threshold=threshold)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"pred_boxes": None}, ValueError, "outputs must have pred_boxes"),
        ({"pred_logits": None}, ValueError, "outputs must have pred_logits"),
        ({"pred_masks": None}, ValueError, "outputs must have pred_masks"),
        ({"pred_masks": noise(2, 6, 3, 8, 8)}, ValueError, r"\(batch, query, height, width\)"),
        ({"pred_boxes": noise(2, 6)}, ValueError, r"pred_boxes must have shape"),
        ({"pred_boxes": noise(2, 6, 5)}, ValueError, r"\(batch, query, 4\), found \(2, 6, 5\)"),
        ({"pred_logits": noise(2, 5)}, ValueError, r"found .*\(2, 5\) in pred_logits"),
        ({"presence_logits": noise(2)}, ValueError, r"presence_logits must have shape"),
        ({"presence_logits": noise(1, 1)}, ValueError, r"shape \(2, 1\), found \(1, 1\)"),
        ({"pred_masks": noise(2, 6, 0, 8)}, ValueError, "pred_masks must have no empty axis"),
        (
            {"pred_boxes": noise(2, 6, 4).to("meta")},
            ValueError,
            "on one device, found pred_masks on cpu, pred_boxes on meta, pred_logits on cpu",
        ),
        (
            {"presence_logits": noise(2, 1).to("meta")},
            ValueError,
            "on one device, found .* presence_logits on meta",
        ),
    ],
)
def test_sam3_refuses_wrong_instance_fields(changed, error, message):
    with pytest.raises(error, match=message):
        Sam3().postprocess_instance(concept_outputs(**changed))


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"semantic_seg": None}, ValueError, "outputs must have semantic_seg"),
        ({"semantic_seg": noise(2, 8, 8)}, ValueError, r"\(batch, 1, height, width\)"),
        ({"semantic_seg": noise(2, 2, 8, 8)}, ValueError, r"\(batch, 1, height, width\)"),
        ({"semantic_seg": noise(2, 1, 8, 0)}, ValueError, "semantic_seg must have no empty axis"),
    ],
)
def test_sam3_refuses_wrong_semantic_fields(changed, error, message):
    with pytest.raises(error, match=message):
        Sam3().postprocess_semantic(concept_outputs(**changed))


# All of them


CALLS = [
    (Sam1, "restore_mask_probs", prompt_outputs, sam1_sizes()),
    (Sam2, "restore_mask_probs", prompt_outputs, {"original_sizes": ORIGINAL}),
    (Sam3, "restore_semantic_mask_probs", concept_outputs, {"target_sizes": ORIGINAL}),
    (Sam3, "restore_instance_mask_probs", concept_outputs, {"target_sizes": ORIGINAL}),
]


def tensors(results):
    """Return the tensors of a list of them, or of dictionaries of them."""
    return [x for r in results for x in (r.values() if isinstance(r, dict) else [r])]


@pytest.mark.parametrize(("adapter", "method", "outputs", "sizes"), CALLS)
def test_gradients_flow_through_the_probabilities_only(adapter, method, outputs, sizes):
    outputs, saved = outputs(), []
    for value in vars(outputs).values():
        value.requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
        post = method.replace("restore", "postprocess").replace("_mask_probs", "")
        assert not any(x.requires_grad for x in tensors(getattr(adapter(), post)(outputs, **sizes)))
        assert not saved
    probs = tensors(getattr(adapter(), method)(outputs, **sizes))
    field = outputs.semantic_seg if "semantic" in method else outputs.pred_masks
    (gradient,) = torch.autograd.grad(sum(p.sum() for p in probs), field)
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("adapter", "method", "outputs", "sizes"), CALLS)
def test_half_precision_is_computed_in_float32(adapter, method, outputs, sizes, dtype):
    half = SimpleNamespace(**{name: x.to(dtype) for name, x in vars(outputs()).items()})
    wide = SimpleNamespace(**{name: x.float() for name, x in vars(half).items()})
    found = tensors(getattr(adapter(), method)(half, **sizes))
    assert all(x.dtype == torch.float32 for x in found)
    assert equal(found, tensors(getattr(adapter(), method)(wide, **sizes)))


@pytest.mark.parametrize("metric", ["dice", "iou"])
def test_masks_are_rankseg_of_the_probabilities(metric):
    settings = {"metric": metric, "output_mode": "multilabel"}
    for adapter, method, outputs, sizes in CALLS[:2]:
        adapter = adapter(rankseg_kwargs={"metric": metric})
        found = adapter.postprocess(outputs(), **sizes)
        probs = getattr(adapter, method)(outputs(), **sizes)
        assert equal(found, [rankseg(p, **settings) for p in probs])
    adapter = Sam3(rankseg_kwargs={"metric": metric})
    for found, probs in zip(
        adapter.postprocess_semantic(concept_outputs()),
        adapter.restore_semantic_mask_probs(concept_outputs()),
        strict=True,
    ):
        assert torch.equal(found, rankseg(probs[None], **settings)[0, 0])
    for found, instances in zip(
        adapter.postprocess_instance(concept_outputs()),
        adapter.restore_instance_mask_probs(concept_outputs()),
        strict=True,
    ):
        assert len(found["masks"]) > 0
        assert torch.equal(found["masks"], rankseg(instances["mask_probs"][None], **settings)[0])


@pytest.mark.parametrize("adapter", [Sam1, Sam2, Sam3])
@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"output_mode": "multiclass"}, ValueError, "output_mode='multilabel'"),
        ({"metric": "f1"}, ValueError, "metric"),
        ({"colour": 1}, TypeError, "colour"),
        (["dice"], TypeError, "rankseg_kwargs must be a dict or None"),
    ],
)
def test_wrong_settings_are_refused_when_the_adapter_is_made(adapter, settings, error, message):
    with pytest.raises(error, match=message):
        adapter(rankseg_kwargs=settings)


@pytest.mark.parametrize("adapter", [Sam1, Sam2, Sam3])
def test_the_output_mode_may_be_spelled_out(adapter):
    adapter(rankseg_kwargs={"output_mode": " Multilabel"})


NAMES = {
    Sam1: ["SamImageSegmentationOutput", "SamHQImageSegmentationOutput"],
    Sam2: [
        "Sam2ImageSegmentationOutput",
        "EdgeTamImageSegmentationOutput",
        "Sam3TrackerImageSegmentationOutput",
    ],
    Sam3: ["Sam3ImageSegmentationOutput", "Sam3LiteTextImageSegmentationOutput"],
}


@pytest.mark.parametrize(("adapter", "method", "outputs", "sizes"), CALLS)
@pytest.mark.parametrize(("owner", "name"), [(a, n) for a in NAMES for n in NAMES[a]])
def test_outputs_of_another_family_are_refused_by_name(
    adapter, method, outputs, sizes, owner, name
):
    values = vars(outputs())
    call = getattr(adapter(), method)
    if owner is adapter:
        assert call(named(name, **values), **sizes)
        return
    message = rf"{adapter.__name__} cannot read {name}: use {owner.__name__} of rankseg\.integr"
    derived = type("WrappedOutput", (type(name, (SimpleNamespace,), {}),), {})
    for outputs in (named(name, **values), derived(**values)):
        with pytest.raises(ValueError, match=message):
            call(outputs, **sizes)


@pytest.mark.parametrize(("adapter", "method", "outputs", "sizes"), CALLS)
def test_a_name_that_only_begins_like_that_of_sam_is_none(adapter, method, outputs, sizes):
    assert getattr(adapter(), method)(named("SampleOutput", **vars(outputs())), **sizes)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize(("adapter", "method", "outputs", "sizes"), CALLS)
def test_values_that_are_not_finite_are_refused_by_name(adapter, method, outputs, sizes, value):
    read = vars(outputs()).keys()
    if adapter is Sam3:
        semantic = {"semantic_seg"}
        read = semantic if method == "restore_semantic_mask_probs" else read - semantic
    for name in read:
        values = {field: x.clone() for field, x in vars(outputs()).items()}
        values[name].view(-1)[-1] = value
        with pytest.raises(ValueError, match=rf"outputs\.{name} must be finite, found"):
            getattr(adapter(), method)(values, **sizes)


@pytest.mark.parametrize(("adapter", "method", "outputs", "sizes"), CALLS[:2])
def test_no_prompts_have_no_masks(adapter, method, outputs, sizes):
    found = getattr(adapter(), method)({"pred_masks": noise(2, 0, 3, 16, 16)}, **sizes)
    assert [tuple(probs.shape) for probs in found] == [(0, 3, *size) for size in ORIGINAL]


@pytest.mark.parametrize(("adapter", "method", "outputs", "sizes"), CALLS)
def test_an_empty_batch_gives_no_results(adapter, method, outputs, sizes):
    empty = {name: x[:0] for name, x in vars(outputs()).items()}
    call = getattr(adapter(), method)
    assert call(empty, **{name: torch.empty(0, 2, dtype=torch.int64) for name in sizes}) == []
    for wrong in sizes:
        with pytest.raises(TypeError, match=f"{wrong} must have an integer dtype"):
            call(empty, **{name: [] for name in sizes} | {wrong: torch.empty(0, 2)})


@pytest.mark.parametrize(("adapter", "method", "outputs", "sizes"), CALLS)
def test_outputs_may_be_mappings_but_not_tuples(adapter, method, outputs, sizes):
    call, values = getattr(adapter(), method), vars(outputs())
    assert equal(tensors(call(values, **sizes)), tensors(call(outputs(), **sizes)))
    with pytest.raises(ValueError, match="return_dict=True, found tuple"):
        call(tuple(values.values()), **sizes)


@pytest.mark.parametrize(("adapter", "method", "outputs", "sizes"), CALLS[:2])
@pytest.mark.parametrize(
    ("masks", "error", "message"),
    [
        (None, ValueError, "outputs must have pred_masks"),
        (noise(2, 8, 8), ValueError, r"shape \(batch, prompt, mask, height, width\)"),
        (noise(2, 3, 0, 8, 8), ValueError, "pred_masks must have no empty axis"),
        (noise(2, 0, 8, 8), ValueError, "pred_masks must have no empty axis"),
        (noise(2, 3, 3, 0, 8), ValueError, "pred_masks must have no empty axis"),
        ([noise(3, 3, 8, 8)] * 2, TypeError, r"pred_masks must be a torch\.Tensor, found list"),
        (noise(2, 3, 3, 8, 8) > 0, TypeError, "real floating dtype"),
    ],
)
def test_wrong_masks_are_refused(adapter, method, outputs, sizes, masks, error, message):
    with pytest.raises(error, match=message):
        getattr(adapter(), method)(SimpleNamespace(pred_masks=masks), **sizes)
