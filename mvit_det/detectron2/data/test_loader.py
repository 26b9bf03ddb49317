"""A data loader for evaluation that can leave out images that can no longer be read."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from detectron2.data import build_detection_test_loader
from torch.utils.data import DataLoader

from mvit_det.detectron2.data.train_loader import MappedSamples, Sample, map_sample
from mvit_det.engine.loading_processes import prepare_loading_process
from mvit_det.engine.unreadable_images import ReadableDataset


def build_test_loader(
    dataset: list[Sample], mapper: Callable[[Sample], Sample], skip_unreadable: bool = False, **options: Any
) -> "DataLoader[Any] | NonEmptyBatches":
    """Return Detectron2's ``build_detection_test_loader`` of a list of images.

    Args:
        dataset: one dict per image in Detectron2's format.
        mapper: reads an image.
        skip_unreadable: leave out images that cannot be read, with a warning, instead of raising an error.
            They count as images without detections.
        **options: further keywords of ``build_detection_test_loader``.
    """
    if skip_unreadable:
        images = ReadableDataset(MappedSamples(dataset, mapper))
        loader = build_detection_test_loader(images, mapper=None, collate_fn=_collate, **options)
    else:
        loader = build_detection_test_loader(dataset, mapper=partial(map_sample, mapper), **options)
    loader.worker_init_fn = prepare_loading_process
    return NonEmptyBatches(loader) if skip_unreadable else loader


class NonEmptyBatches:
    """The batches of a data loader, without empty ones. The length includes them."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[list[Sample]]:
        return filter(None, self.loader)


def _collate(samples: Iterable[Sample | None]) -> list[Sample]:
    return [sample for sample in samples if sample is not None]
