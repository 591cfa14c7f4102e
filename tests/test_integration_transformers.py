"""Probabilities of small real models against the answers of their own image processors."""

import subprocess
import sys
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from huggingface import make_model, make_processor, pictures

from rankseg.functional import rankseg
from rankseg.integration.transformers import postprocess, restore_semantic_probs

DENSE = ["SegFormer", "UPerNet", "BEiT", "DPT"]
QUERY = ["MaskFormer", "Mask2Former", "OneFormer", "DETR", "Conditional DETR"]
SIZES = [
    None,
    [(91, 64), (70, 133)],  # larger than the maps of the models (16 x 16, 64 x 64 and 384 x 384)
    [(9, 7), (13, 14)],  # smaller
    [(400, 11), (8, 401)],
]
ARGMAX = {"metric": "acc", "solver": "argmax"}
THRESHOLD = {"metric": "acc", "solver": "TR", "output_mode": "multilabel"}


@cache
def run(family, labels=5):
    inputs = {"pixel_values": pictures()}
    if family == "OneFormer":
        inputs["task_inputs"] = torch.ones(2, 8, dtype=torch.long)
    outputs = make_model(family, num_labels=labels)(**inputs)
    if "DETR" in family:  # without training, all its queries give the same answer
        generator = torch.Generator().manual_seed(2)
        for name in ("logits", "pred_masks"):
            drawn = torch.randn(getattr(outputs, name).shape, generator=generator)
            setattr(outputs, name, (3 * drawn).requires_grad_())
    return outputs


def fields(outputs):
    """Return the fields that hold the maps, which tells of what kind the model is."""
    names = ("class_queries_logits", "masks_queries_logits", "logits", "pred_masks")
    return {name: outputs[name] for name in names if name in outputs}


def converted(outputs, dtype):
    """Return outputs of the same type in another precision."""
    return type(outputs)(**{name: x.detach().to(dtype) for name, x in fields(outputs).items()})


def named(name, **values):
    """Return outputs whose type has a given name."""
    return type(name, (SimpleNamespace,), {})(**values)


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def dense_outputs():
    return SimpleNamespace(logits=noise(2, 3, 4, 5))


def query_outputs():
    values = {"class_queries_logits": noise(2, 6, 4), "masks_queries_logits": noise(2, 6, 5, 5)}
    return SimpleNamespace(**values)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("family", DENSE + QUERY)
def test_argmax_in_place_of_rankseg_gives_the_labels_of_the_processor(family, sizes):
    outputs = run(family)
    expected = make_processor(family).post_process_semantic_segmentation(outputs, sizes)
    found = postprocess(outputs, target_sizes=sizes, rankseg_kwargs=ARGMAX)
    assert len(found) == len(expected) == 2
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    if sizes != SIZES[2]:
        assert len(torch.cat([labels.flatten() for labels in expected]).unique()) > 1


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("family", DENSE + QUERY)
def test_probabilities_are_the_scores_of_the_processor(family, sizes):
    outputs = run(family)
    results = make_processor(family).post_process_semantic_segmentation(
        outputs, sizes, return_segmentation_scores=True
    )
    for found, result in zip(
        restore_semantic_probs(outputs, target_sizes=sizes), results, strict=True
    ):
        scores = result.segmentation_scores
        expected = scores.softmax(0) if family in DENSE else scores / scores.sum(0)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("family", [*DENSE, "MaskFormer"])
def test_the_threshold_on_one_class_is_that_of_its_scores(family, sizes):
    outputs = run(family, labels=1)
    if family in DENSE:
        scores = [
            torch.nn.functional.interpolate(logits[None], size, mode="bilinear")[0]
            if (size := sizes and sizes[i])
            else logits
            for i, logits in enumerate(outputs.logits)
        ]
        expected = [s > 0 for s in scores]
    else:
        results = make_processor(family).post_process_semantic_segmentation(
            outputs, sizes, return_segmentation_scores=True
        )
        expected = [result.segmentation_scores > 0.5 for result in results]
    settings = {"metric": "acc", "solver": "TR"}  # and multilabel, by default
    found = postprocess(outputs, target_sizes=sizes, rankseg_kwargs=settings)
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


