"""Registered backbones for yacs configs and Detectron2's own ``tools/train_net.py``."""

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, FPN
from detectron2.modeling.backbone.fpn import LastLevelMaxPool

from mvit_det.backbone.mvit import STAGE_NAMES, variant_keywords
from mvit_det.detectron2.models.mvit_backbone import MViTBackbone


def add_mvit_config(cfg: CfgNode) -> None:
    """Add ``MODEL.MVIT`` with its defaults to a config.

    Call it before merging a file that sets keys of ``MODEL.MVIT``. The registered backbones use the same
    defaults for a config without ``MODEL.MVIT``.
    """
    cfg.MODEL.MVIT = CfgNode()
    cfg.MODEL.MVIT.NAME = "mvitv2_t"
    cfg.MODEL.MVIT.OUT_FEATURES = list(STAGE_NAMES)
    cfg.MODEL.MVIT.DROP_PATH_RATE = None  # rate of the last block; None: that of the variant
    cfg.MODEL.MVIT.RECOMPUTE = "none"  # activation checkpointing: "none", "cheap" or "block"


def build_mvit_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> MViTBackbone:
    """Build the variant ``cfg.MODEL.MVIT.NAME`` for images with ``input_shape.channels`` channels.

    Raises:
        InputError: if no variant has this name. The message suggests the nearest.
    """
    if "MVIT" not in cfg.MODEL:
        cfg = cfg.clone()
        cfg.defrost()
        add_mvit_config(cfg)
    settings = cfg.MODEL.MVIT
    keywords = variant_keywords(settings.NAME)
    if settings.DROP_PATH_RATE is not None:
        keywords["drop_path_rate"] = settings.DROP_PATH_RATE
    return MViTBackbone(
        in_chans=input_shape.channels,
        out_features=settings.OUT_FEATURES,
        recompute=settings.RECOMPUTE,
        **keywords,
    )


def build_mvit_fpn_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> FPN:
    """Build the variant ``cfg.MODEL.MVIT.NAME`` with the feature pyramid of ``cfg.MODEL.FPN``.

    The outputs are ``p2`` to ``p6``, of stride 4 to 64.

    Raises:
        InputError: if no variant has this name. The message suggests the nearest.
    """
    return FPN(
        bottom_up=build_mvit_backbone(cfg, input_shape),
        in_features=cfg.MODEL.FPN.IN_FEATURES,
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        top_block=LastLevelMaxPool(),
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )


BACKBONE_REGISTRY.register(build_mvit_backbone)
BACKBONE_REGISTRY.register(build_mvit_fpn_backbone)
