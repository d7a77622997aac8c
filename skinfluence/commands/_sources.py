"""What the options say of a table: its target, and what a model is given of it."""

from argparse import Namespace
from pathlib import Path

from ..exceptions import TableError
from ._choices import UNUSED
from ._features import picture_features, text_features
from ._inputs import Inputs, columns_of, texts_of
from ._picture_folder import LABEL, PATH, PictureFolder
from ._pictures import pictures_of
from ._tables import Table, check_column, is_folder


def tables_of(options: Namespace) -> list[tuple[str, Path | None]]:
    """Return the tables that the options name, and what each is."""
    return [
        ("the table", options.table),
        ("the validation table", options.valid),
        ("the test table", options.test),
    ]


def target_of(options: Namespace) -> str:
    """Return the column to predict: of pictures in folders, what these are called."""
    if options.target is not None:
        return str(options.target)
    if is_folder(options.table):
        return LABEL
    raise TableError(
        "--target must name the column to predict, got none. (Only pictures in a "
        "folder for each class need none.)"
    )


def check_columns(table: Table, target: str, options: Namespace) -> None:
    """Refuse names of columns that are not there, or have another part already."""
    names = [str(name) for name in table.file.columns]
    kinds, alone = _kinds(options), _alone(table, options)
    for name in (target, *kinds, *filter(None, [alone])):
        check_column(name, names, table.name)
    if target in (*kinds, alone):
        raise TableError(
            f"The target {target!r} cannot be dropped, and has no kind but its --task."
        )
    if alone is None and options.features is not None:
        raise TableError(
            "--features goes with pictures or texts: name their column with --image "
            "or --text."
        )
    if alone is not None and (options.column or alone in kinds):
        raise TableError(
            f"Beside {alone!r} the model is given no column: leave --column out, and "
            "do not --drop it."
        )


def inputs_of(table: Table, target: str, options: Namespace) -> Inputs:
    """Return what a model is given: pictures, texts or columns."""
    names = [str(name) for name in table.file.columns]
    used = [name for name in names if name not in {target, *options.drop}]
    if not used:
        raise TableError(f"{table.name!r} has no column besides the target {target!r}.")
    alone = _alone(table, options)
    if alone is None:
        return columns_of(table, used, _kinds(options))
    others = [name for name in used if name != alone]
    if alone == options.text:
        return texts_of(table, alone, others, text_features(options.features))
    features = picture_features(options.features, options.seed)
    return pictures_of(table, alone, others, features)


def _alone(table: Table, options: Namespace) -> str | None:
    """Return the column of pictures or texts that is all that the model is given."""
    if isinstance(table.file, PictureFolder):
        if options.text is not None:
            raise TableError(
                f"--text goes with a table, and {table.name!r} is a folder of pictures."
            )
        return options.image or PATH
    column: str | None = options.image or options.text
    return column


def _kinds(options: Namespace) -> dict[str, str]:
    """Return the kinds of columns that the options name."""
    return dict(options.column) | dict.fromkeys(options.drop, UNUSED)
