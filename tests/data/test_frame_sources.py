"""What detection reads: the names of images, and what is a video or a camera."""

import os

import pytest

from mvit_det.data.frame_sources import find_images, find_video, open_source_video
from mvit_det.errors import InputError


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_images_of_a_folder_and_the_folders_within_it_are_named_by_their_path(tmp_path):
    for name in ("b.PNG", "a.jpg", "sub/a.jpg", "notes.txt"):
        touch(tmp_path / "photos" / name)
    photos = tmp_path / "photos"
    assert find_images([photos]) == {name: photos / name for name in ("a.jpg", "b.PNG", "sub/a.jpg")}


def test_hidden_files_and_the_output_are_left_out(tmp_path):
    for name in ("a.jpg", "._a.jpg", ".cache/b.jpg", "out/pictures/a.jpg"):
        touch(tmp_path / name)
    assert list(find_images([tmp_path], left_out=tmp_path / "out")) == ["a.jpg"]


def test_several_sources_have_different_names(tmp_path):
    for name in ("one/a.jpg", "two/a.jpg", "two/deep/b.jpg"):
        touch(tmp_path / name)
    images = find_images([tmp_path / "one", tmp_path / "two" / "a.jpg", tmp_path / "two"])
    assert list(images) == ["one/a.jpg", "two/a.jpg", "two/deep/b.jpg"]
    assert list(find_images([tmp_path / "one/a.jpg"])) == ["a.jpg"]


def test_a_source_without_images_is_refused(tmp_path):
    with pytest.raises(InputError, match="contains no images; expected .bmp"):
        find_images([tmp_path])
    with pytest.raises(InputError, match="none: no such file or folder"):
        find_images([tmp_path / "none"])
    with pytest.raises(InputError, match="no images: expected at least one"):
        find_images([])
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(InputError, match="is a pipe, a socket or a device; expected an image, a folder"):
        find_images([tmp_path / "pipe.png"])


def test_a_video_is_the_only_source(tmp_path):
    video, image = tmp_path / "a.MP4", tmp_path / "a.png"
    assert find_video([video]) == video
    assert find_video([image, tmp_path]) is None
    (tmp_path / "folder.mp4").mkdir()
    assert find_video([tmp_path / "folder.mp4"]) is None
    with pytest.raises(InputError, match=r"a\.MP4: is a video or a camera, which must be the only source"):
        find_video([image, video])


@pytest.mark.parametrize("url", ["ftp://host/a.jpg", "rtsp://host/stream", "file:///a.mp4"])
def test_a_url_of_another_scheme_is_refused(url):
    with pytest.raises(InputError, match=f"^{url}: expected a path, http:// or https://$"):
        find_video(["a.jpg", url])


def test_a_number_is_a_camera_unless_a_file_has_this_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_video(["0"]) == "0"
    assert find_video(["camera:12"]) == "camera:12"
    assert find_video(["a0"]) is None
    (tmp_path / "0").mkdir()
    assert find_video(["0"]) is None
    assert find_video(["camera:0"]) == "camera:0"
    with pytest.raises(InputError, match="^camera:front: expected the number of a camera, such as camera:0$"):
        find_video(["camera:front"])
    with pytest.raises(InputError, match="camera:977: is not a camera that can be opened: No such file"):
        open_source_video("camera:977")


def test_links_to_folders_are_followed_once(tmp_path):
    for name in ("photos/real/a.jpg", "elsewhere/b.jpg"):
        touch(tmp_path / name)
    photos = tmp_path / "photos"
    (photos / "all").symlink_to(tmp_path)  # leads back to photos and elsewhere
    (photos / "again").symlink_to(photos / "real")
    assert list(find_images([photos])) == ["all/elsewhere/b.jpg", "real/a.jpg"]


def test_videos_in_folders_are_reported(tmp_path):
    touch(tmp_path / "clip.mp4")
    with pytest.raises(InputError, match="contains no images, but 1 video, each of which must be the only"):
        find_images([tmp_path])
    touch(tmp_path / "a.jpg")
    videos = []
    assert list(find_images([tmp_path], on_video=videos.append)) == ["a.jpg"]
    assert videos == [tmp_path / "clip.mp4"]


def test_an_empty_source_is_refused():
    with pytest.raises(InputError, match="source '': is empty; expected an image"):
        find_images([""])


def test_urls_are_named_by_their_path(tmp_path):
    touch(tmp_path / "a.jpg")
    url = "https://host/b/../c%20d.jpg?size=3"
    assert find_images([url]) == {"c d.jpg": url}
    other = "http://host/b/c%20d.jpg"
    assert find_images([tmp_path / "a.jpg", url, other, url]) == {
        "a.jpg": tmp_path / "a.jpg",
        "host/b/c d.jpg": url,
        "host/b/c d-2.jpg": other,
    }
    assert find_video(["https://host/clip.webm?quality=high"]) == "https://host/clip.webm?quality=high"
    assert find_video([url, tmp_path]) is None
