"""COCO's average precision on data sets that need not have a complete COCO JSON."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from detectron2.data import MetadataCatalog
from detectron2.evaluation import COCOEvaluator

from mvit_det.data.coco.crowd_masks import with_crowd_masks
from mvit_det.data.coco.index import index_coco
from mvit_det.data.json_files import write_json
from mvit_det.detectron2.data.registration import registered_dataset


class UserDataEvaluator(COCOEvaluator):
    """A ``COCOEvaluator`` whose ground truth is a data set as this package reads it.

    The file of the data set may be of another format, or lack ids, areas or crowd flags. Masks are evaluated
    if every object has one, else boxes alone.

    Args:
        dataset_name: a data set that :func:`mvit_det.detectron2.data.registration.register` has registered.
    """

    def __init__(self, dataset_name: str, **kwargs: Any) -> None:
        dataset, metadata = registered_dataset(dataset_name), MetadataCatalog.get(dataset_name).as_dict()
        if not dataset.has_masks:
            kwargs.setdefault("tasks", ("bbox",))
        with TemporaryDirectory() as folder:
            # Detectron2 reads a file, here an empty one; the ground truth is in memory already.
            json = str(Path(folder, "ground_truth.json"))
            write_json(Path(json), {"images": [], "annotations": [], "categories": []})
            MetadataCatalog.get(json).set(**metadata | {"name": json, "json_file": json})
            super().__init__(json, **kwargs)
            MetadataCatalog.pop(json)
        truth = dataset.coco.dataset
        # Copies, because pycocotools changes the annotations.
        annotations = [dict(entry) for entry in with_crowd_masks(truth["annotations"])]
        self._coco_api = index_coco({**truth, "annotations": annotations})