def test_scores_of_one_class_are_clamped():
    outputs = run("MaskFormer", labels=1)
    (result, _) = make_processor("MaskFormer").post_process_semantic_segmentation(
        outputs, return_segmentation_scores=True
    )
    scores = result.segmentation_scores
    assert scores.max() > 1  # several queries claim a pixel
    assert torch.equal(restore_semantic_probs(outputs)[0], scores.clamp(0, 1))


def test_a_total_of_zero_stays_zero():
    classes = torch.tensor([[[-200.0, -200.0, 200.0]]])  # the only query says "no object"
    outputs = SimpleNamespace(
        class_queries_logits=classes.requires_grad_(), masks_queries_logits=noise(1, 1, 2, 2)
    )
    (probs,) = restore_semantic_probs(outputs)
    assert torch.equal(probs, torch.zeros(2, 2, 2))
    probs.sum().backward()
    assert classes.grad.isfinite().all()


@pytest.mark.parametrize("metric", ["dice", "iou"])
@pytest.mark.parametrize("mode", ["multiclass", "multilabel"])
@pytest.mark.parametrize("family", ["SegFormer", "Mask2Former"])
def test_postprocess_is_rankseg_of_the_probabilities(family, mode, metric):
    outputs, sizes = run(family), [(40, 30), (20, 60)]
    settings = {"metric": metric, "output_mode": mode}
    found = postprocess(outputs, target_sizes=sizes, rankseg_kwargs=settings)
    probs = restore_semantic_probs(outputs, target_sizes=sizes)
    for labels, p, size in zip(found, probs, sizes, strict=True):
        assert torch.equal(labels, rankseg(p[None], **settings)[0])
        assert labels.shape == (size if mode == "multiclass" else (5, *size))
        assert labels.dtype == (torch.int64 if mode == "multiclass" else torch.bool)


def test_the_default_mode_depends_on_the_number_of_classes():
    (labels, _) = postprocess(dense_outputs())
    assert (labels.dtype, labels.shape) == (torch.int64, (4, 5))
    (mask,) = postprocess(SimpleNamespace(logits=noise(1, 1, 4, 5)))
    assert (mask.dtype, mask.shape) == (torch.bool, (1, 4, 5))
    with pytest.raises(ValueError, match="multilabel"):
        postprocess(
            SimpleNamespace(logits=noise(1, 1, 4, 5)), rankseg_kwargs={"output_mode": "multiclass"}
        )


@pytest.mark.parametrize("family", DENSE + QUERY)
def test_gradients_flow_through_the_probabilities(family):
    outputs = run(family)
    probs = restore_semantic_probs(outputs, target_sizes=[(20, 30), (40, 10)])
    loss = sum((p * noise(*p.shape, seed=i)).sum() for i, p in enumerate(probs))
    gradients = torch.autograd.grad(loss, list(fields(outputs).values()), retain_graph=True)
    for gradient in gradients:
        assert gradient.isfinite().all()
        assert gradient.flatten(1).abs().amax(1).min() > 0  # in every image


@pytest.mark.parametrize("family", ["SegFormer", "Mask2Former"])
def test_postprocess_records_no_gradients(family):
    outputs, saved = run(family), []

    def pack(x):
        saved.append(x)
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        results = postprocess(outputs, target_sizes=[(20, 30), (40, 10)])
        assert not saved
        restore_semantic_probs(outputs)
        assert saved
    assert not any(result.requires_grad for result in results)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("family", DENSE + QUERY)
def test_half_precision_is_computed_in_float32(family, dtype):
    half, sizes = converted(run(family), dtype), SIZES[1]
    found = restore_semantic_probs(half, target_sizes=sizes)
    expected = restore_semantic_probs(converted(half, torch.float32), target_sizes=sizes)
    assert found[0].dtype == torch.float32
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


@pytest.mark.parametrize("family", ["SegFormer", "Mask2Former"])
def test_autocast_around_the_call_changes_nothing(family):
    expected = restore_semantic_probs(run(family))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = restore_semantic_probs(run(family))
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


@pytest.mark.parametrize("family", ["SegFormer", "MaskFormer"])
def test_float64_is_kept(family):
    found = restore_semantic_probs(converted(run(family), torch.float64))
    assert found[0].dtype == torch.float64
    torch.testing.assert_close(found[0].float(), restore_semantic_probs(run(family))[0])


