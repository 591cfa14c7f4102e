"""Small models of Hugging Face Transformers with random weights, and their image processors."""

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SIDE = 64  # of the pictures
QUERIES = 6
VIT = {
    "image_size": SIDE,
    "patch_size": 16,
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
}
PIXEL_DECODER = {
    "hidden_dim": 32,
    "encoder_layers": 1,
    "encoder_feedforward_dim": 16,
    "decoder_layers": 2,
    "dim_feedforward": 16,
    "num_attention_heads": 2,
    "num_queries": QUERIES,
}
MASK_DECODER = {
    "hidden_size": 32,
    "mlp_dim": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "iou_head_hidden_dim": 16,
}
PROMPT_ENCODER = {
    "hidden_size": 32,
    "image_size": SIDE,
    "patch_size": 16,
    "mask_input_channels": 4,
}
SAM_VISION = {
    "hidden_size": 16,
    "output_channels": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": 16,
    "mlp_dim": 16,
    "window_size": 2,
    "global_attn_indexes": [0],
    "num_pos_feats": 16,
}


def _swin():
    return transformers.SwinConfig(
        image_size=SIDE,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=2,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )


def _detr(**settings):
    return {
        "d_model": 64,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 8,
        "decoder_attention_heads": 8,
        "encoder_ffn_dim": 16,
        "decoder_ffn_dim": 16,
        "num_queries": QUERIES,
        **settings,
    }


def _resnet():
    return transformers.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8, 16, 16],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )


def _sam3():
    small = {"hidden_size": 32, "num_attention_heads": 2}
    layer = {**small, "num_layers": 1, "intermediate_size": 32}
    return {
        "vision_config": {
            "backbone_config": {
                **small,
                "model_type": "sam3_vit_model",
                "intermediate_size": 32,
                "num_hidden_layers": 2,
                "image_size": SIDE,
                "pretrain_image_size": SIDE,
                "patch_size": 16,
                "window_size": 2,
                "global_attn_indexes": [1],
            },
            "fpn_hidden_size": 32,
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        },
        "text_config": {
            **small,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "projection_dim": 32,
            "vocab_size": 50,
            "max_position_embeddings": 8,
        },
        "geometry_encoder_config": layer,
        "detr_encoder_config": layer,
        "detr_decoder_config": {**layer, "num_queries": QUERIES},
        "mask_decoder_config": small,
    }


def _sam2_vision():
    return {
        "backbone_config": {
            "model_type": "sam2_hiera_det_model",
            "hidden_size": 8,
            "num_attention_heads": 1,
            "image_size": [SIDE, SIDE],
            "blocks_per_stage": [1, 1, 2, 1],
            "embed_dim_per_stage": [8, 16, 32, 64],
            "num_attention_heads_per_stage": [1, 1, 2, 2],
            "window_size_per_stage": [2, 2, 2, 2],
            "window_positional_embedding_background_size": [2, 2],
            "global_attention_blocks": [3],
        },
        "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "fpn_hidden_size": 32,
    }


