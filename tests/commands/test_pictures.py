"""Pictures: read from files, audited, cleaned and checked."""

import base64
import io
import json
import os
import struct
import zlib
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skinfluence.commands import main
from skinfluence.commands._clean import _changes
from skinfluence.commands._cleaning import Cleaning
from skinfluence.commands._features import picture_features
from skinfluence.commands._patches import PatchFeatures
from skinfluence.commands._picture_files import _read
from skinfluence.commands._whitening import Whitening
from skinfluence.exceptions import TableError
from tests.commands.pictures import (
    DARK,
    LIGHT,
    WRONG,
    N,
    pixels,
    problem_of,
    write_pictures,
)
from tests.commands.tables import page_data, write_decisions


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """Return a folder with pictures that have been audited, and the next command."""
    folder = tmp_path_factory.mktemp("audited")
    write_pictures(folder / "images", wrong=WRONG)
    (folder / "images" / ".DS_Store").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        options = ["--report", "r.html", "--n", "8"]
        assert main(["audit", "images", *options]) == 0
    return folder


def test_wrong_folders_are_among_the_first(audited):
    suspects = page_data(audited / "r.html")["suspects"]
    # By chance 8 of 40 pictures hold three of four or more once in 40 times.
    assert len(set(WRONG) & {each["name"] for each in suspects}) >= 3


def test_small_pictures_are_shown_to_the_pixel(audited):
    for each in page_data(audited / "r.html")["suspects"]:
        kind, data = each["image"].split(",")
        assert kind == "data:image/png;base64"
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        file = np.asarray(Image.open(audited / "images" / each["name"]))
        np.testing.assert_array_equal(shown, file)


def test_decisions_are_carried_out_in_a_new_folder(audited, tmp_path, capsys):
    data = page_data(audited / "r.html")
    problem = problem_of(audited / "images")
    place = {name: row for row, name in enumerate(problem.table.places)}
    gone, moved = f"{DARK}/-38.png", f"{DARK}/-22.png"
    decisions = [(place[gone], "remove", ""), (place[moved], "relabel", LIGHT)]
    path = write_decisions(tmp_path / "d.csv", data["fingerprint"], decisions)
    images, output, changes = audited / "images", tmp_path / "new", tmp_path / "c.csv"
    how = ["--decisions", str(path), "--output", str(output), "--epochs", "2"]
    assert main(["clean", str(images), *how, "--changes", str(changes)]) == 0
    expected = {
        name.replace(moved, f"{LIGHT}/-22.png"): (images / name).read_bytes()
        for name in problem.table.places
        if name != gone
    }
    found = {
        file.relative_to(output).as_posix(): file.read_bytes()
        for file in output.rglob("*.png")
    }
    assert found == expected
    said = capsys.readouterr().out
    assert "Removed: 1 pictures (picture dark/-38.png)." in said
    assert r"(picture dark/-22.png from dark to <b>li\nght)" in said
    assert "39 pictures written to" in said
    assert set(pd.read_csv(changes)["picture"]) == {gone, moved}
    # A second time the folder is there.
    assert main(["clean", str(images), *how, "--force"]) == 2


def test_relabelled_pictures_replace_no_others(tmp_path):
    images = write_pictures(tmp_path / "images")
    # The same name, but for the folder.
    (images / LIGHT / "-20.png").rename(images / LIGHT / "-00.png")
    file = problem_of(images).table.file
    row = next(
        k for k, name in enumerate(file.read(None)[1]) if name == f"{LIGHT}/-00.png"
    )
    file.copy(tmp_path / "new", (), {row: DARK}, "label")
    assert len(list((tmp_path / "new").rglob("*.png"))) == N
    assert (tmp_path / "new" / DARK / "-00.png").read_bytes() == (
        images / DARK / "-00.png"
    ).read_bytes()


def test_no_spreadsheet_runs_a_name_of_a_folder(tmp_path):
    images = write_pictures(tmp_path / "images")
    (images / DARK).rename(images / "=dark")
    changes = _changes(problem_of(images), Cleaning(np.array([0, N - 1]), {}))
    assert changes["picture"].tolist() == [f"{LIGHT}/-20.png", "'=dark/-19.png"]


def test_next_command_is_told(audited):
    page = (audited / "r.html").read_text(encoding="utf-8")
    assert "skinfluence clean images --decisions decisions.csv --output clean" in page


