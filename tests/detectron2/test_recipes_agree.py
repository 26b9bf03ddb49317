"""Both integrations train by one recipe: the same losses, initialization, optimizer, schedule and sizes."""

import numpy as np
import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.structures import BitMasks, Instances
from detectron2.utils.events import EventStorage

from mvit_det.backbone.mvit import variant_keywords
from mvit_det.data.shapes import draw_image
from mvit_det.detectron2 import get_config
from mvit_det.detectron2.lazy_config import build, load_config
from mvit_det.heads import HEADS
from mvit_det.recipes import recipe_for, scaled_long_side
from mvit_det.torchvision import build_detector
from mvit_det.torchvision.engine.optimizer import build_optimizer
from mvit_det.torchvision.engine.schedule import plan
from mvit_det.weights import to_detectron2

NUM_CLASSES = 3
NUM_PROPOSALS = 30  # in each image
ALL = 20_000  # more than the number of anchors and of proposals, so that all of them are sampled
LOSSES = {  # torchvision -> Detectron2
    "loss_objectness": "loss_rpn_cls",
    "loss_rpn_box_reg": "loss_rpn_loc",
    "loss_classifier": "loss_cls",
    "loss_box_reg": "loss_box_reg",
    "loss_classifier_1": "loss_cls_stage0",
    "loss_box_reg_1": "loss_box_reg_stage0",
    "loss_classifier_2": "loss_cls_stage1",
    "loss_box_reg_2": "loss_box_reg_stage1",
    "loss_classifier_3": "loss_cls_stage2",
    "loss_box_reg_3": "loss_box_reg_stage2",
    "loss_mask": "loss_mask",
}


def build_in_detectron2(head):
    """Return the detector of a packaged config with the sizes of the nano variant."""
    model = get_config(f"{head}_mvitv2_t_3x").model
    channels = recipe_for("mvitv2_nano").channels
    model.backbone.update(out_channels=channels)
    model.backbone.bottom_up.update(variant_keywords("mvitv2_nano"))
    model.proposal_generator.update(batch_size_per_image=ALL, pre_nms_topk=(500, 500))
    model.proposal_generator.post_nms_topk = (NUM_PROPOSALS, NUM_PROPOSALS)
    heads = model.roi_heads
    heads.update(num_classes=NUM_CLASSES, batch_size_per_image=ALL)
    for box_head in heads.get("box_heads") or [heads.box_head]:
        box_head.input_shape = ShapeSpec(channels=channels, height=7, width=7)
        box_head.conv_dims = [channels for _ in box_head.conv_dims]
        box_head.fc_dims = [4 * channels for _ in box_head.fc_dims]
    for predictor in heads.get("box_predictors") or [heads.box_predictor]:
        predictor.input_shape = ShapeSpec(channels=4 * channels)
    if "mask_head" in heads:
        heads.mask_head.input_shape = ShapeSpec(channels=channels, height=14, width=14)
        heads.mask_head.conv_dims = [channels] * 5
    return build(model)


def build_in_torchvision(head):
    """Return the same detector, with a random part of its weights scaled up so that the boxes move."""
    sampling = {
        "rpn_batch_size_per_image": ALL,
        "box_batch_size_per_image": ALL,
        "rpn_post_nms_top_n_train": NUM_PROPOSALS,
    }
    model = build_detector("mvitv2_nano", 1 + NUM_CLASSES, head, _skip_resize=True, **sampling)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("weight"):
                parameter *= {"bbox_pred": 20, "mask_fcn_logits": 300}.get(name.split(".")[-2], 1)
    return model


def training_batch():
    """Return images of several sizes with their objects; the last image has none."""
    random = np.random.default_rng(0)
    batch = []
    for height, width in ((128, 96), (96, 111), (70, 128)):
        image, objects = draw_image(random)
        masks = torch.from_numpy(np.stack([mask[:height, :width] for _, mask in objects]))
        labels = torch.tensor([label for label, _ in objects])
        visible = masks.flatten(1).any(1)
        batch.append((image[:height, :width].copy(), labels[visible], masks[visible]))
    image, labels, masks = batch[-1]
    batch[-1] = image, labels[:0], masks[:0]
    return batch


def losses_in_torchvision(model, batch):
    images = [torch.from_numpy(image).permute(2, 0, 1) / 255 for image, _, _ in batch]
    targets = [
        {"boxes": BitMasks(masks).get_bounding_boxes().tensor, "labels": labels, "masks": masks.byte()}
        for _, labels, masks in batch
    ]
    if not model.roi_heads.has_mask():
        targets = [{"boxes": target["boxes"], "labels": target["labels"]} for target in targets]
    return {LOSSES[name]: loss for name, loss in model(images, targets).items()}


def losses_in_detectron2(model, batch):
    samples = []
    for image, labels, masks in batch:
        objects = Instances(image.shape[:2], gt_classes=labels - 1)
        objects.gt_boxes = BitMasks(masks).get_bounding_boxes()
        if len(labels):  # Detectron2's mapper gives no masks to an image without objects
            objects.gt_masks = BitMasks(masks)
        samples.append({"image": torch.from_numpy(image).permute(2, 0, 1), "instances": objects})
    with EventStorage():
        return model(samples)


