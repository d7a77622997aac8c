"""The models of the epochs' ends, to the bit, and the last hidden layer."""

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback

from skinfluence.estimators import RecordedRun, represent
from skinfluence.exceptions import (
    IrreproducibleStepError,
    NotRecordedError,
    TrainingDataChangedError,
)
from skinfluence.training import TrainingStep
from tests.cases import MODULES, Case, pairwise


class Note(Callback):
    def on_epoch_end(self, net, **kwargs):
        state = {k: v.clone() for k, v in net.module_.state_dict().items()}
        net.noted_ = [*getattr(net, "noted_", []), state]


def noting(case, **options):
    return case.fitted(callbacks=[("note", Note())], max_epochs=6, **options)


@pairwise(module=MODULES, interval=[1, 5, 100], record=["all", 3])
def test_the_models_are_those_of_the_epochs_ends(module, interval, record):
    clf = noting(Case(module, "momentum"), checkpoint_every=interval, record=record)
    epochs = []
    for epoch, model in RecordedRun.of(clf).epoch_models():
        epochs.append(epoch)
        for name, tensor in model.module_.state_dict().items():
            assert torch.equal(tensor, clf.noted_[epoch - 1][name]), (epoch, name)
    assert epochs == ([4, 5, 6] if record == 3 else [1, 2, 3, 4, 5, 6])
    for name, tensor in clf.module_.state_dict().items():
        assert torch.equal(tensor, clf.noted_[-1][name])


def test_no_step_is_taken_twice(monkeypatch):
    clf = Case().fitted(checkpoint_every=100, max_epochs=6)
    taken = []
    advance = TrainingStep.advance

    def counting(self, record):
        taken.append(record.step)
        return advance(self, record)

    monkeypatch.setattr(TrainingStep, "advance", counting)
    for _ in RecordedRun.of(clf).epoch_models():
        pass
    # The final state is kept.
    assert taken == list(range(clf.trajectory_.epoch_ends()[5]))


def test_refuses_what_was_not_recorded_or_was_changed():
    with pytest.raises(NotRecordedError, match="nothing was recorded"):
        RecordedRun.of(Case().fitted(record=None))
    X, y, _ = Case().data()
    clf = Case().classifier().fit(X, y)
    clf.training_data_[0].X[0] += 1
    with pytest.raises(TrainingDataChangedError, match="fingerprint"):
        next(RecordedRun.of(clf).epoch_models())
    clf = Case().fitted()
    with torch.no_grad():
        clf.module_[1].weight += 1
    with pytest.raises(IrreproducibleStepError, match="were changed since"):
        next(RecordedRun.of(clf).epoch_models())


def test_representation_is_the_input_of_the_last_linear_layer():
    clf = Case("cnn").fitted()
    X, _, _ = Case().data()
    with torch.no_grad():
        expected = clf.module_[:-1](torch.from_numpy(X)).numpy()
    np.testing.assert_array_equal(represent(clf, X), expected)