@pytest.mark.parametrize(
    "form",
    [
        lambda sizes: [list(size) for size in sizes],
        lambda sizes: tuple(sizes),
        lambda sizes: [torch.Size(size) for size in sizes],
        lambda sizes: [torch.tensor(size) for size in sizes],
        torch.tensor,
        lambda sizes: torch.tensor(sizes, dtype=torch.uint8),
        np.array,
    ],
)
def test_target_sizes_may_be_lists_or_integer_arrays(form):
    sizes = [(8, 9), (7, 6)]
    probs = restore_semantic_probs(dense_outputs(), target_sizes=form(sizes))
    assert [tuple(p.shape) for p in probs] == [(3, 8, 9), (3, 7, 6)]


@pytest.mark.parametrize(
    "size",
    [
        (8, 9),
        [8, 9],
        (np.int64(8), np.int64(9)),
        {"width": 9, "height": 8},
        torch.tensor([8, 9]),
        torch.tensor([8, 9], dtype=torch.int32),
        np.array([8, 9]),
    ],
    ids=repr,
)
@pytest.mark.parametrize("images", [1, 2])
def test_one_target_size_is_that_of_all_images(size, images):
    logits = dense_outputs().logits[:images]
    found = restore_semantic_probs(SimpleNamespace(logits=logits), target_sizes=size)
    assert [tuple(p.shape) for p in found] == [(3, 8, 9)] * images


@pytest.mark.parametrize(
    ("sizes", "error", "message"),
    [
        ([(8, 8)], ValueError, r"target_sizes must have one pair for each of 2 images"),
        ([(8, 8)] * 3, ValueError, "target_sizes must have one pair for each of 2 images"),
        ([(8, 8), (0, 3)], ValueError, r"target_sizes\[1\] must be positive, found \(0, 3\)"),
        ([(-1, 8), (2, 3)], ValueError, r"target_sizes\[0\] must be positive"),
        ([(8, 8), (True, 3)], TypeError, r"target_sizes\[1\] must hold two ints"),
        ([(8, 8), (2.0, 3)], TypeError, r"target_sizes\[1\] must hold two ints"),
        ([(8, 8), (2, 3, 4)], ValueError, r"target_sizes\[1\] must be a \(height, width\) pair"),
        ([8, "ab"], ValueError, r"target_sizes\[0\] must be a \(height, width\) pair, found 8"),
        ((8, 8, 8), ValueError, r"target_sizes must be a \(height, width\) pair"),
        ((8.5, 8), TypeError, r"target_sizes must hold two ints, found \(8.5, 8\)"),
        ((8, True), TypeError, "target_sizes must hold two ints"),
        ((8, 0), ValueError, r"target_sizes must be positive, found \(8, 0\)"),
        ({"height": 8}, ValueError, r"target_sizes must be a \(height, width\) pair"),
        ([], ValueError, "target_sizes must have one pair for each of 2 images"),
        (["ab", "cd"], ValueError, r"target_sizes\[0\] must be a \(height, width\) pair"),
        ("ab", TypeError, "target_sizes must be a list of"),
        (5, TypeError, "target_sizes must be a list of"),
        (torch.tensor(5), TypeError, "target_sizes must be a list of"),
        (torch.tensor([8, 8, 8]), ValueError, r"target_sizes must be a \(height, width\) pair"),
        (torch.ones(2), TypeError, "target_sizes must have an integer dtype, found torch.float32"),
        (torch.ones(2, 2), TypeError, "target_sizes must have an integer dtype"),
        (torch.ones(2, 2) > 0, TypeError, "target_sizes must have an integer dtype"),
        (np.ones((2, 2)), TypeError, "target_sizes must have an integer dtype, found float64"),
    ],
)
@pytest.mark.parametrize("outputs", [dense_outputs(), query_outputs()], ids=["dense", "query"])
def test_wrong_target_sizes_are_refused(outputs, sizes, error, message):
    for function in (restore_semantic_probs, postprocess):
        with pytest.raises(error, match=message):
            function(outputs, target_sizes=sizes)


@pytest.mark.parametrize("family", ["SAM", "SAM-HQ"])
def test_real_outputs_of_sam_are_refused(family):
    points = {"input_points": torch.full((2, 1, 1, 2), 30.0), "input_labels": torch.ones(2, 1, 1)}
    outputs = make_model(family)(pictures(), **points)
    with pytest.raises(ValueError, match=r"Sam1, Sam2 or Sam3 of rankseg\.integration\.sam"):
        postprocess(outputs)


