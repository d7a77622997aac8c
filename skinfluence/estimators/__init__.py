"""The estimators: skorch nets that record their training and answer `influence`."""

from .._names import set_public_module
from ._array_dataset import ArrayDataset
from ._baseline import Skill as Skill
from ._baseline import extreme_targets as extreme_targets
from ._baseline import skill as skill
from ._classifier import SGDInfluenceClassifier
from ._contract import EstimatorContract as EstimatorContract
from ._copies import deep_copy as deep_copy
from ._criteria import SmoothHinge, is_log_loss
from ._criteria import kinds_of as kinds_of
from ._epoch_table import EpochTable as EpochTable
from ._final_model import FinalModel, final_model
from ._final_model import effective_rate as effective_rate
from ._frame import outputs as outputs
from ._frame import samples_frame as samples_frame
from ._items import ItemsDataset as ItemsDataset
from ._items import as_dataset as as_dataset
from ._labels import are_several_labels as are_several_labels
from ._labels import has_columns as has_columns
from ._labels import is_multilabel as is_multilabel
from ._labels import labels_of as labels_of
from ._losses import outputs_of
from ._measures import NAMED_QUERIES as NAMED_QUERIES
from ._measures import check_query, has_probabilities
from ._measures import metric_of as metric_of
from ._modules import LinearModule, MLPModule
from ._parameters import check_parameters as check_parameters
from ._parameters import check_resume as check_resume
from ._questions.estimate import check_smoothing
from ._questions.harm_by_sample import HarmBySample as HarmBySample
from ._questions.harm_by_sample import harm_by_sample as harm_by_sample
from ._questions.influence_check import InfluenceCheck
from ._questions.influence_interval import InfluenceInterval, influence_interval
from ._questions.over_runs import influence_over_runs
from ._questions.recipe_influence import RecipeInfluence
from ._questions.recorded_run import RecordedRun, check_at
from ._recording.before_training import check_trainable as check_trainable
from ._recording.loop_run import LoopRun as LoopRun
from ._recording.loop_run import after_backward as after_backward
from ._recording.resumed_loop import ResumedLoop as ResumedLoop
from ._regressor import SGDInfluenceRegressor
from ._replica import query_value as query_value
from ._representation import represent
from ._runs import ScoresOverRuns
from ._runs import answers_over_runs as answers_over_runs
from ._runs import warn_if_alike as warn_if_alike
from ._saving.load import load_estimator
from ._saving.save import save_estimator
from ._trained_on import check_estimator, check_fitted_on
from ._training_data import TrainingData as TrainingData
from ._typing import At as At
from ._typing import Folder as Folder
from ._typing import QueryLike as QueryLike
from ._typing import RandomState as RandomState
from ._validation import check_weights as check_weights
from ._validation import n_rows as n_rows
from ._validation import plain_targets as plain_targets

__all__ = [
    "ArrayDataset",
    "FinalModel",
    "InfluenceCheck",
    "InfluenceInterval",
    "LinearModule",
    "MLPModule",
    "RecipeInfluence",
    "RecordedRun",
    "SGDInfluenceClassifier",
    "SGDInfluenceRegressor",
    "ScoresOverRuns",
    "SmoothHinge",
    "check_at",
    "check_estimator",
    "check_fitted_on",
    "check_query",
    "check_smoothing",
    "final_model",
    "has_probabilities",
    "influence_interval",
    "influence_over_runs",
    "is_log_loss",
    "load_estimator",
    "outputs_of",
    "represent",
    "save_estimator",
]

set_public_module(globals(), "EpochTable", "ItemsDataset", "Skill", "TrainingData")
