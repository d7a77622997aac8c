"""Features of pictures and texts: learned from them, or by a model on this machine."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from ..exceptions import TableError
from ._choices import TEXT
from ._columns import in_words, word_weights
from ._kinds import Column
from ._patches import PatchFeatures
from ._whitening import USUAL_NORM, Whitening

VISION, SENTENCES = "torchvision", "sentence-transformers"

_AT_ONCE = 32


class Features(NamedTuple):
    """How samples become rows of numbers.

    Attributes
    ----------
    transformer : transformer of scikit-learn
        Makes them.
    said : str
        What they are.
    """

    transformer: Any
    said: str


def picture_features(asked: str | None, seed: int) -> Features:
    """Return the features of pictures."""
    if asked is not None:
        return _of_model(asked, VISION, Vision)
    return Features(
        make_pipeline(PatchFeatures(seed), Whitening()),
        "features by a convolution whose filters are whitened patches of the training "
        "pictures, averaged over quarters and mirror images, the 256 principal ones",
    )


def text_features(asked: str | None) -> Features:
    """Return the features of texts: their words, unless a model is asked for."""
    if asked is not None:
        return _of_model(asked, SENTENCES, Sentences)
    return Features(
        make_pipeline(word_weights(), FunctionTransformer(_to_usual_norm)),
        in_words([Column("", TEXT)])["Texts"],
    )


def words_of(features: Features) -> list[str] | None:
    """Return the words that the features are, if they are words."""
    vectorizer = features.transformer[0]
    if not hasattr(vectorizer, "get_feature_names_out"):
        return None
    return [str(word) for word in vectorizer.get_feature_names_out()]


def _to_usual_norm(rows: Any) -> Any:
    return rows * USUAL_NORM**0.5


def _of_model(asked: str, source: str, kind: type) -> Features:
    """Return the features of the model SOURCE:NAME; nothing is ever downloaded."""
    given, _, name = asked.partition(":")
    if given != source or not name:
        raise TableError(
            f"--features must be {source}:NAME for this data, got {asked!r}."
        )
    if find_spec(source.replace("-", "_")) is None:
        raise TableError(
            f"--features {asked} needs the package {source}, which is not installed."
        )
    return Features(make_pipeline(kind(name), Whitening()), f"features by {asked}")


class _Fixed(TransformerMixin, BaseEstimator):
    """A model that has learnt already."""

    def fit(self, samples: Any, y: Any = None) -> "_Fixed":
        """Return itself."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True


class Vision(_Fixed):
    """What a model of torchvision gives to its last layer."""

    def __init__(self, name: str) -> None:
        self.name = name
        from torchvision import models

        try:
            weights = models.get_model_weights(name).DEFAULT
        except (ValueError, AttributeError) as error:
            raise TableError(f"torchvision has no model {name!r}.") from error
        file = Path(torch.hub.get_dir(), "checkpoints", Path(weights.url).name)
        if not file.is_file():
            raise TableError(
                f"--features {VISION}:{name} needs the file {file.name!r} in "
                f"{str(file.parent)!r}: put it there, since nothing is downloaded."
            )
        model = models.get_model(name, weights=None)
        try:
            state = torch.load(file, map_location="cpu", weights_only=True)
            model.load_state_dict(state)
        # A damaged file makes torch raise errors of all kinds.
        except Exception as error:
            raise TableError(
                f"The weights {file.name!r} in {str(file.parent)!r} cannot be read, or "
                f"are not those of {name!r}: put the file there anew."
            ) from error
        _cut_last(model)
        self._model, self._prepare = model.eval(), weights.transforms()

    def transform(self, pictures: Sequence[Any]) -> np.ndarray:
        """Return features of pictures, each read again, in its own size."""
        starts = range(0, len(pictures), _AT_ONCE)
        parts = [self._features(pictures[k : k + _AT_ONCE]) for k in starts]
        return np.concatenate(parts)

    def _features(self, pictures: Sequence[Any]) -> np.ndarray:
        images = [self._prepare(each.image()) for each in pictures]
        with torch.no_grad():
            found: np.ndarray = self._model(torch.stack(images)).flatten(1).numpy()
        return found


class Sentences(_Fixed):
    """The embeddings of texts by a model of sentence-transformers."""

    def __init__(self, name: str) -> None:
        self.name = name
        from sentence_transformers import SentenceTransformer

        try:
            self._model = SentenceTransformer(name, local_files_only=True, device="cpu")
        # What is missing, each version says in its own way.
        except Exception as error:
            raise TableError(
                f"--features {SENTENCES}:{name} needs this model on this machine: name "
                "its folder, since nothing is downloaded."
            ) from error

    def transform(self, texts: Any) -> np.ndarray:
        """Return embeddings of texts."""
        return np.asarray(self._model.encode(list(texts)))


def _cut_last(model: torch.nn.Module) -> None:
    """Put nothing in the place of the last linear layer."""
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    ]
    parent, _, last = names[-1].rpartition(".")
    setattr(model.get_submodule(parent), last, torch.nn.Identity())
