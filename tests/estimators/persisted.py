"""What the tests of saved estimators share: data, classes, comparisons, forgery."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import torch
from scipy import sparse
from sklearn.base import clone
from skorch.callbacks import Callback
from torch import nn
from torch.utils.data import Dataset

from skinfluence import (
    load_estimator,
)
from skinfluence._files import checksum, sealed, unsealed
from skinfluence.trajectory import from_json, to_json


class Net(nn.Module):
    """What a user writes: buffers, tied weights, an activation of its own."""

    def __init__(self, width=4, activation=torch.tanh):
        super().__init__()
        self.first = nn.Linear(3, width)
        self.second = nn.Linear(width, width)
        self.third = nn.Linear(width, width)
        self.third.weight = self.second.weight
        self.norm = nn.BatchNorm1d(width)
        self.last = nn.Linear(width, 2)
        self.activation = activation

    def forward(self, X):
        inner = self.second(self.activation(self.norm(self.first(X))))
        return self.last(self.third(inner))


class Rows(Dataset):
    """A Dataset that can be saved."""

    def __init__(self, X, y):
        self.X, self.y = X, y

    def __len__(self):
        return len(self.X)

    def __getitem__(self, row):
        return self.X[row], self.y[row]


class Counter(Callback):
    """A callback with a memory of its own."""

    def __init__(self):
        self.seen_ = {"epochs": 0, (1, 2): {np.float32(0.1)}}

    def on_epoch_end(self, net, **kwargs):
        self.seen_["epochs"] += 1
        self.last_loss_ = torch.tensor(net.history[-1, "train_loss"])


def squared(y_pred, y_true):
    return ((y_pred - y_true[:, None]) ** 2).mean(1)


def data(n_samples=24, dtype=np.float64):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_samples, 3)).astype(dtype)
    return X, np.array(["no", "yes"])[(X[:, 0] + X[:, 1] > 0).astype(int)]


OPTIONS = {"max_epochs": 3, "batch_size": 7, "lr": 0.05, "random_state": 0}
OWN = [Net, Rows, Counter]


def there_and_back(net, path, **options):
    net.save(path)
    return load_estimator(path, **options)


def plain(value):
    """Return a value in a form that `==` compares to the bit."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *map(plain, value)]
    if isinstance(value, torch.Tensor):
        kind = type(value), value.dtype, value.requires_grad, value.shape
        return [*kind, value.detach().numpy().tobytes()]
    if sparse.issparse(value):
        return [type(value), plain([value.data, value.indices, value.indptr])]
    if isinstance(value, (np.ndarray, np.generic)):
        value = np.asarray(value)
        return value.dtype, value.shape, value.tolist()
    if isinstance(value, nn.Module):
        return [type(value), str(value), value.training, plain(value.state_dict())]
    if isinstance(value, torch.optim.Optimizer):
        return [type(value), plain(value.state_dict())]
    if isinstance(value, torch.Generator):
        return plain(value.get_state())
    if isinstance(value, np.random.RandomState):
        return plain(value.get_state(legacy=False))
    if isinstance(value, (type, type(plain), type(print), float, int, str, type(None))):
        return type(value), repr(value)
    if isinstance(value, (torch.dtype, torch.device, set, Path)):
        return value
    return [type(value), plain(vars(value))]


def attributes(net):
    # The schedulers are made anew; a trajectory has tests of its own.
    left_out = "trajectory_", "virtual_params_", "callbacks_", "callbacks", "history_"
    return plain({k: v for k, v in vars(net).items() if k not in left_out})


def history(net):
    return plain([{**line, "dur": None} for line in net.history_])


def assert_same(mine, theirs, X, y):
    """Compare what can be asked, before and after training goes on."""
    assert type(mine) is type(theirs)
    assert history(mine) == history(theirs)
    assert attributes(mine) == attributes(theirs)
    assert mine.get_params().keys() == theirs.get_params().keys()
    clone(mine)
    for _ in range(2):
        for name in ("predict", "predict_proba"):
            if hasattr(theirs, name):
                outputs = getattr(mine, name)(X), getattr(theirs, name)(X)
                assert plain(outputs[0]) == plain(outputs[1])
        assert plain(mine.module_) == plain(theirs.module_)
        assert plain(mine.optimizer_) == plain(theirs.optimizer_)
        if mine.record is not None:
            assert plain(mine.influence(X, y)) == plain(theirs.influence(X, y))
        mine.partial_fit(X, y)
        theirs.partial_fit(X, y)
        assert history(mine) == history(theirs)


def forge(folder, name, change):
    """Change a file as one would who knows about checksums."""
    path = folder / name
    path.write_bytes(change(path.read_bytes()))
    manifest = unsealed(folder / "manifest.json", "skinfluence estimator", 9)
    data = path.read_bytes()
    manifest["files"][name] = {
        "bytes": len(data),
        "crc32": checksum(data),
    }
    (folder / "manifest.json").write_bytes(sealed(manifest))


def rename_type(data, old, new):
    """Let a skops file name another class or function."""
    source, target = zipfile.ZipFile(io.BytesIO(data)), io.BytesIO()
    with zipfile.ZipFile(target, "w") as out:
        for name in source.namelist():
            content = source.read(name)
            if name == "schema.json":
                schema = json.loads(content)
                for node in schema["content"]:
                    if (node.get("__module__"), node.get("__class__")) == old:
                        node["__module__"], node["__class__"] = new
                content = json.dumps(schema).encode()
            out.writestr(name, content)
    return target.getvalue()


def sheet_of(data):
    return from_json(data.decode())


def written_sheet(sheet):
    return to_json(sheet).encode()
