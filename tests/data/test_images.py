import numpy as np
import pytest
from PIL import Image

from mvit_det.data.images import ImageSize, check_image, read_image, read_size
from mvit_det.errors import InputError

GRAY = np.array([[0, 64], [128, 255], [32, 96]], np.uint8)  # 3 rows, 2 columns


def save_and_read(path, image, **options):
    image.save(path, **options)
    return np.asarray(read_image(path))


def to_rgb(gray):
    return np.repeat(gray[..., None], 3, axis=2)


def test_gray_and_palette_become_rgb(tmp_path):
    gray = Image.fromarray(GRAY)
    assert (save_and_read(tmp_path / "gray.png", gray) == to_rgb(GRAY)).all()
    palette = Image.fromarray(to_rgb(GRAY)).quantize(8)
    assert palette.mode == "P"
    assert (save_and_read(tmp_path / "palette.png", palette) == to_rgb(GRAY)).all()


def test_16_bit_gray_is_scaled_not_clipped(tmp_path):
    deep = Image.fromarray(GRAY.astype(np.uint16) * 257)
    assert deep.mode == "I;16"
    for name in ("deep.png", "deep.tif"):
        assert (save_and_read(tmp_path / name, deep) == to_rgb(GRAY)).all()


def test_8_bit_gray_in_16_bits_is_not_darkened(tmp_path):
    deep = Image.fromarray(GRAY.astype(np.uint16))
    assert deep.mode == "I;16"
    assert (save_and_read(tmp_path / "deep.png", deep) == to_rgb(GRAY)).all()


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (0, 65535, ""),
        (0, 2**14, ""),  # 65 levels
        (0, 2**14 - 1, "its values are 0 to 16383 of 65535; at most 64 of 256 gray levels remain in 8 bits"),
        (40_000, 41_000, "its values are 40000 to 41000 of 65535; at most 5 of 256 gray levels"),
        (0, 255, ""),  # 8-bit gray in 16 bits
    ],
)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_gray_that_uses_few_of_its_values_is_suspicious(tmp_path, low, high, message, suffix):
    path = tmp_path / f"deep{suffix}"
    Image.fromarray(np.linspace(low, high, 400).astype(np.uint16).reshape(20, 20)).save(path)
    warnings = check_image(path).warnings
    assert list(warnings) == (["low_range"] if message else [])
    assert message in warnings.get("low_range", "")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp"])
def test_the_size_is_that_of_the_upright_image(tmp_path, name):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(to_rgb(GRAY)).save(tmp_path / name, exif=exif)  # 2 x 3 px
    size = ImageSize(3, 2, orientation=6)
    assert read_size(tmp_path / name) == check_image(tmp_path / name).size == size
    assert read_image(tmp_path / name).size == (3, 2)
    assert size.stored == (2, 3)


def test_the_size_of_a_png_is_read_without_its_pixels(tmp_path):
    path = tmp_path / "half.png"
    Image.effect_noise((64, 32), 50).save(path)
    path.write_bytes(path.read_bytes()[:500])
    assert read_size(path) == ImageSize(64, 32)
    with pytest.raises(InputError, match="half.png"):
        check_image(path)


def test_transparent_pixels_are_put_on_white(tmp_path):
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, 0] = 200
    pixels[0, :, 3] = (255, 0, 102)
    expected = [[200, 0, 0], [255, 255, 255], [233, 153, 153]]
    assert save_and_read(tmp_path / "clear.png", Image.fromarray(pixels))[0].tolist() == expected


def test_cmyk_becomes_rgb(tmp_path):
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    for name in ("cyan.jpg", "cyan.tif"):
        pixel = save_and_read(tmp_path / name, cyan)[4, 4].astype(int)
        assert np.abs(pixel - (0, 255, 255)).max() < 8, name


@pytest.mark.parametrize(
    ("orientation", "turned"), [(1, GRAY), (3, GRAY[::-1, ::-1]), (6, np.rot90(GRAY, -1))]
)
def test_exif_orientation_is_applied(tmp_path, orientation, turned):
    image = Image.fromarray(to_rgb(GRAY))
    exif = image.getexif()
    exif[0x0112] = orientation
    assert (save_and_read(tmp_path / "turned.png", image, exif=exif) == to_rgb(turned)).all()


def test_a_bad_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.png: no such image"):
        read_image(tmp_path / "none.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(InputError, match=r"empty\.png: is empty; expected an image"):
        read_image(tmp_path / "empty.png")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(InputError, match=r"text\.png: is not an image"):
        read_image(tmp_path / "text.png")
    noise = np.random.default_rng(0).integers(0, 256, (99, 99, 3), np.uint8)
    for name in ("cut.png", "cut.jpg"):
        Image.fromarray(noise).save(tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(InputError, match=rf"{name}: is truncated or damaged"):
            read_image(tmp_path / name)
