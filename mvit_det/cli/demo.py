"""The whole job on made-up pictures: write, train, evaluate, look."""

from pathlib import Path

from mvit_det.data.average_precision import Metrics
from mvit_det.data.shapes import write_shapes
from mvit_det.report import run_folder
from mvit_det.torchvision.train import TrainOptions, train

DATA = "shapes"
VARIANT = "mvitv2_nano"
SIZE = 224  # px, short side
NUM_TRAIN, NUM_VAL = 160, 32
EPOCHS = 10


def demo(out: Path, epochs: int = EPOCHS, overwrite: bool = False) -> Metrics:
    """Write a set of shapes to ``out/shapes``, then train on it and evaluate on its held-out pictures.

    Raises:
        InputError: before anything is written, if ``out`` holds another run.
    """
    names = (*run_folder.OF_TRAINING, *run_folder.OF_RESULTS, DATA)
    run_folder.check_output(out, names, overwrite, inputs=())
    run_folder.clear_output(out, names)
    data = out / DATA
    write_shapes(data, NUM_TRAIN, NUM_VAL)
    return train(
        TrainOptions(
            json=data / "train.json",
            images=data / "images",
            val_json=data / "val.json",
            variant=VARIANT,
            out=out,
            size=SIZE,
            augmentation="flip",
            epochs=epochs,
        )
    )