def test_table_with_paths_is_the_same_as_folders(tmp_path):
    folders = problem_of(write_pictures(tmp_path / "images", wrong=WRONG))
    names = folders.table.places
    frame = pd.DataFrame(
        {
            "file": [f"images/{name}" for name in names],
            "who": "ann",
            "y": [name.rsplit("/", 1)[0] for name in names],
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    table = problem_of(tmp_path / "t.csv", "--target", "y", "--image", "file")
    np.testing.assert_array_equal(table.X, folders.X)
    np.testing.assert_array_equal(table.target.y, folders.target.y)
    shown = table.shown(table.table)
    assert shown.index.tolist() == frame["file"].tolist()
    assert [each.name for each in table.columns] == ["file", "who"]


def test_copies_and_leakage_are_found(tmp_path, capsys):
    train = write_pictures(tmp_path / "train")
    valid = write_pictures(tmp_path / "valid", size=(8, 9))
    Image.fromarray(pixels(1, DARK)).save(train / DARK / "copy.bmp")
    Image.fromarray(pixels(3, DARK)).save(valid / DARK / "leak.png")
    for file in valid.rglob("-*.png"):
        Image.open(file).rotate(90, expand=True).save(file)
    found = tmp_path / "f.json"
    only = ["--only", "duplicates", "leakage", "--json", str(found)]
    bounds = ["--fail-on", "duplicates>0,leakage>1"]
    arguments = ["check", str(train), "--valid", str(valid), *only, *bounds]
    assert main(arguments) == 3
    issues = {each["kind"]: each for each in json.loads(found.read_text())["issues"]}
    assert issues["duplicates"]["places"] == [f"{DARK}/copy.bmp"]
    assert "valid" in issues["leakage"]["where"]
    assert issues["leakage"]["count"] == 1
    said = capsys.readouterr().out
    assert "Failed: duplicates." in said
    assert "- 1 image (2.4 %) repeats another (picture dark/copy.bmp)." in said


def test_without_a_model_there_are_no_features(tmp_path, monkeypatch, capsys):
    monkeypatch.delattr(PatchFeatures, "fit")
    images = write_pictures(tmp_path / "images")
    assert main(["check", str(images), "--only", "near_duplicates"]) == 0
    assert main(["check", str(images), "--only", "label_errors"]) == 1
    assert "unexpected AttributeError" in capsys.readouterr().err


def test_faults_of_columns_are_none_of_pictures(tmp_path, capsys):
    images = write_pictures(tmp_path / "images")
    assert main(["check", str(images), "--only", "constant"]) == 2
    assert "'constant' needs a table, not pictures." in capsys.readouterr().err


def test_other_sizes_and_greys_are_made_alike_and_told(tmp_path):
    images = write_pictures(tmp_path / "images")
    Image.fromarray(pixels(1, DARK, (40, 20))).save(images / DARK / "large.jpg")
    Image.new("L", (8, 8), 77).save(images / DARK / "grey.png")
    turned = Image.fromarray(pixels(1, DARK, (8, 16)))
    exif = turned.getexif()
    exif[0x0112] = 6  # to be turned by a quarter
    turned.save(images / DARK / "turned.png", exif=exif)
    problem = problem_of(images)
    (column,) = problem.columns
    assert column.why == (
        "3 sizes from 8 x 8 pixels to 40 x 20 pixels, resized to 32 x 32 pixels; "
        "1 of 43 are grey, taken as coloured"
    )
    shown = {each.name: each.pixels for each in problem.table.frame["path"]}
    assert {each.shape for each in shown.values()} == {(32, 32, 3)}
    assert (shown[f"{DARK}/grey.png"] == 77).all()
    upright = np.asarray(turned.rotate(-90, expand=True).resize((32, 32), Image.BOX))
    np.testing.assert_array_equal(shown[f"{DARK}/turned.png"], upright)


def test_what_is_clear_is_white(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, (6, 5, 4), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    opacity = values[..., 3:] / 255
    expected = values[..., :3] * opacity + 255 * (1 - opacity)
    shown = _read(tmp_path / "a.png", "a.png", (5, 6))
    # Pillow rounds twice.
    np.testing.assert_allclose(shown.pixels, expected, atol=1)
    np.testing.assert_array_equal(np.asarray(shown.image()), shown.pixels)
    palette = Image.fromarray((values[..., 0] % 2) * 3).convert("P")
    palette.save(tmp_path / "b.gif", transparency=0)
    shown = _read(tmp_path / "b.gif", "b.gif", (5, 6)).pixels
    assert (shown == np.where(values[..., :1] % 2, 3, 255)).all()


def test_features_are_those_of_plain_patches():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 9, 8, 3), dtype=np.uint8)
    pictures = [SimpleNamespace(pixels=each) for each in images]
    features = PatchFeatures(0)
    found = features.fit(pictures).transform(pictures)
    filters = features._filters.double().numpy().reshape(256, -1)
    offsets = features._offsets.double().numpy().ravel()
    for row, image in enumerate(images.astype(float)):
        pooled = 0
        for seen in (image, image[:, ::-1]):
            responses = np.zeros((4, 3, 512))
            for top in range(4):
                for left in range(3):
                    patch = seen[top : top + 6, left : left + 6].transpose(2, 0, 1)
                    patch = (patch - patch.mean()) / np.sqrt(patch.var() + 10)
                    z = filters @ patch.ravel() - offsets
                    responses[top, left] = np.maximum(np.r_[z, -z] - 0.25, 0)
            colours = seen - 128
            parts = [
                responses[rows, columns].mean(axis=(0, 1))
                for rows in (slice(0, 2), slice(2, 4))
                # The parts of three columns share the middle one.
                for columns in (slice(0, 2), slice(1, 3))
            ]
            means = [
                colours[rows, columns].mean(axis=(0, 1))
                # Of nine rows too.
                for rows in (slice(0, 5), slice(4, 9))
                for columns in (slice(0, 4), slice(4, 8))
            ]
            both = np.concatenate([np.stack(parts, axis=1), np.stack(means, axis=1)])
            pooled = pooled + both.ravel() / 2
        # In single precision, with pixels up to 255.
        np.testing.assert_allclose(found[row], pooled, rtol=1e-4, atol=1e-4)


def test_whitened_features_are_uncorrelated_and_of_the_usual_norm():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 12)) @ rng.normal(size=(12, 12)) + 3
    white = Whitening().fit(X).transform(X)
    assert np.square(white).sum(axis=1).mean() == pytest.approx(20, rel=0.01)
    covariance = np.cov(white.T)
    spread = np.diag(covariance)
    np.testing.assert_allclose(covariance, np.diag(spread), atol=1e-9)
    # All but those below the variance of one feature are in about the same scale.
    variances = np.linalg.eigvalsh(np.corrcoef(X.T))[::-1]
    np.testing.assert_allclose(
        spread / spread[0],
        variances / (variances + 1) * (variances[0] + 1) / variances[0],
        rtol=0.01,
    )


