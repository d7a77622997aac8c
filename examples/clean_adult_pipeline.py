"""
Cleaning in a Pipeline: census data
===================================

A table with numbers and categories passes through a ``ColumnTransformer``; the cleaner
is the last step and predicts. 20 % of the training labels are flipped; 500 rows with
checked labels are used for validation. The Pipeline transforms them like the others
(``transform_input``) before they reach the cleaner.

The data are fetched from OpenML, or read from the folder given by the environment
variable ``SKINFLUENCE_DATA``. Run it with ``python examples/clean_adult_pipeline.py``.
"""

import sklearn
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skinfluence import SGDInfluenceClassifier
from skinfluence.cleaning import InfluenceCleaner
from skinfluence.datasets import fetch_adult, flip_labels

sklearn.set_config(enable_metadata_routing=True)
X, y = fetch_adult(subset="train", return_X_y=True)
X_test, y_test = fetch_adult(subset="test", return_X_y=True)
X_val, y_val = X.iloc[2000:2500], y.iloc[2000:2500]
X, y = X.iloc[:2000], y.iloc[:2000]
y_noisy, flipped = flip_labels(y, 0.2, random_state=0)

columns = make_column_transformer(
    (StandardScaler(), make_column_selector(dtype_include="number")),
    (
        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
        make_column_selector(dtype_exclude="number"),
    ),
)
clf = SGDInfluenceClassifier(
    module__hidden_layer_sizes=(32,), max_epochs=30, batch_size=50, random_state=0
)
for n_remove in (0, 0.05, 0.1, 0.2):
    cleaner = InfluenceCleaner(clf, n_remove=n_remove, at="path", random_state=0)
    pipeline = Pipeline(
        [
            ("columns", columns),
            ("cleaner", cleaner.set_fit_request(X_val=True, y_val=True)),
        ],
        transform_input=["X_val"],
    )
    pipeline.fit(X, y_noisy, X_val=X_val, y_val=y_val)
    removed = pipeline["cleaner"].removed_indices_
    found = f", {flipped[removed].mean():.0%} of them flipped" if len(removed) else ""
    print(
        f"{len(removed):3d} removed{found}: "
        f"test accuracy {pipeline.score(X_test, y_test):.3f}"
    )

print("\nThe ten most harmful rows:")
print(pipeline["cleaner"].to_frame().head(10).to_string())
