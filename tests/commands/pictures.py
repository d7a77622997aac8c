"""Small pictures in files, in a folder for each class."""

import numpy as np
from PIL import Image

from skinfluence.commands._arguments import make_parser
from skinfluence.commands._problem import read_problem

# A folder may have any name.
DARK, LIGHT = "dark", "<b>li\nght"
N = 40
WRONG = [f"{LIGHT}/-03.png", f"{LIGHT}/-17.png", f"{DARK}/-22.png", f"{DARK}/-38.png"]


def pixels(number, label, size=(8, 8)):
    """Return stripes, across or upright, in noise; light ones are brighter too."""
    rng = np.random.default_rng(number)
    noise = rng.integers(0, 30, (size[1], size[0], 3), dtype=np.uint8)
    rows, columns = np.indices((size[1], size[0]), dtype=np.uint8)
    along, least = (rows, 20) if label == DARK else (columns, 90)
    return least + noise + 60 * ((along // 2) % 2)[..., None]


def write_pictures(folder, n=N, wrong=(), size=(8, 8)):
    """Write pictures of two kinds, some of them under the other label."""
    folder.mkdir()
    for number in range(n):
        label = DARK if number < n // 2 else LIGHT
        image = Image.fromarray(pixels(number, label, size))
        name = f"-{number:02d}.png"
        other = LIGHT if label == DARK else DARK
        if f"{other}/{name}" in wrong:
            label = other
        (folder / label).mkdir(exist_ok=True)
        image.save(folder / label / name)
    return folder


def problem_of(*arguments):
    """Return what the command line reads."""
    options = ["audit", *map(str, arguments), "--report", "r.html"]
    return read_problem(make_parser().parse_args(options))
