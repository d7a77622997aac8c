"""Samples that a report shows from files, and their names."""

import base64
import io
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from skinfluence.inspection._report.samples import Files, Texts, showing_of


def image_of(shown):
    head, data = shown["image"].split(",")
    return head, Image.open(io.BytesIO(base64.b64decode(data)))


def test_pictures_in_files_are_made_small_and_turned(tmp_path):
    # Blue above, red below, lying on its side.
    lying = np.zeros((400, 600, 3), dtype=np.uint8)
    lying[:, :300, 2], lying[:, 300:, 0] = 255, 255
    image = Image.fromarray(lying)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "photo.jpg", exif=exif)
    tiny = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    Image.fromarray(tiny).save(tmp_path / "tiny.png")
    files = [tmp_path / "photo.jpg", tmp_path / "tiny.png"]
    samples = showing_of("raw", files, None, None)
    photo, small = samples.show(np.arange(2))
    assert [photo["name"], small["name"]] == list(map(str, files))
    head, shown = image_of(photo)
    assert (head, shown.size) == ("data:image/jpeg;base64", (128, 192))
    assert np.argmax(shown.getpixel((60, 20))) == 2
    assert np.argmax(shown.getpixel((60, 170))) == 0
    head, shown = image_of(small)
    assert (head, small["small"]) == ("data:image/png;base64", True)
    np.testing.assert_array_equal(np.asarray(shown), tiny)
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    _, shown = image_of(Files([tmp_path / "clear.png"]).show(np.array([0]))[0])
    assert (np.asarray(shown) == 255).all()


def test_names_are_those_of_a_series(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "b.png")
    Image.new("L", (8, 8), 9).save(tmp_path / "c.png")
    files = pd.Series(sorted(tmp_path.iterdir()), index=["one", "two", "three"])
    samples = showing_of("raw", files, None, None)
    assert isinstance(samples, Files)
    assert [each["name"] for each in samples.show(np.array([2, 0]))] == ["three", "one"]
    # The same content, whatever its name.
    assert samples.key(0) == samples.key(1) != samples.key(2)
    texts = pd.Series(["some words", "others"], index=["line 2", "line 3"])
    samples = showing_of("raw", texts, None, None)
    assert isinstance(samples, Texts)
    assert samples.show(np.array([1]))[0]["name"] == "line 3"


def test_names_of_files_are_no_samples():
    texts = showing_of("raw", ["a.png", "b.png"], None, None)
    assert texts.show(np.array([0])) == [{"text": [["a.png", 0]], "length": 5}]
    assert isinstance(showing_of("raw", [Path("a.png")], None, None), Files)
