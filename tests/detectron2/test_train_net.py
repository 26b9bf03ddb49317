"""Complete runs of tools/train_net.py on a small data set."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mvit_det.detectron2.train import main
from mvit_det.errors import InputError

ROOT = Path(__file__).parents[2]
ROUNDING = 2e-5  # of sums in another order, after three large steps; another batch changes weights by 5e-4
# Every anchor and region is used and no image is flipped, so that nothing is random. The large eps makes
# AdamW's steps proportional to the gradient; otherwise rounding errors of zero gradients would be amplified.
COMPARABLE = [
    "optimizer.lr=0.1",
    "optimizer.eps=1.0",
    "model.proposal_generator.batch_size_per_image=100000",
    "model.roi_heads.batch_size_per_image=1000",
    "model.roi_heads.positive_fraction=1.0",
    "dataloader.train.mapper.augmentations.1.prob=0.0",
]
# Trains in a process that kills itself at the start of step 3.
KILLED_RUN = """
import os, signal, sys
from mvit_det.detectron2.engine.trainer import Trainer
from mvit_det.detectron2.train import main

run_step = Trainer.run_step

def run_step_or_die(self):
    if self.iter == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    run_step(self)

Trainer.run_step = run_step_or_die
main(sys.argv[1:])
"""
ALL_SCORES = "model.roi_heads.box_predictor.test_score_thresh=0.0"  # so that there are detections


def run(nano_arguments, out, *options):
    """Train in this process, and return the weights."""
    main(command(nano_arguments, out, *options))
    return weights(out / "model_final.pth")


def weights(path, key="model"):
    return torch.load(path, map_location="cpu")[key]


def command(nano_arguments, out, *options):
    """Return the arguments of a run: flags, then overrides."""
    flags = [option for option in options if option.startswith("-") or "=" not in option]
    keys = [option for option in options if option not in flags]
    return [*flags, *nano_arguments, f"train.output_dir={out}", *keys]


def run_process(program, arguments):
    """Run Python in another process, and return its exit status and output."""
    done = subprocess.run(
        [sys.executable, *program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    return done.returncode, done.stdout


def assert_same(left, right, tolerance=0.0):
    assert list(left) == list(right)
    for key, value in left.items():
        torch.testing.assert_close(
            value, right[key], rtol=0, atol=tolerance, msg=lambda m, key=key: f"{key}: {m}"
        )


@pytest.fixture(scope="module")
def six_steps(nano_arguments, tmp_path_factory):
    """The output folder of an uninterrupted run of six steps."""
    out = tmp_path_factory.mktemp("six")
    run(nano_arguments, out, "train.max_iter=6", "train.log_period=1")
    return out


def test_run_writes_its_files(six_steps):
    lines = [json.loads(line) for line in (six_steps / "metrics.json").read_text().splitlines()]
    assert lines[5]["iteration"] == 5
    assert "bbox/AP" in lines[-1]
    assert list(six_steps.glob("events.out.tfevents.*"))
    for name in ("model_final.pth", "model_best.pth", "config.yaml", "inference/coco_instances_results.json"):
        assert (six_steps / name).is_file(), name
    assert (six_steps / "last_checkpoint").read_text() == "model_final.pth"
    config = {"categories": {1: "circle", 2: "square", 3: "triangle"}, "short_side": 64, "long_side": 427}
    for name in ("model_final.pth", "model_best.pth"):
        assert torch.load(six_steps / name, map_location="cpu")["mvit_det"] == config


@pytest.mark.slow
def test_killed_run_resumes_to_the_weights_of_an_uninterrupted_one(nano_arguments, six_steps, tmp_path):
    options = ("train.max_iter=6", "train.checkpointer.period=2")
    status, printed = run_process(["-c", KILLED_RUN], command(nano_arguments, tmp_path, *options))
    assert status == -signal.SIGKILL, printed
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000001.pth"
    assert_same(run(nano_arguments, tmp_path, *options, "--resume"), weights(six_steps / "model_final.pth"))


@pytest.mark.slow
def test_training_lowers_the_loss_and_eval_only_reproduces_the_result(nano_arguments, tmp_path, capfd):
    run(nano_arguments, tmp_path, "train.max_iter=40", "train.log_period=1", ALL_SCORES)
    lines = [json.loads(line) for line in (tmp_path / "metrics.json").read_text().splitlines()]
    losses = [line["total_loss"] for line in lines if "total_loss" in line]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    trained = lines[-1]
    capfd.readouterr()
    for name in ("model_final.pth", "model_best.pth"):
        checkpoint = f"train.init_checkpoint={tmp_path / name}"
        main(command(nano_arguments, tmp_path / "eval", "--eval-only", checkpoint, ALL_SCORES))
        printed = capfd.readouterr().out
        lines = [line.rpartition("copypaste: ")[2] for line in printed.splitlines() if "copypaste" in line]
        _, names, values, *_ = (line.split(",") for line in dict.fromkeys(lines))
        values = [float(value) for value in values]
        assert values[0] > 0
        for metric, value in zip(names, values, strict=True):
            assert value == pytest.approx(trained[f"bbox/{metric}"], abs=1e-4, nan_ok=True), metric


@pytest.mark.slow
def test_run_ends_early_and_continues_with_a_higher_patience(nano_arguments, tmp_path):
    """At a learning rate of 0, every evaluation has the same result, so that the first is the best."""
    options = ("train.max_iter=5", "train.eval_period=1", "optimizer.lr=0.0", ALL_SCORES)

    def run_with(patience, *more):
        run(nano_arguments, tmp_path, *options, f"train.patience={patience}", *more)
        iteration = torch.load(tmp_path / "model_final.pth", map_location="cpu")["iteration"]
        return iteration, torch.load(tmp_path / "model_best.pth", map_location="cpu")["iteration"]

    assert run_with(2) == (2, 0)  # two evaluations after the first
    assert "stopped early: 2 evaluations without a better bbox/AP than" in (tmp_path / "log.txt").read_text()
    assert run_with(2, "--resume") == (2, 0)
    assert run_with(9, "--resume") == (4, 0)
    results = tmp_path / "inference" / "coco_instances_results.json"
    results.unlink()
    assert run_with(2, "--resume") == (4, 0)  # has run all steps: it is only evaluated
    assert results.is_file()


@pytest.mark.slow
def test_two_processes_and_accumulation_give_the_weights_of_one_process(nano_arguments, tmp_path):
    options = ("train.max_iter=3", *COMPARABLE)
    one = run(nano_arguments, tmp_path / "one", *options)
    parts = run(nano_arguments, tmp_path / "parts", *options, "train.accumulate=4")
    arguments = command(
        nano_arguments,
        tmp_path / "two",
        *("--num-gpus", "2", "--dist-url", f"file://{tmp_path}/rendezvous"),
        *options,
        "train.ddp.fp16_compression=False",
        "model.backbone.bottom_up.recompute=cheap",
    )
    status, printed = run_process(["-m", "mvit_det.detectron2.train"], arguments)
    assert status == 0, printed
    two = weights(tmp_path / "two/model_final.pth")
    assert_same(one, parts, tolerance=ROUNDING)
    assert_same(one, two, tolerance=ROUNDING)
    program = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "tools/train_net.py"]
    arguments = command(nano_arguments, tmp_path / "launched", *options, "train.ddp.fp16_compression=False")
    status, printed = run_process(program, arguments)
    assert status == 0, printed
    assert_same(one, weights(tmp_path / "launched/model_final.pth"), tolerance=ROUNDING)
    status, printed = run_process(program, arguments)
    assert status == 1, printed
    assert printed.count("already contains a run with model_final.pth") == 1
    other_batch = run(nano_arguments, tmp_path / "other", *options, "dataloader.train.seed=1")
    key = "backbone.fpn_output2.weight"
    assert (one[key] - other_batch[key]).abs().max() > 5e-4  # the weights depend on the batches


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_clipping_and_averaging(nano_arguments, tmp_path, precision):
    run(
        nano_arguments,
        tmp_path,
        *("train.max_iter=3", "train.ema.enabled=True", "train.ema.decay=0.5", "train.clip_norm=1.0"),
        *("train.amp.enabled=True", f"train.amp.precision={precision}", ALL_SCORES),
    )
    raw, averaged = (weights(tmp_path / "model_final.pth", key) for key in ("model", "ema"))
    key = "roi_heads.box_predictor.cls_score.weight"
    assert raw[key].isfinite().all()
    assert not torch.equal(raw[key], averaged[f"module.{key}"])
    assert torch.equal(weights(tmp_path / "model_best.pth")[key], averaged[f"module.{key}"])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("optimizer.lr=1e20", "step 1: Predicted boxes or scores contain Inf/NaN"),
        ("model.roi_heads.mask_head.loss_weight=inf", "step 0: loss_mask is inf"),
    ],
)
def test_non_finite_loss_stops_the_run(nano_arguments, tmp_path, option, message):
    with pytest.raises(SystemExit):
        run(nano_arguments, tmp_path, "train.max_iter=5", "train.checkpointer.period=1", option)
    assert re.search(rf"stopped at {message}.*train_\d+\.png", (tmp_path / "log.txt").read_text())
    kept = sorted(path.name for path in tmp_path.glob("*.pth"))
    assert kept == (["model_0000000.pth"] if "step 1" in message else [])


def test_out_of_memory_reports_the_need_and_the_remedies(nano_arguments, tmp_path, out_of_memory):
    with pytest.raises(SystemExit):
        run(nano_arguments, tmp_path, "train.max_iter=5")
    assert re.search(
        r"stopped at step 0: .*Tried to allocate 2.00 GiB.* is free, for \d images of \d+ x \d+.* px; "
        r".*train_\d+\.png.*bottom_up.recompute=cheap or =block, a higher train.accumulate",
        (tmp_path / "log.txt").read_text(),
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["train.devise=cpu"], "did you mean 'train.device'"),
        (["data.val.json=nothing.json"], "nothing.json: no such file"),
        (["data.train.images=nowhere"], "nowhere: no such folder of images"),
        (["dataloader.train.dataset.names=coco_2017_trian"], "unknown data set 'coco_2017_trian'"),
        (["dataloader.train.dataset.names=coco_2017_train"], "set DETECTRON2_DATASETS"),
        (["train.device=cuda"], "train.device 'cuda': this machine has no GPU"),
        (["train.accumulate=3"], "total_batch_size 4: must be a multiple of 3"),
        (["train.max_iter=abc"], "train.max_iter is 'abc': expected an integer of at least 1"),
        (["train.checkpointer.period=0"], "train.checkpointer.period is 0"),
        (["train.clip_norm=-1"], "train.clip_norm is -1: expected a number above 0"),
        (["train.patience=0"], "train.patience is 0: expected an integer of at least 1, or null"),
        (["train.patience=2"], "train.patience is 2: needs a train.eval_period of at least 1"),
        (["train.logger=wandbb"], "unknown logger 'wandbb': did you mean 'wandb'?"),
        (["--num-gpus", "9999"], "--num-gpus 9999: this machine has"),
        (["train.ema.decay=2"], "train.ema.decay is 2: expected a number of at least 0 and below 1"),
        (["train.ema.enabled=no"], "train.ema.enabled is 'no': expected true or false"),
        (["train.amp=True"], "train.amp is a group of keys: enabled, precision"),
        (["train.epochs=0"], "train.epochs is 0: expected an integer of at least 1"),
        (["train.best_metric=bbox/APP"], "train.best_metric is 'bbox/APP'"),
        (["--num-gpus=2", "--dist-url", "foo"], "--dist-url foo: expected tcp://HOST:PORT"),
        (["--num-machines=2", "--machine-rank=0"], "--num-machines 2: needs --dist-url tcp://HOST:PORT"),
        (["data.val.images=nowhere"], "nowhere: no such folder of images"),
        (["--num-gpus", "0"], "--num-gpus and --num-machines: must be at least 1"),
        (["train.amp.precision=int8"], "unknown train.amp.precision 'int8'"),
        (["model.roi_heads.num_classes=80"], "model.roi_heads.num_classes is 80, but"),
        (["--eval-only"], "train.init_checkpoint is not set"),
        (
            ["--eval-only", "train.eval_precision=fp16"],
            "train.eval_precision fp16: a CPU computes",
        ),
        (["--eval-only", "train.eval_precision=half"], "unknown train.eval_precision 'half'"),
        (["train.init_checkpoint=nothing.pth"], "nothing.pth"),
        (["model.backbone.bottom_up.embed_dim=33", "model.backbone.bottom_up.num_heads=2"], "embed_dim 33"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(nano_arguments, tmp_path, options, message):
    if message.startswith("train.device") and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(InputError) as caught:
        main(command(nano_arguments, tmp_path / "out", *options))
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ([], "data.train.json"),
        (["data.train.json=a.json"], "data.train.images"),
        (["--eval-only"], "data.val.json"),
        (["--eval-only", "data.val.json=a.json"], "data.val.images"),
    ],
)
def test_missing_data_raises(options, key):
    flags = [option for option in options if option.startswith("-")]
    keys = [option for option in options if option not in flags]
    with pytest.raises(InputError, match=f"^{key} is not set: add {key}=..."):
        main([*flags, "--config-file", "mask_rcnn_mvitv2_nano", *keys])


@pytest.mark.parametrize("absent", ["data.train.images=", "data.train."])
def test_eval_only_needs_no_training_images(nano_arguments, shapes, six_steps, tmp_path, absent):
    without = [option for option in nano_arguments if not option.startswith(absent)]
    checkpoint = f"train.init_checkpoint={six_steps}/model_final.pth"
    main(command(without, tmp_path, "--eval-only", f"data.val.images={shapes}/images", checkpoint))
    assert (tmp_path / "inference/coco_instances_results.json").is_file()


def test_run_without_a_validation_set_is_not_evaluated(nano_arguments, tmp_path):
    without = [option for option in nano_arguments if not option.startswith("data.val.")]
    run(without, tmp_path, "train.max_iter=2")
    assert "no validation set: the detector is not evaluated" in (tmp_path / "log.txt").read_text()
    assert not (tmp_path / "model_best.pth").exists()
    assert not (tmp_path / "inference").exists()


def test_what_cannot_be_used_is_dropped_and_listed(nano_arguments, shapes, tmp_path):
    data = json.loads((shapes / "train.json").read_text())
    data["annotations"][0]["bbox"] = [10, 10, 0, 5]
    data["images"][-1]["file_name"] = "gone.png"
    (tmp_path / "train.json").write_text(json.dumps(data))
    options = (f"data.train.json={tmp_path}/train.json", "data.val.json=null", "train.max_iter=1")
    with pytest.raises(InputError, match="and 1 more problem.*mvit-det check"):
        main(command(nano_arguments, tmp_path / "out", *options))
    assert not (tmp_path / "out").exists()
    run(nano_arguments, tmp_path / "out", *options, "data.drop_invalid=True")
    lines = (tmp_path / "out/data_problems.txt").read_text().splitlines()
    dropped = sorted(line for line in lines if line.startswith("drop: "))
    assert [("gone.png" in line, "annotations[0].bbox" in line) for line in dropped] in (
        [(True, False), (False, True)],
        [(False, True), (True, False)],
    )
    log = (tmp_path / "out/log.txt").read_text()
    assert re.search(r"7 images.*dropped: .* [(]1[)], .* [(]1[)]", log, re.DOTALL)


@pytest.mark.slow
def test_detector_of_boxes_trains_on_a_yolo_folder_and_is_evaluated(nano_arguments, shapes, tmp_path):
    write_yolo(shapes, tmp_path / "yolo")
    arguments = [option for option in nano_arguments if not option.startswith("data.")]
    arguments = [*arguments, f"data.root={tmp_path}/yolo"]
    with pytest.raises(InputError, match="use a config such as finetune_faster_rcnn_mvitv2_t"):
        main(command(arguments, tmp_path / "masks"))
    arguments[arguments.index("mask_rcnn_mvitv2_nano")] = "faster_rcnn_mvitv2_nano"
    trained = run(arguments, tmp_path / "out", "train.max_iter=3", ALL_SCORES)
    assert not [name for name in trained if "mask" in name]
    results = json.loads((tmp_path / "out/metrics.json").read_text().splitlines()[-1])
    assert results["bbox/AP"] >= 0
    assert not [name for name in results if name.startswith("segm")]
    assert re.search(
        r"YOLO, train: 8 images.*YOLO, val: 4 images.*Start inference on 4",
        (tmp_path / "out/log.txt").read_text(),
        re.S,
    )


def write_yolo(shapes, folder):
    """Write the data set of shapes as a YOLO folder of boxes."""
    lines = ["names: [circle, square, triangle]", "train: images/train", "val: images/val"]
    for split in ("train", "val"):
        data = json.loads((shapes / f"{split}.json").read_text())
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for image in data["images"]:
            name, width, height = image["file_name"], image["width"], image["height"]
            (folder / "images" / split / name).write_bytes((shapes / "images" / name).read_bytes())
            rows = []
            for entry in data["annotations"]:
                if entry["image_id"] == image["id"]:
                    x, y, w, h = entry["bbox"]
                    center = ((x + w / 2) / width, (y + h / 2) / height)
                    rows.append(
                        " ".join(map(str, (entry["category_id"] - 1, *center, w / width, h / height)))
                    )
            (folder / "labels" / split / name).with_suffix(".txt").write_text("\n".join(rows))
    (folder / "data.yaml").write_text("\n".join(lines))


def test_more_gpus_than_available_raises(nano_arguments, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match="--num-gpus 2: this machine has 1"):
        main(["--num-gpus", "2", *command(nano_arguments, tmp_path, "train.device=cuda")])


def test_weights_without_a_run_are_not_overwritten(nano_arguments, six_steps, tmp_path):
    best = tmp_path / "model_best.pth"
    best.write_bytes((six_steps / "model_final.pth").read_bytes())
    for options in ((f"train.init_checkpoint={best}",), ("--resume",)):
        with pytest.raises(InputError, match=r"model_best.pth"):
            main(command(nano_arguments, tmp_path, *options))
    assert [path.name for path in tmp_path.iterdir()] == ["model_best.pth"]


def test_run_killed_while_writing_its_last_checkpoint_completes_it(nano_arguments, tmp_path):
    options = ("train.max_iter=2", "train.checkpointer.period=2")
    expected = run(nano_arguments, tmp_path, *options)
    (tmp_path / "model_final.pth").write_bytes(b"half")
    (tmp_path / "last_checkpoint").write_text("model_0000001.pth")
    assert_same(run(nano_arguments, tmp_path, *options, "--resume"), expected)


def test_resume_without_a_checkpoint_starts_from_step_0(nano_arguments, tmp_path):
    (tmp_path / "metrics.json").touch()
    run(nano_arguments, tmp_path, "--resume", "train.max_iter=1")
    assert json.loads((tmp_path / "metrics.json").read_text().splitlines()[0])["iteration"] == 0


def test_folder_of_another_run_and_weights_of_another_model_raise(nano_arguments, six_steps, tmp_path):
    files = {path: path.stat().st_mtime_ns for path in six_steps.iterdir() if path.name != "log.txt"}
    with pytest.raises(InputError, match=r"already contains a run with .*model_final.pth; add --resume"):
        main(command(nano_arguments, six_steps))
    checkpoint = f"train.init_checkpoint={six_steps}/model_final.pth"
    wider = "model.backbone.bottom_up.embed_dim=64"
    for options in (("--eval-only", wider), (wider,)):
        with pytest.raises(
            InputError, match=r"fills 0% .* this MViT: .*blocks.0.norm1.weight has the shape \(32,\)"
        ):
            main(command(nano_arguments, tmp_path, *options, checkpoint))
    assert files == {path: path.stat().st_mtime_ns for path in files}


def test_detector_of_other_classes_is_fine_tuned(nano_arguments, shapes, six_steps, tmp_path):
    for name in ("train.json", "val.json"):
        data = json.loads((shapes / name).read_text())
        data["categories"] += [{"id": 8, "name": "star"}, {"id": 9, "name": "ring"}]
        (tmp_path / name).write_text(json.dumps(data))
    tuned = run(
        nano_arguments,
        tmp_path / "out",
        *(f"data.train.json={tmp_path}/train.json", f"data.val.json={tmp_path}/val.json"),
        *(f"train.init_checkpoint={six_steps}/model_final.pth", "optimizer.lr=0.0", "train.max_iter=1"),
    )
    assert tuned["roi_heads.box_predictor.cls_score.weight"].shape[0] == 6
    key = "backbone.bottom_up.blocks.0.attn.qkv.weight"
    assert torch.equal(tuned[key], weights(six_steps / "model_final.pth")[key])


def test_file_without_weights_raises(nano_arguments, tmp_path):
    contents = {"empty.pth": b"", "page.pth": b"<html>404</html>", "page.pkl": b"<html>"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    torch.save({"state_dict": {"weight": torch.zeros(1)}, "epoch": 3}, tmp_path / "other.pth")
    for name in (*contents, "other.pth"):
        with pytest.raises(InputError, match=name):
            main(command(nano_arguments, tmp_path / "out", f"train.init_checkpoint={tmp_path / name}"))
