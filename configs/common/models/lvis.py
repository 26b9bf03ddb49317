"""LVIS's changes to a cascade: 1203 classes, of which an image is annotated with few."""

from detectron2.config import LazyCall as L

from mvit_det.detectron2.data.lvis import class_weights


def to_lvis(model):
    """Apply the changes to the config of a cascade, in place."""
    model.roi_heads.num_classes = 1203
    for predictor in model.roi_heads.box_predictors:
        predictor.update(
            use_sigmoid_ce=True,
            use_fed_loss=True,
            get_fed_loss_cls_weights=L(class_weights)(names="${dataloader.train.dataset.names}", power=0.5),
            test_score_thresh=0.02,
            test_topk_per_image=300,
        )
