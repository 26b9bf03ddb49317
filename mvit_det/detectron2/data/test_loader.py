"""A data loader for evaluation that can leave out images that can no longer be read."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from detectron2.data import DatasetFromList, build_detection_test_loader
from torch.utils.data import DataLoader, Dataset

from mvit_det.detectron2.data.train_loader import Sample, map_sample
from mvit_det.engine.unreadable_images import UnreadableImages


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
    if not skip_unreadable:
        return build_detection_test_loader(dataset, mapper=partial(map_sample, mapper), **options)
    images = _ReadableImages(dataset, mapper)
    return NonEmptyBatches(build_detection_test_loader(images, mapper=None, collate_fn=_collate, **options))


class NonEmptyBatches:
    """The batches of a data loader, without empty ones. The length includes them."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[list[Sample]]:
        return filter(None, self.loader)


class _ReadableImages(Dataset[Sample | None]):
    """The samples of a data set, with None in place of those that are left out."""

    def __init__(self, dataset: list[Sample], mapper: Callable[[Sample], Sample]) -> None:
        self.samples, self.mapper = DatasetFromList(dataset, copy=False), mapper
        self.unreadable = UnreadableImages(len(dataset))

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample | None:
        return self.unreadable.read_or_none(self._read, index)

    def _read(self, index: int) -> Sample:
        return map_sample(self.mapper, self.samples[index])


def _collate(samples: Iterable[Sample | None]) -> list[Sample]:
    return [sample for sample in samples if sample is not None]
