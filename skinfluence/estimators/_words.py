"""A fitted estimator in words."""

from .._digits import counted, measured
from ..trajectory import run_in_words
from ._net import InfluenceNet

_UNITS = {"h": 3600, "min": 60, "s": 1}


def fit_in_words(net: InfluenceNet) -> dict[str, str]:
    """Return what an estimator recorded in training, and how long that took.

    Parameters
    ----------
    net : InfluenceNet
        The estimator.

    Returns
    -------
    dict of str to str
        Facts by label; none before the fit.
    """
    if not hasattr(net, "training_data_"):
        return {}
    facts = {"Recorded": "nothing (record=None)"}
    if net.trajectory_ is not None:
        facts = run_in_words(net.trajectory_)
    if not net.retraceable_:
        facts["Questions"] = "those of exact retraining (record='replay')"
    # Without skorch's timer, as in a loop of the user's own, nobody has measured.
    seconds = [row["dur"] for row in net.history_ or () if "dur" in row]
    if seconds:
        n_epochs = counted(len(seconds), "epoch")
        facts["Training"] = f"{measured(sum(seconds), _UNITS)} for {n_epochs}"
    return facts