@pytest.mark.parametrize(
    "name", ["Sam2ImageSegmentationOutput", "Sam3ImageSegmentationOutput", "EdgeTamOutput"]
)
def test_outputs_of_the_sam_families_are_refused(name):
    with pytest.raises(ValueError, match=r"Sam1, Sam2 or Sam3 of rankseg\.integration\.sam"):
        postprocess(named(name, pred_masks=noise(1, 1, 3, 4, 4), logits=noise(1, 3, 4, 4)))


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("SamImageSegmentationOutput", "Sam1, Sam2 or Sam3"),
        ("Sam3ImageSegmentationOutput", "Sam1, Sam2 or Sam3"),
        ("EomtForUniversalSegmentationOutput", "is of EoMT"),
    ],
)
def test_subclasses_of_refused_outputs_are_refused(base, message):
    derived = type("WrappedOutput", (type(base, (SimpleNamespace,), {}),), {})
    with pytest.raises(ValueError, match=f"WrappedOutput.*{message}"):
        restore_semantic_probs(derived(logits=noise(1, 3, 4, 4)))


def test_a_name_that_only_begins_like_that_of_sam_is_none():
    outputs = named("SampleOutput", **vars(dense_outputs()))
    model = SimpleNamespace(config=SimpleNamespace(model_type="same_net"))
    assert len(restore_semantic_probs(outputs, model=model)) == 2


def test_untyped_outputs_with_patches_are_those_of_eomt():
    values = vars(query_outputs())
    for outputs in (values | {"patch_offsets": None}, SimpleNamespace(**values, patch_offsets=[])):
        with pytest.raises(ValueError, match="is of EoMT"):
            restore_semantic_probs(outputs)


def test_eomt_is_refused_and_the_way_out_leads_to_its_labels():
    model = make_model("EoMT", num_labels=5)
    outputs, sizes = model(pictures()), [(91, 64), (70, 133)]
    with pytest.raises(ValueError, match=r"return_segmentation_scores=True.*rankseg\.functional"):
        postprocess(outputs, target_sizes=sizes)
    untyped = SimpleNamespace(**fields(outputs))
    for told_by in (model, model.config):
        with pytest.raises(ValueError, match="EoMT"):
            postprocess(untyped, model=told_by)
    results = make_processor(
        "EoMT", size={"shortest_edge": 64, "longest_edge": 64}
    ).post_process_semantic_segmentation(outputs, sizes, return_segmentation_scores=True)
    for result in results:
        scores = result.segmentation_scores
        probs = scores / scores.sum(0)
        assert torch.equal(rankseg(probs[None], **ARGMAX)[0], result.segmentation)
        assert rankseg(probs[None]).shape == (1, *result.segmentation.shape)


