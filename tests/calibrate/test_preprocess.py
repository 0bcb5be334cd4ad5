import numpy as np
import pytest
from PIL import Image

from onnxq.calibrate.preprocess import Preprocess, parse_preprocess
from onnxq.calibrate.sources import open_data
from onnxq.errors import DataError, OptionError, UnknownNameError
from onnxq.runtime.session import InputInfo

INPUTS = [InputInfo("x", np.dtype(np.float32), (None, 3, 4, 4))]
TEXT = "resize=8,crop=4,rgb,scale=1/255,mean=0.5:0.4:0.3,std=0.2:0.1:0.5,nchw"


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    for i, size in enumerate([(16, 8), (8, 12), (9, 9)]):
        pixels = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    return tmp_path


def test_the_grammar():
    steps = parse_preprocess(TEXT)
    assert steps == Preprocess(
        resize=8, crop=(4, 4), scale=1 / 255, mean=(0.5, 0.4, 0.3), std=(0.2, 0.1, 0.5)
    )
    other = parse_preprocess("resize=6x5, bgr, letterbox=7x9, fill=0, mean=1, nhwc")
    assert other == Preprocess(
        resize=(6, 5), color="bgr", letterbox=(7, 9), fill=0, mean=(1.0,), layout="nhwc"
    )


def test_a_toml_file_says_the_same(tmp_path):
    file = tmp_path / "p.toml"
    file.write_text(
        'resize = 8\ncrop = [4, 4]\ncolor = "rgb"\nscale = "1/255"\n'
        'mean = [0.5, 0.4, 0.3]\nstd = [0.2, 0.1, 0.5]\nlayout = "nchw"\n'
    )
    assert parse_preprocess(str(file)) == parse_preprocess(TEXT)


def test_pixels_are_scaled_centred_and_laid_out(images):
    pixels = np.asarray(Image.open(images / "0.png"), np.float64)  # 8 × 16: resize=8 keeps it
    centre = pixels[2:6, 6:10]
    expected = (centre / 255 - [0.5, 0.4, 0.3]) / [0.2, 0.1, 0.5]
    found = parse_preprocess(TEXT)(images / "0.png")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.transpose(2, 0, 1)[None], rtol=1e-5, atol=1e-6)
    bgr = parse_preprocess(TEXT.replace("rgb", "bgr").replace("nchw", "nhwc"))(images / "0.png")
    plain = parse_preprocess("crop=4,nhwc")(images / "0.png")
    np.testing.assert_array_equal(plain[0], centre)
    assert bgr.shape == (1, 4, 4, 3)
    np.testing.assert_allclose(bgr[0, ..., 0], (centre[..., 2] / 255 - 0.5) / 0.2, rtol=1e-5)


def test_resize_keeps_the_aspect_and_letterbox_fills(images):
    assert parse_preprocess("resize=4")(images / "0.png").shape == (1, 3, 4, 8)
    boxed = parse_preprocess("letterbox=16x16")(images / "0.png")
    assert boxed.shape == (1, 3, 16, 16)
    assert (boxed[:, :, 8:] == 114).all()
    assert parse_preprocess("gray")(images / "2.png").shape == (1, 1, 9, 9)


def test_a_folder_of_images_is_data(images):
    source = open_data(images, INPUTS, TEXT)
    assert source.length == 3
    for _ in range(2):
        found = list(source)
        np.testing.assert_array_equal(found[1]["x"], parse_preprocess(TEXT)(images / "1.png"))


def test_images_need_steps_and_one_input(images):
    with pytest.raises(OptionError, match="--preprocess"):
        open_data(images, INPUTS)
    with pytest.raises(DataError, match="2 inputs"):
        open_data(images, [*INPUTS, InputInfo("y", np.dtype(np.float32), (1,))], TEXT)


def test_mixed_and_empty_folders(images, tmp_path):
    np.save(images / "a.npy", np.zeros((2, 3, 4, 4), np.float32))
    with pytest.raises(DataError, match="both"):
        open_data(images, INPUTS, TEXT)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="holds no"):
        open_data(empty, INPUTS)


def test_a_broken_image_is_named(images):
    (images / "1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1\.png"):
        list(open_data(images, INPUTS, TEXT))


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("resise=3", UnknownNameError, "resize"),
        ("upsidedown", UnknownNameError, "upsidedown"),
        ("scale=1/0", OptionError, "scale"),
        ("crop=0", OptionError, "crop"),
        ("crop=1x2x3", OptionError, "crop"),
        ("mean=a", OptionError, "mean"),
        ("mean=1:2", OptionError, "2 numbers"),
        ("std=0", OptionError, "zero"),
        ("rgb,bgr", OptionError, "twice"),
        ("nothing.toml", OptionError, "cannot be read"),
    ],
)
def test_bad_steps(text, error, message):
    with pytest.raises(error, match=message):
        parse_preprocess(text)
