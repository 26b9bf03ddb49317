"""Ours against values that the originals gave for weights anyone can make again, in float64.

tests/detectron2 and test_timm.py compare with what can be installed live.
"""

import pytest
import torch

from mvit_det import build_classifier, build_mvit

# The nano variant in MViTv1's way. At 64 px windows of 16 tokens are the whole map, as the originals,
# which are classifiers, attend.
SMALL_V1 = {"embed_dim": 32, "depth": 6, "last_block_indexes": (0, 2, 4, 5)}
AT_64 = {"img_size": 64, "pretrain_img_size": 64}
GLOBAL_AT_64 = AT_64 | {"adaptive_window_size": 16}

# variant, its keywords, height and width of the image, and of each output its shape, the mean, the
# standard deviation and two values
MAPS = {
    "Detectron2 at commit 02b5c4e2": (
        "mvitv2_nano",
        {},
        (70, 133),
        {
            "scale2": ((1, 32, 18, 34), [0.003393, 1.049927, 2.77797, -0.779122]),
            "scale3": ((1, 64, 9, 17), [-0.003192, 1.023587, -0.56715, -0.800324]),
            "scale4": ((1, 128, 5, 9), [0.000996, 1.095884, 0.680015, 0.284582]),
            "scale5": ((1, 256, 3, 5), [0.002035, 1.046232, 0.758287, -1.50398]),
        },
    ),
    "the MViTv2 repository at commit dfbdfdf, DIM_MUL_IN_ATT False": (
        "mvitv2_nano",
        GLOBAL_AT_64 | {"dim_mul_in_att": False},
        (64, 64),
        {
            "scale2": ((1, 64, 16, 16), [0.002026, 1.049324, 2.567759, -0.390047]),
            "scale3": ((1, 128, 8, 8), [0.00373, 1.044635, -0.613728, 1.464451]),
            "scale4": ((1, 256, 4, 4), [0.00009, 1.039278, -0.942413, -0.097557]),
            "scale5": ((1, 256, 2, 2), [0.000399, 1.040661, 1.904003, -0.920978]),
        },
    ),
    "SlowFast, MViTv1 without a class token": (
        "mvitv1_t",
        GLOBAL_AT_64 | SMALL_V1 | {"pretrain_use_cls_token": False},
        (64, 64),
        {
            "scale2": ((1, 64, 16, 16), [-0.00042, 1.052225, 1.399527, -0.079914]),
            "scale3": ((1, 128, 8, 8), [0.001388, 1.043934, 1.129055, 1.517282]),
            "scale4": ((1, 256, 4, 4), [0.010493, 1.06296, 1.726474, 1.311219]),
            "scale5": ((1, 256, 2, 2), [0.007259, 1.049244, -0.024087, 1.548767]),
        },
    ),
}

# variant, its keywords, and the scores of an image of 64 x 64 px
SCORES = {
    "the MViTv2 repository, a class token and absolute positions": (
        "mvitv2_nano",
        AT_64 | {"class_token": True, "use_abs_pos": True},
        [
            2.781364,
            4.236091,
            -8.312749,
            6.64062,
            -0.391318,
            -6.107208,
            8.371645,
            -4.858211,
            -1.986478,
            7.432604,
        ],
    ),
    "the MViTv2 repository, DIM_MUL_IN_ATT False": (
        "mvitv2_nano",
        AT_64 | {"dim_mul_in_att": False},
        [
            2.802641,
            9.19852,
            4.659829,
            -4.592941,
            -8.804989,
            -3.398928,
            6.471792,
            8.66768,
            0.802103,
            -7.383648,
        ],
    ),
    "SlowFast, MViTv1": (
        "mvitv1_t",
        AT_64 | SMALL_V1,
        [
            3.529241,
            -0.380828,
            -4.655491,
            -6.947657,
            -7.062033,
            -5.954539,
            -2.70906,
            1.867818,
            5.462186,
            8.178841,
        ],
    ),
}


def made(model):
    """Give a model weights that follow from the place of each parameter."""
    for index, parameter in enumerate(model.double().eval().parameters()):
        steps = torch.arange(parameter.numel(), dtype=torch.float64)
        values = 0.3 * torch.sin(steps * (0.7 + 0.01 * index))
        if parameter.dim() == 1 and index % 2 == 0:
            values += 1
        parameter.data = values.view_as(parameter)
    return model


def image(height, width):
    pixels = torch.arange(3 * height * width, dtype=torch.float64)
    return torch.sin(pixels * 0.013).view(1, 3, height, width)


@pytest.mark.parametrize("original", MAPS)
def test_outputs_are_those_recorded(original):
    variant, keywords, (height, width), recorded = MAPS[original]
    with torch.no_grad():
        outputs = made(build_mvit(variant, **keywords))(image(height, width))
    for name, (shape, expected) in recorded.items():
        output = outputs[name]
        assert output.shape == shape
        found = [output.mean(), output.std(), output[0, 1, -1, -1], output[0, -1, 0, 1]]
        assert [value.item() for value in found] == pytest.approx(expected, abs=1e-6), name


@pytest.mark.parametrize("original", SCORES)
def test_scores_are_those_recorded(original):
    variant, keywords, expected = SCORES[original]
    with torch.no_grad():
        scores = made(build_classifier(variant, num_classes=10, **keywords))(image(64, 64))
    assert scores[0].tolist() == pytest.approx(expected, abs=1e-6)
