"""The detector of the Python API."""

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

import mvit_det
from mvit_det.errors import ImageError, InputError
from mvit_det.torchvision.data.image_arrays import to_array
from mvit_det.torchvision.engine.detector_checkpoint import load_detector
from tests.videos import write_video


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A detector with random weights and two classes, for images of 64 px."""
    torch.manual_seed(0)
    model = mvit_det.torchvision.build_detector("mvitv2_nano", 3)
    config = {"variant": "mvitv2_nano", "categories": {3: "cat", 7: "dog"}, "head": "mask_rcnn"}
    config |= {"short_side": 64, "long_side": 96}
    path = tmp_path_factory.mktemp("run") / "best.ckpt"
    weights = {f"detector.{key}": weight for key, weight in model.state_dict().items()}
    torch.save({"mvit_det": config, "state_dict": weights, "epoch": 1}, path)
    return path


@pytest.fixture(scope="module")
def detector(checkpoint):
    return mvit_det.Detector(checkpoint, precision="float32", min_score=0.1, max_detections=5)


@pytest.fixture
def images():
    """Images of two sizes."""
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (64, width, 3), np.uint8) for width in (96, 70, 96, 96, 70)]


def assert_equal(one, two):
    """Batches of other sizes may differ by rounding."""
    np.testing.assert_allclose(one.xyxy, two.xyxy, atol=1e-3)
    np.testing.assert_allclose(one.confidence, two.confidence, atol=1e-5)
    assert np.array_equal(one.class_id, two.class_id)
    assert (np.asarray(one.mask) != np.asarray(two.mask)).mean() < 1e-3


def test_detections_are_those_of_the_model(checkpoint, detector, images):
    model, _ = load_detector(checkpoint)
    with torch.inference_mode():
        expected = model([torch.from_numpy(images[0]).permute(2, 0, 1) / 255])[0]
    detections = detector(images[0])
    assert len(detections) == 5
    assert np.array_equal(detections.xyxy, expected["boxes"][:5].numpy())
    assert np.array_equal(detections.confidence, expected["scores"][:5].numpy())
    assert np.array_equal(detections.mask, expected["masks"][:5, 0].numpy() >= 0.5)
    ids = [{1: 3, 2: 7}[label] for label in expected["labels"][:5].tolist()]
    assert detections.class_id.tolist() == ids
    assert detections["class_name"].tolist() == [detector.categories[id_] for id_ in ids]


def test_all_kinds_of_images_are_read_alike(detector, images, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(images[0]).save(path)
    tensor = torch.from_numpy(images[0]).permute(2, 0, 1)
    expected = detector(images[0])
    for image in (path, str(path), Image.open(path), tensor, tensor / 255, images[0][::-1][::-1]):
        assert_equal(detector(image), expected)


def test_images_are_turned_upright_and_gray_ones_become_rgb(images, tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # the stored image is turned to the left
    Image.fromarray(images[0]).save(tmp_path / "a.png", exif=exif)
    upright = np.rot90(images[0], -1)
    assert np.array_equal(to_array(tmp_path / "a.png"), upright)
    assert np.array_equal(to_array(Image.open(tmp_path / "a.png")), upright)
    gray = images[0][:, :, 0]
    assert np.array_equal(to_array(gray), np.stack([gray] * 3, axis=2))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((3, 8, 9), np.uint8), r"array \(3, 8, 9\) uint8: must be uint8, \(H, W, 3\)"),
        (np.zeros((8, 9, 3)), r"array \(8, 9, 3\) float64"),
        (torch.zeros(8, 9, 3), r"tensor \(8, 9, 3\) torch.float32: must be \(3, H, W\)"),
        (torch.zeros(3, 8, 9, dtype=torch.int64), r"tensor \(3, 8, 9\) torch.int64"),
        (torch.full((3, 8, 9), 255.0), "values from 255 to 255: must be in 0..1"),
        (torch.full((3, 8, 9), float("nan")), "values from nan to nan"),
        (np.zeros((0, 5, 3), np.uint8), r"image \(0, 5, 3\): is empty"),
        ("http://host/a.jpg", "^http://host/a.jpg: is a URL; expected a file, or use Detector.stream"),
    ],
)
def test_an_image_of_another_shape_or_type_is_refused(detector, image, message):
    with pytest.raises(ValueError, match=message):
        detector(image)


def test_an_object_that_is_no_image_is_refused(detector):
    with pytest.raises(TypeError, match="^image of type NoneType: must be a path, a PIL image"):
        detector(None)


def test_an_error_names_the_image_of_a_list(detector, images, tmp_path):
    Image.fromarray(images[0]).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:5000])
    for image, kind, message in (
        (None, TypeError, "image of type NoneType: must be a path"),
        (images[0][0, 0], ValueError, r"array \(3,\) uint8: must be uint8"),
        ("none.png", ImageError, "none.png: no such image"),
        (Image.open(tmp_path / "cut.png"), ImageError, r".*cut\.png: cannot be read: .*truncated"),
    ):
        with pytest.raises(kind, match=rf"^images\[3\]: {message}"):
            detector([*images[:3], image, None])


def test_a_list_is_detected_as_its_images_are(detector, images):
    together = detector(tuple(images), batch_size=2)
    assert len(together) == 5
    for image, detections in zip(images, together, strict=True):
        assert_equal(detections, detector(image))
    assert detector([]) == []


def test_a_stream_reads_a_folder(detector, images, tmp_path):
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    (tmp_path / "3.png").write_bytes(b"damaged")
    errors = []
    predictions = list(detector.stream(tmp_path, batch_size=2, on_error=errors.append))
    assert [frame.name for frame, _ in predictions] == ["0.png", "1.png", "2.png", "4.png"]
    for frame, detections in predictions:
        assert_equal(detections, detector(frame.path))
    assert len(errors) == 1
    with pytest.raises(ImageError, match=r"3\.png: is not an image"):
        list(detector.stream([tmp_path / "0.png", str(tmp_path / "3.png")]))
    with pytest.raises(InputError, match="none: no such file or folder"):
        detector.stream(tmp_path / "none")


def test_a_stream_reads_a_video(detector, images, tmp_path):
    path = str(tmp_path / "clip.avi")
    write_video(path, [images[0]] * 3)
    predictions = list(detector.stream(path, batch_size=2))
    assert [frame.name for frame, _ in predictions] == ["clip.avi#1", "clip.avi#2", "clip.avi#3"]
    frame, detections = predictions[1]
    assert_equal(detections, detector(frame.image))


def test_a_stream_reports_a_truncated_video(detector, images, tmp_path):
    path, errors = tmp_path / "clip.avi", []
    write_video(path, [images[0]] * 5)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    predictions = list(detector.stream(path, batch_size=8, on_error=errors.append))
    assert 0 < len(predictions) < 5
    message = f"is damaged or truncated: it ends after {len(predictions) / 5:.1f} of 1.0 s"
    assert [str(error) for error in errors] == [f"{path}: {message}"]
    stream = detector.stream(path)
    assert len([next(stream) for _ in predictions]) == len(predictions)  # all, before the error
    with pytest.raises(ImageError, match=message):
        next(stream)


def test_a_batch_size_is_an_integer(detector, images, tmp_path):
    Image.fromarray(images[0]).save(tmp_path / "a.png")
    for batch_size in (0, 2.5, None):
        for detect in (detector, detector.stream):
            with pytest.raises(
                ValueError, match=f"batch_size {batch_size}: must be an integer of at least 1"
            ):
                detect(tmp_path / "a.png", batch_size=batch_size)


def test_slices_of_an_image_are_detected_as_images_are(checkpoint, detector, images):
    sliced = mvit_det.Detector(
        checkpoint, precision="float32", min_score=0.1, max_detections=5, slice_size=64, overlap=0.0
    )
    image = np.concatenate([images[0][:, :64], images[2][:, :64]], axis=1)
    small = images[1][:50, :60]
    detections, whole = sliced([image, small], batch_size=3)
    parts = [detector(np.ascontiguousarray(image[:, left : left + 64])) for left in (0, 64)]
    scores = np.concatenate([part.confidence for part in parts])
    assert 0 < len(detections) <= 10
    assert np.isclose(detections.confidence[:, None], scores, atol=1e-5).any(1).all()
    assert detections.mask.shape == (len(detections), 64, 128)
    assert set(detections["class_name"]) <= {"cat", "dog"}
    assert_equal(whole, detector(np.ascontiguousarray(small)))
    assert_equal(detections, sliced(image, batch_size=1))


def test_a_stream_tracks_the_objects_of_a_video(detector, images, tmp_path):
    pytest.importorskip("trackers")
    path = tmp_path / "clip.avi"
    write_video(path, [images[0]] * 3)
    first, second, third = (detections for _, detections in detector.stream(path, track=True))
    assert first.tracker_id.tolist() == [-1] * 5
    assert sorted(second.tracker_id) == sorted(third.tracker_id) == [1, 2, 3, 4, 5]
    Image.fromarray(images[0]).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png: is not a video, and only the objects of a video can be"):
        detector.stream(tmp_path / "a.png", track=True)


def test_detections_are_drawn(detector, images):
    drawn = detector.draw(images[0], detector(images[0]))
    assert drawn.size == (96, 64)
    assert (np.asarray(drawn) != images[0]).any()
    nothing = detector(images[0])[:0]
    assert np.array_equal(np.asarray(detector.draw(images[0], nothing)), images[0])
    with pytest.raises(ValueError, match=r"masks \(5, 64, 96\): must have the size \(64, 70\)"):
        detector.draw(images[1], detector(images[0]))
    other = detector(images[0])
    other.class_id = other.class_id + 100
    with pytest.raises(ValueError, match=r"must be among \[3, 7\]"):
        detector.draw(images[0], other)
    with pytest.raises(TypeError, match="^detections of type list: must be the Detections of one image$"):
        detector.draw(images[0], [nothing])


def test_half_precision_gives_similar_scores(checkpoint, detector, images):
    half = mvit_det.Detector(checkpoint, precision="bf16", min_score=0.1, max_detections=5)
    expected, detections = detector(images[0]), half(images[0])
    assert detections.xyxy.dtype == np.float32
    assert not np.array_equal(detections.confidence, expected.confidence)
    np.testing.assert_allclose(detections.confidence, expected.confidence, atol=0.02)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_score": 50}, "^min_score 50: must be a number from 0 to 1$"),
        ({"min_score": "0.3"}, "^min_score '0.3': must be a number from 0 to 1$"),
        ({"min_score": None}, "^min_score None: must be a number from 0 to 1$"),
        ({"max_detections": 0}, "max_detections 0: must be an integer of at least 1"),
        ({"max_detections": 10.0}, r"max_detections 10\.0: must be an integer"),
        ({"slice_size": 20}, "slice_size 20: must be an integer of at least 32"),
        ({"slice_size": "640"}, "slice_size '640': must be an integer"),
        ({"slice_size": 64, "overlap": 1}, "^overlap 1: must be a number of at least 0 and less than 1$"),
        ({"slice_size": 64, "overlap": "0.2"}, "^overlap '0.2': must be a number of at least 0 and"),
        ({"overlap": 0.2}, "^overlap 0.2: needs slice_size, the size of a slice in pixels$"),
        ({"soft_nms": "hard"}, "hard"),
        ({"precision": "half"}, "unknown precision 'half'"),
        ({"device": "gpu"}, "device 'gpu': must be auto, cpu, cuda or cuda:N"),
    ],
)
def test_values_that_are_not_valid_are_refused(checkpoint, options, message):
    with pytest.raises(ValueError, match=message):
        mvit_det.Detector(checkpoint, **options)


def test_a_checkpoint_that_does_not_exist_is_refused(checkpoint):
    with pytest.raises(InputError, match="none.ckpt"):
        mvit_det.Detector(checkpoint.with_name("none.ckpt"))
