"""Detectors with random weights and images for the tests of exports."""

import torch
from torch import nn
from torchvision.models.detection.image_list import ImageList

from mvit_det.torchvision import build_detector

SHAPE = (96, 128)  # px
SIZES = [(90, 128), (96, 100), (70, 121)]  # height and width of images that are padded to SHAPE


class Convolutions(nn.Module):
    """A stand-in for the nano backbone: strided convolutions with outputs of the same shapes."""

    def __init__(self, channels):
        super().__init__()
        self.layers = nn.ModuleList()
        before, stride = 3, 4
        for after in channels:
            self.layers.append(nn.Conv2d(before, after, 2 * stride - 1, stride, stride - 1))
            before, stride = after, 2

    def forward(self, images):
        outputs = {}
        for number, layer in enumerate(self.layers, start=2):
            images = layer(images).relu()
            outputs[f"scale{number}"] = images
        return outputs


def random_detector(head, num_classes=4, convolutions=False):
    """Return a nano detector whose random weights predict different scores and boxes."""
    torch.manual_seed(0)
    detector = build_detector("mvitv2_nano", num_classes, head).eval()
    detector.roi_heads.score_thresh = 0.05
    if convolutions:
        detector.backbone.body = Convolutions(detector.backbone.body.out_channels.values())
    for name, layer in detector.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            std = 0.05 if name.endswith(("bbox_pred", "bbox_pred.1")) else None
            nn.init.normal_(layer.weight, std=std or (1.5 / layer.weight[0].numel()) ** 0.5)
    return detector


def random_images(sizes, shape):
    """Return random pixels (N, 3, *shape) of images with ``sizes``, and these as a tensor."""
    images = torch.zeros(len(sizes), 3, *shape)
    for image, (height, width) in zip(images, sizes, strict=True):
        coarse = 255 * torch.rand(1, 3, height // 12 + 1, width // 12 + 1)
        image[:, :height, :width] = nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0]
    return images, torch.tensor(sizes)


@torch.inference_mode()
def plain_detections(detector, images, image_sizes):
    """Return the detections of the plain detector in scaled images."""
    sizes = [tuple(size) for size in image_sizes.tolist()]
    batch = torch.zeros_like(images)
    for padded, image, (height, width) in zip(batch, images, sizes, strict=True):
        padded[:, :height, :width] = detector.transform.normalize_pixels(image[:, :height, :width])
    pyramid = detector.backbone(batch)
    proposals, _ = detector.rpn(ImageList(batch, sizes), pyramid)
    return detector.roi_heads(pyramid, proposals, sizes)[0]


def assert_same_detections(detections, expected, atol):
    """Check padded detections of a batch against those of the plain detector. Equal scores may be swapped.

    Args:
        detections: as :class:`ExportableDetector` returns them.
        expected: as :func:`plain_detections` returns them.
        atol: tolerance of boxes, px; a tenth of it is that of scores and masks.
    """
    assert detections["num_detections"].tolist() == [len(image["boxes"]) for image in expected]
    close = {"rtol": 0, "atol": atol / 10}
    for number, image in enumerate(expected):
        count = len(image["boxes"])
        rows = {name: values[number] for name, values in detections.items() if name != "num_detections"}
        assert not any(values[count:].any() for values in rows.values())
        rows = {name: values[:count] for name, values in rows.items()}
        assert (rows["scores"][1:] <= rows["scores"][:-1]).all()
        distances = (rows["boxes"][:, None] - image["boxes"]).abs().amax(-1)
        distances += 1e6 * (rows["labels"][:, None] != image["labels"] - 1)
        if count:
            distance, match = distances.min(1)
            assert distance.max() < atol
            assert match.unique().numel() == count
            torch.testing.assert_close(rows["scores"], image["scores"][match], **close)
            if "masks" in image:
                torch.testing.assert_close(rows["masks"], image["masks"][match, 0], **close)
