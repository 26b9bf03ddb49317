"""The backbones by name, for yacs configs and Detectron2's own ``tools/train_net.py``."""

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, FPN
from detectron2.modeling.backbone.fpn import LastLevelMaxPool

from mvit_det.backbone.mvit import STAGE_NAMES, variant_keywords
from mvit_det.detectron2.models.mvit_backbone import MViTBackbone


def add_mvit_config(cfg: CfgNode) -> None:
    """Add ``MODEL.MVIT`` to a config, before a file that sets its keys is merged.

    Without it the registered backbones build ``mvitv2_t`` as it is in these defaults.
    """
    cfg.MODEL.MVIT = CfgNode()
    cfg.MODEL.MVIT.NAME = "mvitv2_t"
    cfg.MODEL.MVIT.OUT_FEATURES = list(STAGE_NAMES)
    cfg.MODEL.MVIT.DROP_PATH_RATE = None  # stochastic depth of the last block; None: the variant's
    cfg.MODEL.MVIT.RECOMPUTE = "none"  # in the backward pass; or "cheap" or "block"


def build_mvit_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> MViTBackbone:
    """Build the variant that ``cfg.MODEL.MVIT`` names, for pictures of ``input_shape.channels``.

    Raises:
        InputError: if no variant has that name; the message gives the nearest.
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
    """Build the variant under a feature pyramid with the keys of ``cfg.MODEL.FPN``, p6 on top."""
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
