import warnings

import numpy as np
import pytest
from PIL import Image

from mvit_det.data.statistics import Statistics
from mvit_det.report.dataset_plots import draw_statistics, plot_statistics


def make_statistics(objects_per_image, areas, objects_per_class, sizes=((640, 480),), **classes):
    num_images = len(objects_per_image)
    names = tuple(f"class {index}" for index in range(len(objects_per_class)))
    return Statistics(
        image_sizes=np.resize(sizes, (num_images, 2)),
        objects_per_image=np.array(objects_per_image),
        classes=classes.get("names", names),
        objects_per_class=np.array(objects_per_class),
        images_per_class=np.array(objects_per_class),
        areas=np.array(areas, float),
        num_crowds=0,
        num_masks=0,
        num_at_border=0,
    )


def heights(axis):
    """The heights of the bins of each split."""
    return [patch.get_data().values for patch in axis.patches]


def test_histograms_are_percentages_of_all_values():
    train = make_statistics([0, 1, 1, 2], [100, 400, 1e6, 1e6], [3, 1])
    val = make_statistics([3], [1, 30**2, 97**2], [0, 3])
    per_image, sizes, *_ = plot_statistics({"train": train, "val": val}).axes
    assert [values.tolist() for values in heights(per_image)] == [[25, 50, 25, 0], [0, 0, 0, 100]]
    assert [values.sum() for values in heights(sizes)] == pytest.approx([100, 100])
    assert [text.get_text() for text in sizes.texts] == ["small", "medium", "large"]


def test_the_last_bar_holds_outliers():
    statistics = make_statistics([0, 1] * 500 + [10**6], [100], [1])
    per_image = plot_statistics({"train": statistics}).axes[0]
    assert heights(per_image)[0] == pytest.approx([100 * 500 / 1001, 100 * 501 / 1001])
    assert per_image.get_xlabel() == "number of objects (last bar: 1 or more)"


def test_the_largest_classes_are_shown_in_order():
    classes = plot_statistics({"train": make_statistics([50], [9], np.arange(50))}).axes[2]
    assert classes.get_title() == "the 30 largest of 50 classes"
    assert [label.get_text() for label in classes.get_yticklabels()[:2]] == ["class 49", "class 48"]
    assert len(classes.patches) == 30


def test_splits_may_have_different_classes():
    train = make_statistics([5], [9], [1, 4], names=("nut", "bolt"))
    val = make_statistics([5], [9], [10, 30], names=("bolt", "washer"))
    classes = plot_statistics({"train": train, "val": val}).axes[2]
    assert [bar.get_width() for bar in classes.patches] == [80, 20]  # bolt, nut
    assert classes.collections[0].get_offsets().tolist() == [[25, 0], [0, 1]]


def test_names_and_empty_splits_do_not_matter(tmp_path):
    names = ("$x$ and $", "日本語", "a" * 99)
    empty = make_statistics([0], [], [0, 0, 0], names=names)
    full = make_statistics([7], [8, 9], [1, 1, 0], names=names)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_statistics({"train": full, "val": empty, "test": empty}, tmp_path / "new" / "plots.png")
        draw_statistics({"train": empty}, tmp_path / "empty.png")
    assert Image.open(tmp_path / "new" / "plots.png").width == 1300
