"""The influence of the tokens of texts."""

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.utils.validation import check_is_fitted


def token_influence(vectorizer: Any, X: Any, slopes: Any) -> sparse.csr_matrix:
    r"""Estimate what leaving single tokens out of training texts would do.

    From the derivatives :math:`s_i = ∂Q/∂x_i` in the cells of a matrix of tokens. With
    TF-IDF rows of length 1, a token that is left out makes the others larger:

    .. math:: \text{influence}_{ik} = -x_{ik} (s_{ik} - x_{ik} \langle s_i, x_i \rangle)

    is the change of the query to first order in the token's weight; without
    normalization it is :math:`-x_{ik} s_{ik}`. The frequencies of the tokens in all
    texts are held as they are.

    Parameters
    ----------
    vectorizer : TfidfVectorizer or CountVectorizer
        The fitted vectorizer.
    X : CSR matrix of shape (n_samples, n_tokens)
        What the vectorizer made of the training texts.
    slopes : CSR matrix of shape (n_samples, n_tokens)
        What ``feature_influence`` returned for X.

    Returns
    -------
    CSR matrix of shape (n_samples, n_tokens)
        Estimated change of the query without the token. **Negative: the token is
        harmful.** The names of the tokens are those of ``get_feature_names_out``.

    Raises
    ------
    ValueError
        If the vectorizer is another, or X and `slopes` are not as described.

    See Also
    --------
    skinfluence.SGDInfluenceClassifier.feature_influence : Returns the slopes.

    Examples
    --------
    >>> from sklearn.feature_extraction.text import TfidfVectorizer
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.inspection import token_influence
    >>> texts = ["good film", "good plot", "fine film", "bad film", "bad plot", "dull"]
    >>> y = [1, 1, 1, 0, 0, 0]
    >>> tfidf = TfidfVectorizer().fit(texts)
    >>> X = tfidf.transform(texts)
    >>> clf = SGDInfluenceClassifier("linear", random_state=0).fit(X, y)
    >>> slopes = clf.feature_influence(tfidf.transform(["good", "bad"]), [1, 0])
    >>> changes = token_influence(tfidf, X, slopes)
    >>> bool(changes[0, tfidf.vocabulary_["good"]] > 0)  # it helps
    True
    """
    if not isinstance(vectorizer, (TfidfVectorizer, CountVectorizer)):
        raise ValueError(
            "`vectorizer` must be a TfidfVectorizer or CountVectorizer, got a "
            f"{type(vectorizer).__name__}. Multiply minus the slopes by X for the "
            "effect of setting a cell to 0."
        )
    check_is_fitted(vectorizer)
    n_tokens = len(vectorizer.vocabulary_)
    for name, given in (("X", X), ("slopes", slopes)):
        if not sparse.issparse(given) or given.shape[1] != n_tokens:
            raise ValueError(
                f"`{name}` must be a sparse matrix with a column for each of the "
                f"{n_tokens} tokens, got {type(given).__name__} of shape "
                f"{getattr(given, 'shape', None)}."
            )
    if X.shape != slopes.shape:
        raise ValueError(
            f"`slopes` must have the shape of X, {X.shape}, got {slopes.shape}."
        )
    texts = sparse.csr_matrix(X, dtype=np.float64)
    each = sparse.csr_matrix(texts.multiply(slopes))
    norm = getattr(vectorizer, "norm", None)
    if norm is None:
        return -each
    along = sparse.diags_array(np.asarray(each.sum(axis=1)).ravel())
    shares = texts.multiply(texts) if norm == "l2" else texts
    return sparse.csr_matrix(along @ shares - each)