def table(folder, *paths):
    """Write a table of pictures, the last of them at other paths; return its path."""
    images = write_pictures(folder / "images")
    names = [file.relative_to(folder).as_posix() for file in images.rglob("*.png")]
    names = [*names[: N - len(paths)], *paths]
    frame = pd.DataFrame({"path": names, "label": ["a", "b"] * (N // 2)})
    frame.to_csv(folder / "t.csv", index=False)
    return folder / "t.csv"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("none.png", r"There is no picture 'none.png', named in line \d+ of 't.csv'\."),
        ("../t.png", r"must have paths that lead down .* got '../t.png' in line \d+"),
        ("/etc/passwd", r"must have paths that lead down .* got '/etc/passwd'"),
        ("images", r"'images' in line \d+ of 't.csv' is no file"),
        ("pipe.png", r"'pipe.png' in line \d+ of 't.csv' is no file"),
        ("link.png", r"'link.png' in line \d+ of 't.csv' leads out of its folder"),
        ("t.csv", "'t.csv' is no picture of a known format"),
        ("", r"must name a picture in every row, but is empty in line \d+"),
    ],
)
def test_paths_that_name_no_picture(tmp_path, path, said):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to("/etc/hostname")
    paths = table(tmp_path, path)
    with pytest.raises(TableError, match=said):
        problem_of(paths, "--target", "label", "--image", "path")


def cut(path):
    path.write_bytes(path.read_bytes()[:-60])


def bomb(path):
    # A head that promises more pixels than there are.
    Image.new("1", (20_000, 20_000)).save(path)


def deep(path):
    Image.fromarray(np.full((8, 8), 1000, dtype=np.uint16)).save(path)


def deep_colours(path):
    # As a PPM, whatever its name: Pillow writes no colours of 16 bits.
    path.write_bytes(b"P6 8 8 65535\n" + bytes(2 * 3 * 8 * 8))


def deep_png(path):
    def chunk(kind, data):
        sums = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + sums

    head = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    rows = zlib.compress(8 * bytes(1 + 2 * 3 * 8))
    parts = chunk(b"IHDR", head), chunk(b"IDAT", rows), chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (deep_colours, "picture .*-00.png' has more than 8 bits for a channel"),
        (deep_png, "picture .*-00.png' has more than 8 bits for a channel"),
        (cut, "picture .*-00.png' cannot be read: it is damaged"),
        (bomb, "picture .*-00.png' has more than 89,478,485 pixels"),
        (deep, "picture .*-00.png' has more than 8 bits for a channel"),
        (lambda path: path.write_text("hello"), "-00.png' is no picture of a known"),
        (lambda path: path.write_bytes(b""), "-00.png' is no picture of a known"),
    ],
    ids=["deep colours", "deep png", "cut", "bomb", "deep", "text", "empty"],
)
def test_files_that_are_no_pictures(tmp_path, change, said):
    images = write_pictures(tmp_path / "images")
    change(images / DARK / "-00.png")
    with pytest.raises(TableError, match=said):
        problem_of(images)


