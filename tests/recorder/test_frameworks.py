"""The recipes for Accelerate and Lightning: the runs of a plain recorded loop."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_

from skinfluence import Recorder
from tests.recorder.test_recorder import N_EPOCHS, Loop, data, net

ADAMW = partial(torch.optim.AdamW, lr=0.05)
HALVING = partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
BOUND = 0.1


def expected():
    """Return scores that are tested against finite differences."""
    loop = Loop(
        ADAMW,
        every=2,
        clip=partial(clip_grad_norm_, max_norm=BOUND),
        schedule=HALVING,
    )
    return loop.recorded(net()).influence(*data()[1])


def check(model):
    assert model.n_steps_ == 2 * N_EPOCHS
    # Losses are divided, and gradients clipped, in another order of operations.
    np.testing.assert_allclose(
        model.influence(*data()[1]), expected(), rtol=1e-9, atol=1e-12
    )


def test_accelerate():
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    module = net()
    optimizer = ADAMW(module.parameters())
    scheduler = HALVING(optimizer)
    recorder = Recorder(
        module, optimizer, nn.CrossEntropyLoss, data()[0], random_state=0
    )
    prepared, stepping = accelerator.prepare(module, optimizer)
    for _ in range(N_EPOCHS):
        for batch in recorder.batches(batch_size=7, shuffle=True):
            with accelerator.accumulate(prepared):
                accelerator.backward(recorder.loss(batch))
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(prepared.parameters(), BOUND)
                stepping.step()
                stepping.zero_grad()
        scheduler.step()
    check(recorder.finish())


@pytest.mark.filterwarnings("ignore")  # Lightning's own, on workers and loggers
def test_lightning(tmp_path):
    lightning = pytest.importorskip("lightning")

    class Epochs:
        """The batches of each epoch anew."""

        def __init__(self, recorder):
            self.recorder = recorder

        def __iter__(self):
            return self.recorder.batches(batch_size=7, shuffle=True)

        def __len__(self):
            return 4

    class Lit(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = net()

        def configure_optimizers(self):
            optimizer = ADAMW(self.net.parameters())
            self.recorder = Recorder(
                self.net, optimizer, nn.CrossEntropyLoss, data()[0], random_state=0
            )
            return [optimizer], [HALVING(optimizer)]

        def train_dataloader(self):
            return Epochs(self.recorder)

        def training_step(self, batch, _):
            return self.recorder.loss(batch)

    lit = Lit()
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=N_EPOCHS,
        accumulate_grad_batches=2,
        gradient_clip_val=BOUND,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(lit)
    check(lit.recorder.finish())