# Family: the model, its configuration (for a number of labels), its image processor.
FAMILIES = {
    "SegFormer": (
        "SegformerForSemanticSegmentation",
        lambda: {
            "hidden_sizes": [8, 8, 16, 16],
            "depths": [1, 1, 1, 1],
            "num_attention_heads": [1, 1, 2, 2],
            "decoder_hidden_size": 16,
        },
        "SegformerImageProcessor",
    ),
    "UPerNet": (
        "UperNetForSemanticSegmentation",
        lambda: {"backbone_config": _swin(), "hidden_size": 16, "use_auxiliary_head": False},
        "SegformerImageProcessor",
    ),
    "BEiT": (
        "BeitForSemanticSegmentation",
        lambda: (
            VIT
            | {"intermediate_size": 32, "out_indices": [1, 2, 3, 4], "use_auxiliary_head": False}
        ),
        "BeitImageProcessor",
    ),
    "DPT": (
        "DPTForSemanticSegmentation",
        lambda: (
            VIT
            | {
                "intermediate_size": 32,
                "backbone_out_indices": [0, 1, 2, 3],
                "neck_hidden_sizes": [8, 8, 8, 8],
                "fusion_hidden_size": 8,
                "use_auxiliary_head": False,
            }
        ),
        "DPTImageProcessor",
    ),
    "MaskFormer": (
        "MaskFormerForInstanceSegmentation",
        lambda: {
            "backbone_config": _swin(),
            "decoder_config": transformers.DetrConfig(**_detr(d_model=32)),
            "fpn_feature_size": 32,
            "mask_feature_size": 32,
        },
        "MaskFormerImageProcessor",
    ),
    "Mask2Former": (
        "Mask2FormerForUniversalSegmentation",
        lambda: (
            PIXEL_DECODER
            | {"backbone_config": _swin(), "feature_size": 32, "mask_feature_size": 32}
        ),
        "Mask2FormerImageProcessor",
    ),
    "OneFormer": (
        "OneFormerForUniversalSegmentation",
        lambda: (
            PIXEL_DECODER
            | {
                "backbone_config": _swin(),
                "conv_dim": 32,
                "mask_dim": 32,
                "text_encoder_width": 16,
                "text_encoder_num_layers": 1,
                "text_encoder_vocab_size": 20,
                "text_encoder_context_length": 8,
                "task_seq_len": 8,
                "max_seq_len": 8,
                "is_training": False,
            }
        ),
        "OneFormerImageProcessor",
    ),
    "DETR": (
        "DetrForSegmentation",
        lambda: _detr(backbone_config=_resnet()),
        "DetrImageProcessor",
    ),
    "Conditional DETR": (
        "ConditionalDetrForSegmentation",
        lambda: _detr(backbone_config=_resnet()),
        "ConditionalDetrImageProcessor",
    ),
    "EoMT": (
        "EomtForUniversalSegmentation",
        lambda: (
            VIT
            | {
                "num_hidden_layers": 2,
                "num_blocks": 1,
                "num_queries": QUERIES,
                "num_upscale_blocks": 1,
                "num_register_tokens": 1,
            }
        ),
        "EomtImageProcessor",
    ),
    "SAM": (
        "SamModel",
        lambda: {
            "vision_config": SAM_VISION,
            "prompt_encoder_config": PROMPT_ENCODER,
            "mask_decoder_config": MASK_DECODER,
        },
        "SamImageProcessor",
    ),
    "SAM-HQ": (
        "SamHQModel",
        lambda: {
            "vision_config": SAM_VISION,
            "prompt_encoder_config": PROMPT_ENCODER,
            "mask_decoder_config": MASK_DECODER | {"vit_dim": 16},
        },
        "SamImageProcessor",
    ),
    "SAM 2": (
        "Sam2Model",
        lambda: {
            "vision_config": _sam2_vision(),
            "prompt_encoder_config": PROMPT_ENCODER,
            "mask_decoder_config": MASK_DECODER,
        },
        "Sam2ImageProcessor",
    ),
    "SAM 3": ("Sam3Model", _sam3, "Sam3ImageProcessor"),
}
# Their processors need torchvision; OneFormer's without it resizes in another way.
NEEDS_TORCHVISION = ("OneFormer", "SAM 2", "SAM 3")


def make_model(family, **settings):
    """Return a model whose outputs vary over a picture, as those of a trained one do."""
    name, configuration, _ = FAMILIES[family]
    if not hasattr(transformers, name):
        pytest.skip(f"{name} is not in transformers {transformers.__version__}")
    model_class = getattr(transformers, name)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = model_class(model_class.config_class(**configuration(), **settings)).eval()
        for module in model.modules():  # the usual start is so close to zero that maps are flat
            for parameter in module.parameters(recurse=False):
                if parameter.ndim > 1:
                    embedding = isinstance(module, torch.nn.Embedding)
                    fan_in = 1 if embedding else parameter[0].numel()
                    torch.nn.init.normal_(parameter, std=1.5 * fan_in**-0.5)
    return model


def make_processor(family, **settings):
    """Return the image processor that belongs to a family."""
    if family in NEEDS_TORCHVISION:
        pytest.importorskip("torchvision")
    return getattr(transformers, FAMILIES[family][2])(**settings)


def pictures(count=2):
    """Return noise with coarse structure, as a processor would pass it to a model."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.randn(count, 3, 8, 8, generator=generator)
    fine = torch.randn(count, 3, SIDE, SIDE, generator=generator)
    return torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bilinear") * 2 + fine / 2
