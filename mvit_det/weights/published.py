"""The published models that can be used by name, in one table.

The addresses are those of the publishers' own lists:

- for the backbones, the README of https://github.com/facebookresearch/mvit, and the configs of Detectron2,
  which stores copies of most of them;
- for the detectors, ``projects/MViTv2/README.md`` and ``projects/ViTDet/README.md`` of Detectron2;
- for MViTv1, ``MODEL_ZOO.md`` of https://github.com/facebookresearch/SlowFast.

None of these lists states the size or a digest of a file, and the six digits at the end of the names of
Detectron2's files are not the start of a SHA-256. :func:`mvit_det.weights.local_file` checks a digest that a
URL ends with. The size of a file is about four bytes for each parameter.
"""

import difflib
from dataclasses import dataclass

from mvit_det.errors import InputError

MVIT = "https://dl.fbaipublicfiles.com/mvit/mvitv2_models/"
DETECTRON2 = "https://dl.fbaipublicfiles.com/detectron2/"
IMAGENET, COCO, VITDET, LVIS = (
    f"{DETECTRON2}{folder}/"
    for folder in ("ImageNetPretrained/mvitv2", "MViTv2", "ViTDet/COCO", "ViTDet/LVIS")
)
MAX_NEAREST = 3  # names in an error message
DETECTOR_EXAMPLE = "mask_rcnn_mvitv2_t_3x"  # in error messages
EXAMPLES = f"mvitv2_t or {DETECTOR_EXAMPLE}"  # in an error message for a name that is near to none
# Kinds of published models. The heads of ViTDet's recipe have layers that torchvision's heads lack.
BACKBONE, DETECTOR, VITDET_DETECTOR = "backbone", "detector", "detector of ViTDet's recipe"


@dataclass(frozen=True)
class PublishedModel:
    """A published weight file.

    Attributes:
        kind: :data:`BACKBONE`, :data:`DETECTOR` or :data:`VITDET_DETECTOR`.
        contents: the model, its training data and, for a detector, its published average precision.
        parameters: number of parameters, in millions.
        url: address of the file.
        source: who publishes it.
    """

    kind: str
    contents: str
    parameters: int
    url: str
    source: str


def _backbone(contents: str, parameters: int, url: str) -> PublishedModel:
    source = "Detectron2" if url.startswith(DETECTRON2) else "MViTv2 repository"
    return PublishedModel(BACKBONE, contents, parameters, url, source)


def _detector(contents: str, parameters: int, url: str) -> PublishedModel:
    if url.startswith(COCO):
        return PublishedModel(DETECTOR, contents, parameters, url, "Detectron2")
    return PublishedModel(VITDET_DETECTOR, contents, parameters, url, "Detectron2 (ViTDet), loads only there")


