"""A weight file is named by its path, its URL, or the name of a published model."""

from pathlib import Path

import pytest

from mvit_det.errors import InputError
from mvit_det.weights import PUBLISHED, local_file, sources
from mvit_det.weights.published import DETECTOR, VITDET_DETECTOR

ZOO = "https://dl.fbaipublicfiles.com/detectron2"
DIGEST = "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def downloaded(monkeypatch, tmp_path):
    """Record what would be downloaded, in an empty working folder."""
    downloaded = []
    monkeypatch.setattr(sources, "download", lambda *arguments: downloaded.append(arguments))
    monkeypatch.chdir(tmp_path)
    return downloaded


@pytest.mark.parametrize(
    ("source", "url", "digest"),
    [
        ("https://a.org/b.pth", "https://a.org/b.pth", ""),
        (f"http://a.org/b.pth?c=d#sha256={DIGEST}", "http://a.org/b.pth?c=d", DIGEST),
        ("detectron2://a/b.pkl", f"{ZOO}/a/b.pkl", ""),
        ("mvitv2_t", f"{ZOO}/ImageNetPretrained/mvitv2/MViTv2_T_in1k.pyth", ""),
        (Path("mvitv2_t"), f"{ZOO}/ImageNetPretrained/mvitv2/MViTv2_T_in1k.pyth", ""),
        (
            "mask_rcnn_mvitv2_t_3x",
            f"{ZOO}/MViTv2/mask_rcnn_mvitv2_t_3x/f307611773/model_final_1a1c30.pkl",
            "",
        ),
    ],
)
def test_urls_and_names_are_downloaded(source, url, digest, downloaded):
    local_file(source)
    assert downloaded == [(url, digest)]


def test_paths_are_returned(downloaded, tmp_path):
    (tmp_path / "mvitv2_t").mkdir()
    (tmp_path / "run").mkdir()
    for path in ("a.pth", tmp_path / "none/a.ckpt", "run", "mvitv2_t"):
        assert local_file(path) == Path(path)
    assert not downloaded


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("s3://bucket/a.pth", "s3://bucket/a.pth: expected a path, http://, https:// or detectron2://"),
        ("https://a.org/b.pth#md5=00", "after the # expected sha256= and 64 hexadecimal digits"),
        ("detectron2://a/%2e%2e/../b.pkl", "leads out of Detectron2's model zoo"),
        ("mvitv1_s", r"https://drive.google.com/.*: Google Drive serves only browsers"),
        ("mvitv2_h", r"^mvitv2_h: no such file, .* of this name; the nearest names are mvitv2_h_in21k, "),
        ("MViTv2_T", "the nearest names are mvitv2_t, "),
        (
            "lvis/cascade_mask_rcnn_mvitv2_b",
            "nearest names are lvis/cascade_mask_rcnn_mvitv2_b_in21k_100ep, ",
        ),
        ("runs/zzz", "^runs/zzz: no such file, .* of this name, such as mvitv2_t or mask_rcnn_mvitv2_t_3x$"),
    ],
)
def test_other_sources_are_refused_in_one_line(source, message, downloaded):
    with pytest.raises(InputError, match=message) as error:
        local_file(source)
    assert "\n" not in str(error.value)
    assert not downloaded


def test_a_published_model_of_another_kind_is_refused_before_it_is_downloaded(downloaded, tmp_path):
    vitdet = "vitdet/cascade_mask_rcnn_mvitv2_b_in21k_100ep"
    example = "expected a detector, such as mask_rcnn_mvitv2_t_3x$"
    for kinds in ((DETECTOR,), (DETECTOR, VITDET_DETECTOR)):
        with pytest.raises(InputError, match=f"^mvitv2_t: is a backbone; {example}"):
            local_file("mvitv2_t", *kinds)
    with pytest.raises(InputError, match="ViTDet's recipe, which works only in Detectron2; expected a"):
        local_file(vitdet, DETECTOR)
    assert not downloaded
    local_file(vitdet, DETECTOR, VITDET_DETECTOR)
    local_file("mask_rcnn_mvitv2_t_3x", DETECTOR)
    local_file("mvitv2_t")
    assert len(downloaded) == 3
    (tmp_path / "mvitv2_t").mkdir()  # such as a run of this name
    assert local_file("mvitv2_t", DETECTOR) == Path("mvitv2_t")


def test_every_published_model_has_its_own_address():
    urls = [model.url for model in PUBLISHED.values()]
    assert len({*urls}) == len(urls)
    assert all(url.startswith("https://") for url in urls)