@pytest.mark.parametrize(
    ("outputs", "error", "message"),
    [
        ((noise(2, 3, 4, 4),), ValueError, "return_dict=True, found tuple"),
        ([noise(2, 3, 4, 4)], ValueError, "return_dict=True, found list"),
        (noise(2, 3, 4, 4), ValueError, "return_dict=True, found Tensor"),
        (None, ValueError, "outputs must have logits, found none in NoneType"),
        (SimpleNamespace(), ValueError, "outputs must have logits, found none"),
        (SimpleNamespace(logits=None), ValueError, "outputs must have logits, found none"),
        (
            SimpleNamespace(pred_masks=noise(2, 6, 4, 4)),
            ValueError,
            r"pred_masks but no logits.*rankseg\.integration\.sam.*rankseg\.functional\.rankseg",
        ),
        (
            SimpleNamespace(class_queries_logits=noise(2, 6, 4)),
            ValueError,
            "outputs must have masks_queries_logits",
        ),
        (
            SimpleNamespace(logits=noise(2, 6, 4)),  # a detector's, without masks
            ValueError,
            r"logits must have shape \(batch, class, height, width\), found \(2, 6, 4\)",
        ),
        (
            SimpleNamespace(logits=noise(2, 6, 4), pred_masks=noise(2, 6, 1, 5, 5)),
            ValueError,
            r"pred_masks must have shape \(batch, query, height, width\)",
        ),
        (
            SimpleNamespace(logits=noise(2, 7, 4), pred_masks=noise(2, 6, 5, 5)),
            ValueError,
            r"found \(2, 7\) in logits, \(2, 6\) in pred_masks",
        ),
        (
            SimpleNamespace(logits=noise(2, 3, 4, 4).numpy()),
            TypeError,
            r"logits must be a torch\.Tensor, found ndarray",
        ),
        (
            SimpleNamespace(logits=noise(2, 3, 4, 4).long()),
            TypeError,
            r"real floating dtype, found torch\.int64",
        ),
        (
            SimpleNamespace(logits=noise(2, 3, 4, 4) * 1j),
            TypeError,
            r"real floating dtype, found torch\.complex64",
        ),
        (
            {"semantic_seg": noise(2, 1, 4, 4)},
            ValueError,
            r"dict has semantic_seg but no logits.*rankseg\.integration\.sam",
        ),
    ],
)
def test_other_outputs_are_refused(outputs, error, message):
    for function in (restore_semantic_probs, postprocess):
        with pytest.raises(error, match=message):
            function(outputs)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize(
    "names",
    [("logits",), ("class_queries_logits", "masks_queries_logits"), ("logits", "pred_masks")],
)
def test_values_that_are_not_finite_are_refused_by_the_name_of_their_field(names, value):
    shapes = [(2, 3, 4, 5)] if len(names) == 1 else [(2, 6, 4), (2, 6, 5, 5)]
    for wrong in names:
        values = {name: noise(*shape) for name, shape in zip(names, shapes, strict=True)}
        values[wrong].view(-1)[17] = value
        with pytest.raises(ValueError, match=rf"outputs\.{wrong} must be finite, found.*(nan|inf)"):
            restore_semantic_probs(SimpleNamespace(**values))


def test_the_probabilities_can_be_exported():
    class Network(torch.nn.Module):
        def forward(self, logits):
            return restore_semantic_probs({"logits": logits}, target_sizes=(8, 9))

    logits = noise(1, 3, 4, 5)
    (found,) = torch.export.export(Network(), (logits,)).module()(logits)
    assert torch.equal(found, Network()(logits)[0])


@pytest.mark.parametrize(
    ("classes", "masks", "message"),
    [
        ((2, 6, 4), (2, 6, 0, 5), r"masks_queries_logits must have no empty axis.*\(2, 6, 0, 5\)"),
        ((2, 6, 4), (2, 6, 5, 0), "masks_queries_logits must have no empty axis"),
        ((2, 6, 0), (2, 6, 5, 5), "class_queries_logits must have no empty axis"),
        ((2, 6, 1), (2, 6, 5, 5), r"a class besides 'no object', found shape \(2, 6, 1\)"),
    ],
)
def test_maps_without_pixels_or_classes_are_refused(classes, masks, message):
    outputs = {"class_queries_logits": noise(*classes), "masks_queries_logits": noise(*masks)}
    with pytest.raises(ValueError, match=message):
        restore_semantic_probs(outputs)


@pytest.mark.parametrize("shape", [(2, 0, 4, 5), (2, 3, 0, 5), (2, 3, 4, 0)])
def test_empty_logits_are_refused(shape):
    with pytest.raises(ValueError, match=r"outputs\.logits must have no empty axis"):
        restore_semantic_probs({"logits": noise(*shape)}, target_sizes=[(8, 8)] * 2)


def test_one_class_is_enough_where_none_stands_for_no_object():
    values = {"logits": noise(2, 6, 1), "pred_masks": noise(2, 6, 5, 5)}
    outputs = named("ConditionalDetrSegmentationOutput", **values)
    assert restore_semantic_probs(outputs)[0].shape == (1, 5, 5)


def test_no_query_claims_no_pixel():
    outputs = {"class_queries_logits": noise(2, 0, 4), "masks_queries_logits": noise(2, 0, 5, 5)}
    assert torch.equal(restore_semantic_probs(outputs)[1], torch.zeros(3, 5, 5))


