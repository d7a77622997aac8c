"""What options may say; without imports, so that `--help` is at once there."""

CLASSIFICATION, REGRESSION = "classification", "regression"

NUMBER, DATE, CATEGORY, TEXT, UNUSED = "number", "date", "category", "text", "unused"

FIRST_OF_DATE = {"day-first": "day", "month-first": "month"}
"""Kinds of dates in which day and month could be exchanged."""

KINDS = (NUMBER, CATEGORY, TEXT, DATE, *FIRST_OF_DATE, UNUSED)

IMAGE = "image"
"""The kind of the column that --image names, beside which there is no other."""

MOST_CATEGORIES = 50
"""The frequent ones of a column; the others are merged."""

HIDDEN: dict[str, tuple[int, ...]] = {"mlp": (64,), "linear": ()}
"""The hidden layers of each kind of model."""
