"""`Model` is a scikit-learn estimator, as far as one can be whose input has three dimensions."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted

from backcast import Model
from backcast.errors import NotFittedError
from small import FUTURE, PAST, X, assert_same_weights, small_model

LABELS = np.arange(len(X)) % 2

# -- scikit-learn's own checks ---------------------------------------------------------------------


class OfRows(Model):
    """A model of the tables that the checks use: each row, twice, is a window."""

    def fit(self, X: Any, y: object = None) -> "OfRows":
        return super().fit(windows_of(X))

    def partial_fit(self, X: Any, y: object = None) -> "OfRows":
        return super().partial_fit(windows_of(X))

    def transform(self, X: Any) -> NDArray[np.float32]:
        return super().transform(windows_of(X))

    def predict(self, X: Any) -> NDArray[np.float32]:
        return np.asarray(super().predict(windows_of(X)))[..., 0]

    def score(self, X: Any, y: object = None) -> float:
        return super().score(windows_of(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags


def windows_of(table: Any) -> Any:
    if hasattr(table, "toarray"):  # sparse
        return table
    table = np.asarray(table)
    # Twice, so that the past is a whole row, of which some number is there.
    return np.concatenate([table, table], axis=1)[..., None] if table.ndim == 2 else table


# Those of scikit-learn's checks that do not apply, and why; all others do.
NO_COLUMNS = "a frame has a shape, not named or counted columns; windows may be of any length"
OWN_WORDS = "it is refused with a ValueError, but in our words"
NOT_APPLICABLE = {
    "check_n_features_in": NO_COLUMNS,
    "check_n_features_in_after_fitting": NO_COLUMNS,
    "check_transformer_general": NO_COLUMNS,
    "check_dtype_object": "an array of objects is a list of sequences",
    "check_complex_data": OWN_WORDS,
    "check_estimators_empty_data_messages": OWN_WORDS,
    "check_fit2d_predict1d": OWN_WORDS,
}
SMALL = {"hidden_size": 6, "max_iter": 4, "batch_size": 5, "device": "cpu", "random_state": 0}


@parametrize_with_checks(
    [OfRows(**SMALL, verbose=0)], expected_failed_checks=lambda _: NOT_APPLICABLE
)
def test_checks_of_scikit_learn_pass(estimator: Model, check: Callable[[Model], None]) -> None:
    check(estimator)


# -- parameters ------------------------------------------------------------------------------------


def test_a_clone_has_the_parameters_and_nothing_that_was_learnt() -> None:
    model = small_model(feedback={"predict": "none"}, loss_weights=(1.0, 2.0)).fit(X)
    twin = clone(model)
    assert twin.get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        twin.encode(X)
    check_is_fitted(model)
    assert_same_weights(twin.fit(X), model)


def test_every_parameter_can_be_set_and_an_unknown_one_cannot() -> None:
    model = Model()
    for name, value in model.get_params().items():
        assert model.set_params(**{name: value}) is model
    with pytest.raises(ValueError, match="Invalid parameter 'units'"):
        model.set_params(units=3)
    with pytest.raises(TypeError, match="units"):
        Model(units=3)  # type: ignore[call-arg]


def test_a_model_shows_what_differs_from_the_defaults() -> None:
    assert repr(Model(16, loss="bce")) == "Model(hidden_size=16, loss='bce')"
    assert "hidden_size" in Model(16)._repr_html_()


# -- in company ------------------------------------------------------------------------------------


def test_embeddings_feed_a_classifier_in_a_pipeline() -> None:
    pipeline = Pipeline([("embed", small_model()), ("classify", LogisticRegression())])
    assert pipeline.fit(X, LABELS).predict(X).shape == (12,)
    assert_same_weights(pipeline["embed"], small_model().fit(X))  # labels pass it by
    assert 0 <= pipeline.score(X, LABELS) <= 1


def test_a_pipeline_passes_on_what_fit_takes() -> None:
    model = small_model(max_iter=20, patience=3)
    pipeline = Pipeline([("embed", model), ("classify", LogisticRegression())])
    pipeline.fit(X, LABELS, embed__validation=0.25)
    assert_same_weights(pipeline["embed"], clone(model).fit(X, validation=0.25))
    assert "validation_loss" in pipeline["embed"].history_[0]


def test_a_pipeline_may_make_the_windows() -> None:
    scale = FunctionTransformer(lambda x: (x - x.mean()) / x.std())
    pipeline = make_pipeline(scale, small_model(), PCA(2))
    assert pipeline.fit_transform(X).shape == (12, 2)
    assert np.isfinite(make_pipeline(scale, small_model()).fit(X).score(X))


def test_settings_are_searched_by_score() -> None:
    search = GridSearchCV(small_model(), {"hidden_size": [2, 6], "max_iter": [1, 50]}, cv=3)
    search.fit(X)
    assert search.best_params_["max_iter"] == 50
    assert search.best_score_ == max(search.cv_results_["mean_test_score"])
    assert search.best_estimator_.transform(X).shape == (12, search.best_params_["hidden_size"])


def test_settings_inside_of_a_pipeline_are_searched() -> None:
    pipeline = Pipeline([("embed", small_model()), ("classify", LogisticRegression())])
    search = GridSearchCV(pipeline, {"embed__hidden_size": [2, 4]}, cv=2).fit(X, LABELS)
    assert search.best_params_["embed__hidden_size"] in (2, 4)


def test_scores_are_cross_validated_with_pasts_and_futures() -> None:
    one = cross_val_score(small_model(horizon=3), X, cv=3)
    two = cross_val_score(small_model(), PAST, FUTURE, cv=3)
    assert one.shape == (3,)
    assert (one < 0).all()
    np.testing.assert_array_equal(one, two)


def test_a_search_in_two_processes_gives_the_same_scores() -> None:
    """Each worker keeps to the threads that `num_threads` says, and so do its numbers."""
    grid = {"hidden_size": [3, 5], "num_layers": [1, 2]}
    model = small_model(horizon=3, num_threads=1)
    found = [
        GridSearchCV(model, grid, cv=3, n_jobs=n, refit=False).fit(X).cv_results_ for n in (1, 2)
    ]
    for split in range(3):
        alone, together = (results[f"split{split}_test_score"] for results in found)
        np.testing.assert_array_equal(together, alone)


def test_embeddings_come_as_a_table_when_asked() -> None:
    model = small_model().set_output(transform="pandas")
    table = model.fit_transform(X)
    assert isinstance(table, pd.DataFrame)
    assert list(table.columns) == ["h0", "h1", "h2", "h3", "h4", "h5"]
    np.testing.assert_array_equal(table.to_numpy(), model.encode(X))
    assert list(model.get_feature_names_out()) == list(table.columns)
    pd.testing.assert_frame_equal(model.transform(X), table)


def test_parameters_may_be_numbers_of_numpy() -> None:
    found = {
        "hidden_size": np.int64(6),
        "learning_rate": np.float64(0.01),
        "dropout": np.float32(0),
    }
    assert_same_weights(small_model(**found).fit(X), small_model().fit(X))