PUBLISHED = {
    "mvitv1_s": PublishedModel(
        BACKBONE,
        "MViTv1-B-16, ImageNet-1K",
        37,
        "https://drive.google.com/file/d/1dYYqUB-3DSgBVc9d6o-rW8ojtVsrFLgp/view",
        "SlowFast, to be downloaded in a browser",
    ),
    "mvitv2_t": _backbone("MViTv2-T, ImageNet-1K", 24, f"{IMAGENET}MViTv2_T_in1k.pyth"),
    "mvitv2_s": _backbone("MViTv2-S, ImageNet-1K", 35, f"{IMAGENET}MViTv2_S_in1k.pyth"),
    "mvitv2_b": _backbone("MViTv2-B, ImageNet-1K", 52, f"{IMAGENET}MViTv2_B_in1k.pyth"),
    "mvitv2_l": _backbone("MViTv2-L, ImageNet-1K", 218, f"{MVIT}MViTv2_L_in1k.pyth"),
    "mvitv2_b_in21k": _backbone("MViTv2-B, ImageNet-21K", 52, f"{IMAGENET}MViTv2_B_in21k.pyth"),
    "mvitv2_l_in21k": _backbone("MViTv2-L, ImageNet-21K", 218, f"{IMAGENET}MViTv2_L_in21k.pyth"),
    "mvitv2_h_in21k": _backbone("MViTv2-H, ImageNet-21K", 667, f"{IMAGENET}MViTv2_H_in21k.pyth"),
    "mask_rcnn_mvitv2_t_3x": _detector(
        "Mask R-CNN, MViTv2-T, COCO: 48.3 box AP, 43.8 mask AP",
        44,
        f"{COCO}mask_rcnn_mvitv2_t_3x/f307611773/model_final_1a1c30.pkl",
    ),
    "cascade_mask_rcnn_mvitv2_t_3x": _detector(
        "Cascade Mask R-CNN, MViTv2-T, COCO: 52.2 box AP, 45.0 mask AP",
        76,
        f"{COCO}cascade_mask_rcnn_mvitv2_t_3x/f308344828/model_final_c6967a.pkl",
    ),
    "cascade_mask_rcnn_mvitv2_s_3x": _detector(
        "Cascade Mask R-CNN, MViTv2-S, COCO: 53.2 box AP, 46.0 mask AP",
        87,
        f"{COCO}cascade_mask_rcnn_mvitv2_s_3x/f308344647/model_final_279baf.pkl",
    ),
    "cascade_mask_rcnn_mvitv2_b_3x": _detector(
        "Cascade Mask R-CNN, MViTv2-B, COCO: 54.1 box AP, 46.7 mask AP",
        103,
        f"{COCO}cascade_mask_rcnn_mvitv2_b_3x/f308109448/model_final_421a91.pkl",
    ),
    # The addresses of the models that were pretrained on ImageNet-21K contain "in12k".
    "cascade_mask_rcnn_mvitv2_b_in21k_3x": _detector(
        "Cascade Mask R-CNN, MViTv2-B, COCO: 54.9 box AP, 47.4 mask AP",
        103,
        f"{COCO}cascade_mask_rcnn_mvitv2_b_in12k_3x/f309003202/model_final_be5168.pkl",
    ),
    "cascade_mask_rcnn_mvitv2_l_in21k_lsj_50ep": _detector(
        "Cascade Mask R-CNN, MViTv2-L, COCO: 55.8 box AP, 48.3 mask AP",
        270,
        f"{COCO}cascade_mask_rcnn_mvitv2_l_in12k_lsj_50ep/f308099658/model_final_c41c5a.pkl",
    ),
    "cascade_mask_rcnn_mvitv2_h_in21k_lsj_3x": _detector(
        "Cascade Mask R-CNN, MViTv2-H, COCO: 56.1 box AP, 48.5 mask AP",
        718,
        f"{COCO}cascade_mask_rcnn_mvitv2_h_in12k_lsj_3x/f309013744/model_final_30d36b.pkl",
    ),
    "vitdet/cascade_mask_rcnn_mvitv2_b_in21k_100ep": _detector(
        "Cascade Mask R-CNN, MViTv2-B, COCO: 55.6 box AP, 48.1 mask AP",
        103,
        f"{VITDET}cascade_mask_rcnn_mvitv2_b_in21k/f325820315/model_final_8c3da3.pkl",
    ),
    "vitdet/cascade_mask_rcnn_mvitv2_l_in21k_50ep": _detector(
        "Cascade Mask R-CNN, MViTv2-L, COCO: 55.7 box AP, 48.3 mask AP",
        265,
        f"{VITDET}cascade_mask_rcnn_mvitv2_l_in21k/f325607715/model_final_2141b0.pkl",
    ),
    "vitdet/cascade_mask_rcnn_mvitv2_h_in21k_36ep": _detector(
        "Cascade Mask R-CNN, MViTv2-H, COCO: 55.9 box AP, 48.3 mask AP",
        718,
        f"{VITDET}cascade_mask_rcnn_mvitv2_h_in21k/f326187358/model_final_2234d7.pkl",
    ),
    "lvis/cascade_mask_rcnn_mvitv2_b_in21k_100ep": _detector(
        "Cascade Mask R-CNN, MViTv2-B, LVIS: 46.3 box AP, 42.0 mask AP",
        107,
        f"{LVIS}cascade_mask_rcnn_mvitv2_b_in21k/329477206/model_final_a00567.pkl",
    ),
    "lvis/cascade_mask_rcnn_mvitv2_l_in21k_50ep": _detector(
        "Cascade Mask R-CNN, MViTv2-L, LVIS: 49.4 box AP, 44.2 mask AP",
        269,
        f"{LVIS}cascade_mask_rcnn_mvitv2_l_in21k/329661552/model_final_7838a5.pkl",
    ),
    "lvis/cascade_mask_rcnn_mvitv2_h_in21k_50ep": _detector(
        "Cascade Mask R-CNN, MViTv2-H, LVIS: 49.5 box AP, 44.1 mask AP",
        722,
        f"{LVIS}cascade_mask_rcnn_mvitv2_h_in21k/330445165/model_final_ad4220.pkl",
    ),
}
"""The published models by name. The name of a detector is that of its config."""


def wrong_kind(name: str) -> InputError:
    """Return an error for the name of a published model that is used as a detector but is none."""
    model = PUBLISHED[name]
    limit = ", which works only in Detectron2" if model.kind == VITDET_DETECTOR else ""
    return InputError(f"{name}: is a {model.kind}{limit}; expected a detector, such as {DETECTOR_EXAMPLE}")


def unknown_source(text: str) -> InputError:
    """Return an error for the path of no file that may be meant as a name. It lists the nearest names."""
    name = text.lower()
    longer = [known for known in PUBLISHED if known.startswith(name)]
    similar = difflib.get_close_matches(name, PUBLISHED, cutoff=0.6)
    nearest = list(dict.fromkeys(longer + similar))[:MAX_NEAREST]
    hint = f"; the nearest names are {', '.join(nearest)}" if nearest else f", such as {EXAMPLES}"
    return InputError(f"{text}: no such file, and no published model of this name{hint}")