@pytest.mark.parametrize("head", HEADS)
def test_losses_and_gradients_are_equal(head):
    torch.manual_seed(0)
    ours, theirs = build_in_torchvision(head).train(), build_in_detectron2(head).train()
    theirs.load_state_dict(to_detectron2(ours.state_dict()))  # strict
    batch = training_batch()
    our_losses, their_losses = losses_in_torchvision(ours, batch), losses_in_detectron2(theirs, batch)
    assert {name: loss.item() for name, loss in our_losses.items()} == pytest.approx(
        {name: loss.item() for name, loss in their_losses.items()}, rel=1e-4
    )
    assert min(loss.item() for loss in our_losses.values()) > 1e-6
    for losses in (our_losses, their_losses):
        sum(losses.values()).backward()
    gradients = to_detectron2({name: p.grad for name, p in ours.named_parameters()})
    expected = {name: p.grad for name, p in theirs.named_parameters()}
    assert set(gradients) == set(expected)
    for name, gradient in gradients.items():  # L1 losses turn rounding errors into changes of sign
        assert (gradient - expected[name]).norm() <= 0.01 * expected[name].norm() + 1e-7, name


@pytest.mark.parametrize("head", HEADS)
def test_initializations_are_equal(head):
    torch.manual_seed(0)
    ours = to_detectron2(build_detector("mvitv2_nano", 1 + NUM_CLASSES, head).state_dict())
    theirs = build_in_detectron2(head).state_dict()
    assert set(ours) == set(theirs)
    for name, weight in ours.items():
        if name.startswith("backbone.bottom_up."):  # the same class in both
            continue
        expected = theirs[name].double()
        std, expected_std = (values.std(correction=0).item() for values in (weight.double(), expected))
        is_small = weight.numel() < 200 or name.endswith("bias")
        assert std == pytest.approx(expected_std, rel=0.35 if is_small else 0.15, abs=1e-9), name
        assert abs(weight.double().mean() - expected.mean()) <= 0.3 * expected_std, name


@pytest.mark.parametrize(("variant", "config"), [("mvitv2_nano", "mask_rcnn_mvitv2_nano")])
def test_optimizers_are_equal(variant, config):
    cfg = load_config(config, [f"model.roi_heads.num_classes={NUM_CLASSES}"])
    cfg.optimizer.params.model = build(cfg.model)
    theirs = build(cfg.optimizer)
    recipe = recipe_for(variant)
    schedule = plan(variant, num_images=96, epochs=recipe.epochs, batch_size=recipe.batch_size)
    ours, _ = build_optimizer(build_detector(variant, 1 + NUM_CLASSES), schedule)

    def sizes(optimizer):
        """Return the number of values by weight decay."""
        total = {}
        for group in optimizer.param_groups:
            decay = group["weight_decay"]
            total[decay] = total.get(decay, 0) + sum(p.numel() for p in group["params"])
        return total

    assert sizes(ours) == sizes(theirs)
    assert ours.defaults["betas"] == theirs.defaults["betas"]
    assert ours.defaults["eps"] == theirs.defaults["eps"]
    assert {group["initial_lr"] for group in ours.param_groups} == {cfg.optimizer.lr}


@pytest.mark.parametrize("num_steps", [40, 480, 67_500])
def test_schedules_are_equal(num_steps):
    config = "mask_rcnn_mvitv2_t_3x" if num_steps == 67_500 else "mask_rcnn_mvitv2_nano"
    theirs = build(load_config(config, [f"train.max_iter={num_steps}"]).lr_multiplier)
    ours = plan("mvitv2_nano", num_images=4 * num_steps, epochs=1, batch_size=4)
    assert ours.steps == num_steps
    for step in range(0, num_steps, max(1, num_steps // 500)):
        assert ours.factor(step) == pytest.approx(theirs(step / num_steps), rel=1e-6), step


@pytest.mark.parametrize(
    ("variant", "config"), [("mvitv2_nano", "mask_rcnn_mvitv2_nano"), ("mvitv2_t", "mask_rcnn_mvitv2_t_3x")]
)
def test_sizes_are_equal(variant, config):
    recipe = recipe_for(variant)
    cfg = get_config(config)
    steps = list(cfg.dataloader.train.mapper.augmentations)
    if recipe.crop is not None:
        first = steps.pop(0)
        assert first.prob == 0.5
        resize, crop = first.tfm_or_aug.augs
        assert tuple(resize.short_edge_length) == recipe.crop.short_sides
        assert tuple(crop.crop_size) == recipe.crop.sides
    resize, _ = steps
    assert tuple(resize.short_edge_length) == recipe.train_short_sides
    assert resize.max_size == scaled_long_side(max(recipe.train_short_sides))
    assert cfg.model.proposal_generator.batch_size_per_image == recipe.rpn_batch_size
    assert cfg.train.get("epochs", 36) == recipe.epochs
