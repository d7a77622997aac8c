"""
Cleaning text: two newsgroups
=============================

Posts about PC hardware and Mac hardware, as TF-IDF vectors (a sparse matrix), and a
linear model. 20 % of the training labels are flipped; 200 posts with checked labels are
used for validation. The Pipeline vectorizes them too (``transform_input``) before they
reach the cleaner, its last step.

The data are fetched by scikit-learn, or read from the folder given by the environment
variable ``SKINFLUENCE_DATA``. Run it with
``python examples/clean_newsgroups_text.py``.
"""

import sklearn
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline

from skinfluence import SGDInfluenceClassifier
from skinfluence.cleaning import InfluenceCleaner
from skinfluence.datasets import fetch_20newsgroups, flip_labels

sklearn.set_config(enable_metadata_routing=True)
pair = ["comp.sys.ibm.pc.hardware", "comp.sys.mac.hardware"]
parts = ("headers", "footers", "quotes")
texts, y = fetch_20newsgroups(
    subset="train", categories=pair, remove=parts, return_X_y=True
)
texts_test, y_test = fetch_20newsgroups(
    subset="test", categories=pair, remove=parts, return_X_y=True
)
texts, texts_val, y, y_val = train_test_split(
    texts, y, test_size=min(200, len(texts) // 4), stratify=y, random_state=0
)
y_noisy, flipped = flip_labels(y, 0.2, random_state=0)

clf = SGDInfluenceClassifier("linear", lr=1.0, max_epochs=30, batch_size=20)
clf.set_params(random_state=0)
for n_remove in (0, 0.05, 0.1, 0.2):
    cleaner = InfluenceCleaner(clf, n_remove=n_remove, random_state=0)
    pipeline = Pipeline(
        [
            ("vectors", TfidfVectorizer(min_df=2, max_df=0.5, stop_words="english")),
            ("cleaner", cleaner.set_fit_request(X_val=True, y_val=True)),
        ],
        transform_input=["X_val"],
    )
    pipeline.fit(texts, y_noisy, X_val=texts_val, y_val=y_val)
    removed = pipeline["cleaner"].removed_indices_
    found = f", {flipped[removed].mean():.0%} of them flipped" if len(removed) else ""
    print(
        f"{len(removed):3d} removed{found}: "
        f"test accuracy {pipeline.score(texts_test, y_test):.3f}"
    )

print("\nThe three most harmful posts:")
for row in pipeline["cleaner"].ranking_[:3]:
    print(f"\n--- labelled {pair[y_noisy[row]]}, really {pair[y[row]]}")
    print(" ".join(texts[row].split())[:200])