def test_tensors_on_different_devices_are_refused():
    outputs = query_outputs()
    outputs.masks_queries_logits = outputs.masks_queries_logits.to("meta")
    message = "on one device, found class_queries_logits on cpu, masks_queries_logits on meta"
    with pytest.raises(ValueError, match=message):
        restore_semantic_probs(outputs)
    with pytest.raises(ValueError, match=r"outputs\.logits must hold values.*'meta'"):
        restore_semantic_probs({"logits": noise(1, 3, 4, 4).to("meta")})


@pytest.mark.parametrize("wide", ["class_queries_logits", "masks_queries_logits"])
def test_mixed_precisions_are_promoted(wide):
    values = vars(query_outputs())
    found = restore_semantic_probs(values | {wide: values[wide].double()})
    expected = restore_semantic_probs({name: x.double() for name, x in values.items()})
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"metric": "f1"}, ValueError, "metric"),
        ({"colour": 1}, TypeError, "colour"),
        ({"class_axis": -1}, TypeError, "class_axis"),
        (["dice"], TypeError, "rankseg_kwargs must be a dict or None"),
    ],
)
def test_wrong_settings_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        postprocess(dense_outputs(), rankseg_kwargs=settings)


@pytest.mark.parametrize("family", ["Mask2Former", "Conditional DETR"])
def test_the_model_tells_the_family_of_outputs_without_a_type(family):
    typed, model = run(family), make_model(family, num_labels=5)
    (expected, _) = restore_semantic_probs(typed)
    for untyped in (SimpleNamespace(**fields(typed)), dict(fields(typed))):
        assert restore_semantic_probs(untyped)[0].shape != expected.shape
        for told_by in (model, model.config):
            assert torch.equal(restore_semantic_probs(untyped, model=told_by)[0], expected)


def config_named(name, *bases):
    return type(name, bases, {})()


@pytest.mark.parametrize(
    "model",
    [
        SimpleNamespace(config={"model_type": "mask2former"}),
        SimpleNamespace(config=config_named("Mask2FormerConfig")),
        config_named("Mask2FormerConfig"),
        SimpleNamespace(
            config=config_named("StreetConfig", type("Mask2FormerConfig", (), {"model_type": "x"}))
        ),
        named("Net", config=SimpleNamespace(model_type="mask2former")),
    ],
)
def test_any_object_with_a_config_tells_the_family(model):
    (found, _) = restore_semantic_probs(query_outputs(), model=model)
    assert found.shape == (3, 384, 384)


def test_a_base_of_the_type_of_the_outputs_tells_the_family():
    base = type("Mask2FormerForUniversalSegmentationOutput", (SimpleNamespace,), {})
    outputs = type("WrappedOutput", (base,), {})(**vars(query_outputs()))
    assert restore_semantic_probs(outputs)[0].shape == (3, 384, 384)


@pytest.mark.parametrize(
    "model", ["mask2former", object(), SimpleNamespace(config=None), SimpleNamespace(config={})]
)
def test_a_model_that_tells_no_family_is_refused(model):
    with pytest.raises(TypeError, match="model must be a Transformers model or its configuration"):
        restore_semantic_probs(query_outputs(), model=model)


def test_the_type_of_the_outputs_counts_more_than_the_model():
    model = SimpleNamespace(config=SimpleNamespace(model_type="mask2former"))
    outputs = run("MaskFormer")
    (found, _) = restore_semantic_probs(outputs, model=model)
    assert torch.equal(found, restore_semantic_probs(outputs)[0])


def test_an_empty_batch_gives_no_results():
    empty = SimpleNamespace(logits=noise(0, 3, 4, 4))
    assert restore_semantic_probs(empty) == postprocess(empty, target_sizes=[]) == []
    sizes = torch.empty(0, 2, dtype=torch.int64)
    assert restore_semantic_probs(empty, target_sizes=sizes) == []
    with pytest.raises(TypeError, match="target_sizes must have an integer dtype"):
        restore_semantic_probs(empty, target_sizes=sizes.float())


def test_only_torch_is_imported():
    code = (
        "import sys, rankseg.integration.transformers, rankseg.integration.sam;"
        "print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


@pytest.mark.parametrize("module", ["transformers", "sam", "torch"])
def test_without_torch_the_error_names_the_command_that_installs_it(module):
    code = f"import sys; sys.modules['torch'] = None; import rankseg.integration.{module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        'ModuleNotFoundError: torch is not installed: pip install "rankseg[torch]"'
    )
