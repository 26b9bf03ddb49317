"""ViTDet's changes to a detector: square images, LayerNorm, and more convolutions in the heads."""


def to_vitdet(model):
    """Apply the changes to the config of an R-CNN, in place."""
    model.backbone.norm = "LN"
    model.backbone.square_pad = 1024
    model.proposal_generator.head.conv_dims = [-1, -1]
    heads = model.roi_heads
    for head in heads.get("box_heads") or [heads.box_head]:
        head.update(conv_dims=[256, 256, 256, 256], fc_dims=[1024], conv_norm="LN")
    if "mask_head" in heads:
        heads.mask_head.conv_norm = "LN"
