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
    ("sizes", "error", "message"),
    [
        ([(8, 8)], ValueError, r"target_sizes must have one pair for each of 2 images"),
        ([(8, 8)] * 3, ValueError, "target_sizes must have one pair for each of 2 images"),
        ([(8, 8), (0, 3)], ValueError, r"target_sizes\[1\] must be positive, found \(0, 3\)"),
        ([(-1, 8), (2, 3)], ValueError, r"target_sizes\[0\] must be positive"),
        ([(8, 8), (True, 3)], TypeError, r"target_sizes\[1\] must hold two ints"),
        ([(8, 8), (2.0, 3)], TypeError, r"target_sizes\[1\] must hold two ints"),
        ([(8, 8), (2, 3, 4)], ValueError, r"target_sizes\[1\] must be a \(height, width\) pair"),
        ([8, 8], ValueError, r"target_sizes\[0\] must be a \(height, width\) pair"),
        (["ab", "cd"], ValueError, r"target_sizes\[0\] must be a \(height, width\) pair"),
        ("ab", TypeError, "target_sizes must be a list of"),
        (5, TypeError, "target_sizes must be a list of"),
        (torch.tensor(5), TypeError, "target_sizes must be a list of"),
        (torch.tensor([8, 8]), ValueError, r"target_sizes\[0\] must be a \(height, width\) pair"),
        (torch.ones(2, 2), TypeError, r"target_sizes\[0\] must hold two ints"),
        (torch.ones(2, 2) > 0, TypeError, r"target_sizes\[0\] must hold two ints"),
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
        ((noise(2, 3, 4, 4),), TypeError, "return_dict=True, found tuple"),
        ([noise(2, 3, 4, 4)], TypeError, "return_dict=True, found list"),
        (noise(2, 3, 4, 4), TypeError, "return_dict=True, found Tensor"),
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
        (SimpleNamespace(logits=noise(2, 3, 4, 4) * torch.nan), ValueError, "finite"),
    ],
)
def test_other_outputs_are_refused(outputs, error, message):
    with pytest.raises(error, match=message):
        postprocess(outputs)


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
    with pytest.raises(TypeError, match="model must be a Transformers model"):
        restore_semantic_probs(typed, model="mask2former")


def test_the_type_of_the_outputs_counts_more_than_the_model():
    model = SimpleNamespace(config=SimpleNamespace(model_type="mask2former"))
    outputs = run("MaskFormer")
    (found, _) = restore_semantic_probs(outputs, model=model)
    assert torch.equal(found, restore_semantic_probs(outputs)[0])


def test_an_empty_batch_gives_no_results():
    empty = SimpleNamespace(logits=noise(0, 3, 4, 4))
    assert restore_semantic_probs(empty) == postprocess(empty, target_sizes=[]) == []


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