def nothing(folder):
    folder.mkdir()


def one_class(folder):
    write_pictures(folder)
    for file in (folder / LIGHT).iterdir():
        file.unlink()


def stray(folder):
    write_pictures(folder)
    (folder / "notes.txt").touch()


def linked(folder):
    write_pictures(folder)
    (folder / DARK / "link.png").symlink_to(folder / DARK / "-00.png")


def misnamed(folder):
    write_pictures(folder)
    os.rename(folder / DARK / "-00.png", os.fsencode(folder) + b"/dark/\xff.png")


def unlabelled(folder):
    write_pictures(folder)
    (folder / DARK).rename(folder / "NA")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (nothing, "is a folder without pictures: name a table, or"),
        (one_class, "The target 'label' is 'dark' in every row of 'images'"),
        (lambda folder: write_pictures(folder, 12), "at least 20 pictures with a"),
        (stray, "'notes.txt' in 'images' must be in the folder of its class"),
        (linked, "'dark/link.png' in 'images' is a link, and links are not followed"),
        (misnamed, r"The name of 'dark/\\udcff.png' is not text in UTF-8"),
        (unlabelled, "The folder 'NA' means a missing label: rename it"),
    ],
    ids=["nothing", "one class", "few", "stray", "link", "name", "missing"],
)
def test_folders_that_cannot_be_used(tmp_path, make, said):
    make(tmp_path / "images")
    with pytest.raises(TableError, match=said):
        problem_of(tmp_path / "images")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--target", "y"], "'images' has no column 'y'. It has 'path' and 'label'"),
        (["--text", "path"], "--text goes with a table, and 'images' is a folder of"),
        (["--image", "label"], "The target 'label' cannot be dropped, and has no kind"),
        (["--features", "torchvision"], "must be torchvision:NAME for this data, got"),
        (["--features", "timm:vit"], "must be torchvision:NAME for this data, got"),
        (["--column", "path=text"], "the model is given no column: leave --column out"),
        (["--drop", "path"], "the model is given no column"),
    ],
)
def test_options_that_do_not_go_with_folders(tmp_path, options, said):
    images = write_pictures(tmp_path / "images")
    with pytest.raises(TableError, match=said):
        problem_of(images, *options)


def test_a_table_needs_a_target_and_a_column_of_pictures(tmp_path):
    path = table(tmp_path)
    with pytest.raises(TableError, match="--target must name the column to predict"):
        problem_of(path)
    with pytest.raises(TableError, match="--features goes with pictures or texts"):
        problem_of(path, "--target", "label", "--features", "torchvision:resnet18")


def test_pictures_or_texts(tmp_path, capsys):
    both = ["--image", "a", "--text", "b"]
    with pytest.raises(SystemExit) as stopped:
        main(["check", str(tmp_path), *both])
    assert stopped.value.code == 2
    assert "--text: not allowed with argument --image" in capsys.readouterr().err


def test_features_of_a_package_that_is_missing(monkeypatch):
    monkeypatch.setattr("skinfluence.commands._features.find_spec", lambda name: None)
    with pytest.raises(TableError, match="needs the package torchvision, which is not"):
        picture_features("torchvision:resnet18", 0)


def test_without_pillow(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "skinfluence.commands._picture_files.find_spec", lambda name: None
    )
    with pytest.raises(TableError, match="Pictures need the package Pillow"):
        problem_of(write_pictures(tmp_path / "images"))


def test_outputs_of_folders_are_new_folders_elsewhere(tmp_path, capsys):
    images = write_pictures(tmp_path / "images")
    for output in (tmp_path, images / "clean"):
        how = ["--n-remove", "2", "--output", str(output)]
        assert main(["clean", str(images), *how]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == [images]
