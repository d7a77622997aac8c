"""The audit report: a page for the review of suspicious samples."""

import html
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import clone, is_regressor

from ..._outputs import new_output
from ..._values import check_path
from ...cleaning import InfluenceCleaner, read_decisions
from ...estimators import InfluenceInterval, ScoresOverRuns, Skill
from .._typing import At, Estimator, Names, QueryLike, RandomState
from .audited import Audited, checked_data
from .content import applied_dict, content_of
from .findings import judge
from .options import Options
from .page import page
from .rows import Columns

_JUDGED = ("score", "loss", "score_after", "loss_after")


class AuditReport:
    """The most harmful training samples, for people to review.

    A page with the samples, the model's predictions, and how their harm built up. The
    reviewer marks each to be kept, removed or relabelled, and saves the decisions in a
    file for :class:`~skinfluence.InfluenceCleaner`,
    :func:`~skinfluence.cleaning.read_decisions` and :meth:`apply`. A notebook displays
    the page. Use :meth:`from_estimator`.

    Parameters
    ----------
    content : mapping of str to object
        The content of the page, as values for JSON.
    audited : object, default=None
        The estimator and the data, for :meth:`apply`.

    Attributes
    ----------
    scores : DataFrame
        Score and loss (``score``, ``loss``) on the validation data and, if given, the
        test data; after :meth:`apply` also ``score_after`` and ``loss_after``.
    fingerprint : str
        Digest of the data, which decisions carry.

    See Also
    --------
    SampleGridDisplay : A plot of a few of the samples.
    column_influence : Tells which cells do the harm.
    slice_influence : Groups of samples that do harm together.
    skinfluence.InfluenceCleaner : Applies decisions.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.inspection import AuditReport
    >>> X, y = load_iris(return_X_y=True)
    >>> X = scale(X)
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(X[::2], y[::2])
    >>> report = AuditReport.from_estimator(
    ...     clf, X[::2], y[::2], X[1::2], y[1::2], n=10, random_state=0
    ... )
    >>> report.scores
                score  loss
    validation   0.93  0.28
    >>> len(report.to_dict()["suspects"])  # the others do no harm
    4
    """

    def __init__(
        self, content: Mapping[str, Any], audited: Audited | None = None
    ) -> None:
        self._content = dict(content)
        self._audited = audited

    @classmethod
    def from_estimator(
        cls,
        estimator: Estimator,
        X: object,
        y: ArrayLike,
        X_val: object,
        y_val: ArrayLike,
        *,
        n: int = 50,
        raw: object = None,
        raw_val: object = None,
        feature_names: Names = None,
        image_shape: Sequence[int] | None = None,
        X_test: object = None,
        y_test: ArrayLike | None = None,
        at: At = "path",
        query: QueryLike = "loss",
        smoothing: float | str | None = None,
        curve: object = None,
        about: Mapping[str, Any] | None = None,
        n_check: int = 20,
        n_harmed: int = 3,
        scores: ArrayLike | ScoresOverRuns | InfluenceInterval | None = None,
        harmful_only: bool = True,
        columns: Columns = None,
        repairs: pd.DataFrame | None = None,
        slices: pd.DataFrame | None = None,
        issues: pd.DataFrame | None = None,
        warnings: Sequence[str] = (),
        skill: Skill | None = None,
        apply_command: str | None = None,
        title: str = "Data audit",
        random_state: RandomState = None,
    ) -> "AuditReport":
        """Find the most harmful training samples of an estimator, and report on them.

        Parameters
        ----------
        estimator : SGDInfluenceClassifier or SGDInfluenceRegressor
            A fitted estimator whose run was recorded.
        X : array-like or tensor of n_samples rows
            The samples that it was fitted on.
        y : array-like of shape (n_samples,)
            Their labels or targets.
        X_val : array-like
            Validation samples.
        y_val : array-like
            Their targets.
        n : int, default=50
            How many suspects to show, at most. Samples that are alike share a card.
        raw : array-like, DataFrame, sequence of str or Path, or None, default=None
            The samples in their raw form, row by row: images, paths of pictures, texts,
            or a table before its preprocessing. Row labels are shown if a DataFrame or
            Series has any. Objects in a table that are numbers to ``float`` are judged
            as such, and shown as ``str`` gives them. By default X.
        raw_val : array-like, DataFrame, sequence of str or Path, or None, default=None
            The validation samples in the same form. By default X_val, where `raw` is
            not given; otherwise only their row numbers are shown.
        feature_names : array-like of str of shape (n_features,) or None, default=None
            Names of the columns of X. With texts as `raw` they are words, and those
            that matter are marked in the text.
        image_shape : tuple of int or None, default=None
            Shape of the image that each row holds, as in :class:`SampleGridDisplay`.
        X_test : array-like or None, default=None
            Test samples, only for the scores.
        y_test : array-like or None, default=None
            Their targets.
        at : "final", "epochs", "path", sequence or mapping, default="path"
            At which models the query is evaluated, as in
            :meth:`~skinfluence.SGDInfluenceClassifier.influence`.
        query : a named query or callable, default="loss"
            What is measured on the validation samples, as there; use ``"error"`` if
            their labels are unreliable.
        smoothing : None, float or "auto", default=None
            How wide kinks are smoothed on the way back, as there; "auto" for a long run
            of a network with ReLU.
        curve : InfluenceCleanerCV, GridSearchCV or None, default=None
            A fitted search over the number of samples to remove, whose scores are
            plotted.
        about : mapping of str to object or None, default=None
            Further facts for the head of the page, such as the name of a file.
        n_check : int, default=20
            How many samples, and random groups of them, to verify by
            :meth:`~skinfluence.SGDInfluenceClassifier.check_influence`; 0 for none.
            Each costs one training run, and the smoothness of the run up to ten.
        n_harmed : int, default=3
            How many validation samples to show beside each suspect: those whose losses
            it raises most. As much work as a retrace for each suspect or for each
            validation sample, whichever are fewer, and often the most expensive part
            of a report; 0 for none.
        scores : array-like, ScoresOverRuns, InfluenceInterval or None, default=None
            Other scores to rank by, of shape (n_samples,), the lowest first; samples
            with NaN are not shown.
            Those over several runs, the ``over_runs_`` of a cleaner or the result of
            :func:`~skinfluence.influence_over_runs`, are shown with their standard
            error and the runs that agree in sign; the result of
            :func:`~skinfluence.influence_interval` with its intervals, too. By default
            the influence.
        harmful_only : bool, default=True
            Whether to show only samples with a negative influence, which are none if
            nothing is harmful. The sign of other `scores` may mean nothing: it does not
            matter, unless they are those over several runs.
        columns : sequence of (str, str, str) or None, default=None
            For a table as `raw`: the columns that the model was given, each with its
            kind, such as "number", and a reason or remark. Columns of kind "date", "id"
            or "unused", and those that are not listed, are shown last and never as
            unusual; those of kind "text" first. By default all are shown by how unusual
            their values are.
        repairs : DataFrame of n_samples rows or None, default=None
            For a table as `raw`: for cells in some of its columns, the estimated change
            of the query if they were typical, as :func:`column_influence` returns as
            ``repairs``. The up to three cells of each suspect that do the most harm
            are marked.
        slices : DataFrame of n_samples rows or None, default=None
            A table in which to look for groups of rows that do harm together, with
            :func:`slice_influence`, by the influence on this estimator. The first five
            are verified, each by a training run.
        issues : DataFrame or None, default=None
            Other faults of the data, of :func:`~skinfluence.find_issues` for these
            samples: shown in a table, each with the influence of its rows.
        warnings : sequence of str, default=()
            What readers must know first, such as a column that gives the target away.
            That the model has learnt nothing is said in any case.
        skill : Skill or None, default=None
            The score to name first, with a baseline's, where the validation data is
            easier than other data, such as without suspects: the ``skill`` of a
            :meth:`~skinfluence.SGDInfluenceClassifier.check_influence` elsewhere. By
            default that on the validation data.
        apply_command : str or None, default=None
            The command that applies the saved decisions, for readers who do not use
            Python. By default the page shows the calls.
        title : str, default="Data audit"
            The page's heading.
        random_state : int, RandomState instance or None, default=None
            Determines which samples are verified.

        Returns
        -------
        AuditReport
            The report.

        Raises
        ------
        ValueError, TypeError
            If a parameter or the data is not as described.
        NotRecordedError
            If the run was not recorded, and other errors of
            :meth:`~skinfluence.SGDInfluenceClassifier.influence`.
        """
        data = checked_data(estimator, X, y, X_val, y_val, X_test, y_test)
        options = Options(
            n=n,
            raw=raw,
            raw_val=raw_val,
            feature_names=feature_names,
            image_shape=image_shape,
            at=at,
            query=query,
            smoothing=smoothing,
            curve=curve,
            about=about,
            n_check=n_check,
            n_harmed=n_harmed,
            scores=scores,
            harmful_only=harmful_only,
            columns=columns,
            repairs=repairs,
            slices=slices,
            issues=issues,
            warnings=warnings,
            skill=skill,
            apply_command=apply_command,
            title=title,
            random_state=random_state,
        )
        return cls(content_of(data, options.checked(len(data.y))), data)

    @property
    def fingerprint(self) -> str:
        """Digest of the data, which decisions carry."""
        return str(self._content["fingerprint"])

    @property
    def scores(self) -> pd.DataFrame:
        """Score and loss on validation and test data."""
        rows = self._content["scores"]
        return pd.DataFrame(
            [{k: v for k, v in row.items() if k in _JUDGED} for row in rows],
            index=[row["name"] for row in rows],
        )

    def apply(
        self,
        decisions: str | PathLike[str] | pd.DataFrame,
        *,
        refit: str = "full",
        **fit_params: Any,
    ) -> "AuditReport":
        """Refit under decisions, and return the report with scores before and after.

        Parameters
        ----------
        decisions : str, path or DataFrame
            A file that the page has saved, or a table, as in
            :func:`~skinfluence.cleaning.read_decisions`.
        refit : "full" or "counterfactual", default="full"
            ``"full"`` fits a clone of the estimator on the cleaned data.
            ``"counterfactual"`` repeats the recorded run under the decisions, with the
            same batches (:meth:`~skinfluence.SGDInfluenceClassifier.refit_without`): no
            change is then due to the randomness of training.
        **fit_params : dict
            Further arguments of the estimator's ``fit``, such as ``sample_weight``, for
            ``refit="full"``.

        Returns
        -------
        AuditReport
            A new report, with `scores` before and after.

        Raises
        ------
        DecisionsError
            If the decisions cannot be read or belong to other data.
        """
        if self._audited is None:
            raise ValueError(
                "The report must have an estimator to refit, but was made from its "
                "content alone. Use AuditReport.from_estimator."
            )
        estimator, X, y, judges = self._audited
        read = read_decisions(decisions, X, y, regression=is_regressor(estimator))
        if refit == "counterfactual":
            model = estimator.refit_without(read.removed, relabel=read.relabelled)
        else:
            # Draws from NumPy's global generator only if the estimator would.
            seeded = clone(estimator).random_state
            cleaner = InfluenceCleaner(
                estimator, decisions=decisions, refit=refit, random_state=seeded
            )
            model = cleaner.fit(X, y, **fit_params).final_estimator_
        after = {name: judge(model, *data) for name, data in judges.items()}
        content = applied_dict(self._content, read, refit, after)
        return AuditReport(content, self._audited)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the page, as values for JSON.

        Returns
        -------
        dict
            Facts, the check, and a dict for each of the ``suspects``.
        """
        return dict(self._content)

    def write_html(self, path: str | PathLike[str]) -> None:
        """Write the page as one self-contained file, which needs no network.

        Parameters
        ----------
        path : str or path
            The file.
        """
        with new_output(check_path("path", path, "file")) as file:
            file.write(page(self._content).encode("utf-8", "replace"))

    def __repr__(self) -> str:
        found = f"{len(self._content['suspects'])} suspects"
        title, n = self._content["title"], self._content["n_samples"]
        return f"<{type(self).__name__} {title!r}: {found} of {n:,} samples>"

    def _repr_html_(self) -> str:
        # Sandboxed: data in the page cannot reach the notebook, whatever it holds.
        inside = html.escape(page(self._content))
        return (
            '<iframe title="Data audit" sandbox="allow-scripts allow-downloads" '
            f'width="100%" height="800" srcdoc="{inside}"></iframe>'
        )
