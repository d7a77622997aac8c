"""Features of models that are on the machine, or are not."""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from skinfluence.commands._features import Sentences, picture_features, text_features
from skinfluence.exceptions import TableError
from tests import fresh
from tests.commands.pictures import DARK, pixels, problem_of, write_pictures


def network():
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Tanh(), nn.Linear(5, 9))


def as_module(monkeypatch, name, **content):
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    vars(module).update(content)
    monkeypatch.setitem(sys.modules, name, module)
    return module


def prepared(image):
    """Return the picture as torchvision would: small, in its own size before."""
    assert image.mode == "RGB"
    small = np.asarray(image.resize((2, 2), Image.Resampling.BOX))
    return torch.from_numpy(small / np.float32(255)).permute(2, 0, 1)


@pytest.fixture
def torchvision(monkeypatch, tmp_path):
    """Stand in for torchvision, with one model; return the folder of weights."""

    def weights_of(name):
        if name != "tiny":
            raise ValueError(name)
        default = SimpleNamespace(
            url="https://x/tiny-1.pth", transforms=lambda: prepared
        )
        return SimpleNamespace(DEFAULT=default)

    models = as_module(
        monkeypatch,
        "torchvision.models",
        get_model_weights=weights_of,
        get_model=lambda name, weights: network(),
    )
    as_module(monkeypatch, "torchvision", models=models)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


def test_pictures_are_seen_by_all_layers_but_the_last(torchvision, tmp_path):
    model = network()
    torch.save(model.state_dict(), torchvision / "tiny-1.pth")
    images = write_pictures(tmp_path / "images")
    # Larger than what other features are given.
    Image.fromarray(pixels(1, DARK, (90, 60))).save(images / DARK / "large.png")
    options = ["--features", "torchvision:tiny"]
    problem = problem_of(images, *options)
    found = problem.inputs._features.transformer[0].transform(
        problem.table.frame["path"].tolist()
    )
    files = [Image.open(images / name) for name in problem.table.places]
    inputs = torch.stack([prepared(file) for file in files])
    np.testing.assert_allclose(
        found, model[:3](inputs).detach().numpy(), rtol=1e-5, atol=1e-6
    )
    assert problem.X.shape == (41, 5)
    assert problem.inputs.in_words() == {"Pictures": "features by torchvision:tiny"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tiny", "needs the file 'tiny-1.pth' in '.*checkpoints': put it there, since"),
        ("huge", "torchvision has no model 'huge'"),
    ],
)
def test_models_whose_weights_are_not_there(torchvision, name, said):
    with pytest.raises(TableError, match=said):
        picture_features(f"torchvision:{name}", 0)


def test_weights_that_are_damaged(torchvision):
    (torchvision / "tiny-1.pth").write_bytes(b"half a file")
    with pytest.raises(TableError, match=r"'tiny-1.pth' in .* cannot be read"):
        picture_features("torchvision:tiny", 0)


def test_texts_are_embedded_by_a_model_that_is_there(monkeypatch):
    def model(name, **options):
        assert options["local_files_only"]
        if name != "here":
            raise OSError("offline")
        return SimpleNamespace(encode=lambda texts: [[len(text)] for text in texts])

    as_module(monkeypatch, "sentence_transformers", SentenceTransformer=model)
    np.testing.assert_array_equal(Sentences("here").transform(["ab", "c"]), [[2], [1]])
    with pytest.raises(TableError, match="needs this model on this machine"):
        text_features("sentence-transformers:there")


# Python does not see what the allocator of a process holds, but the system does.
_MEMORY = """
from types import SimpleNamespace
import numpy as np
from skinfluence.commands._patches import PatchFeatures

def held():
    with open("/proc/self/status") as file:
        return next(int(s.split()[1]) << 10 for s in file if s.startswith("VmRSS"))

rng = np.random.default_rng(0)
pixels = rng.integers(0, 256, (1000, 32, 32, 3), dtype=np.uint8)
pictures = [SimpleNamespace(pixels=each) for each in pixels]
features = PatchFeatures().fit(pictures)
features.transform(pictures[:8])  # the first convolution loads libraries
before = held()
found = features.transform(pictures)
print(held() - before, found.nbytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_features_of_patches_hold_no_more_memory_than_their_own():
    held, own = map(int, fresh.run(_MEMORY).split())
    # The buffers of one convolution are some 30 MB; kept between results, they were
    # 140 MB.
    assert held < own + 2**26
