"""Per-class figures against scikit-learn, confusions by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support

from nas.report.classes import confusion, per_class, worst_confusions

MATRIX = [[5, 1, 0], [2, 0, 1], [0, 0, 0]]
NAMES = ("cat", "dog", "<owl>")


@given(
    st.integers(1, 6).flatmap(
        lambda n: st.lists(st.lists(st.integers(0, 9), min_size=n, max_size=n), min_size=n, max_size=n)
    )
)
def test_figures_are_those_of_scikit_learn(matrix):
    counts = np.array(matrix)
    truth = np.repeat(*np.array([(i, counts[i, j]) for i, j in np.ndindex(counts.shape)]).T)
    answers = np.repeat(*np.array([(j, counts[i, j]) for i, j in np.ndindex(counts.shape)]).T)
    found = per_class(matrix, [str(i) for i in range(len(matrix))])
    assert [one.support for one in found] == counts.sum(axis=1).tolist()
    if not len(truth):
        return
    labels = list(range(len(matrix)))
    expected = precision_recall_fscore_support(truth, answers, labels=labels, zero_division=0)
    for name, values in zip(("precision", "recall", "f1"), expected, strict=False):
        assert [getattr(one, name) or 0 for one in found] == pytest.approx(values)


def test_a_class_without_images_or_answers_has_no_figure():
    *_, owl = per_class(MATRIX, NAMES)
    assert (owl.precision, owl.recall, owl.f1, owl.support) == (0, None, 0, 0)
    (only,) = per_class([[0]], ["x"])
    assert (only.precision, only.recall, only.f1) == (None, None, None)


def test_worst_confusions_come_first():
    assert worst_confusions(MATRIX, NAMES) == (("dog", "cat", 2), ("cat", "dog", 1), ("dog", "<owl>", 1))


def test_a_record_in_full():
    found = confusion("validation", {"confusion": MATRIX, "balanced_accuracy": 0.5, "macro_f1": 0.25}, NAMES)
    assert found.matrix == tuple(map(tuple, MATRIX))
    assert found.names == NAMES
    assert found.summary == "balanced accuracy 50.0 %, macro F1 25.0 %"


def test_unknown_names_are_numbers_and_missing_figures_no_words():
    found = confusion("test", {"confusion": MATRIX}, ("only", "two"))
    assert (found.names, found.summary) == (("0", "1", "2"), "")


@pytest.mark.parametrize(
    "score",
    [None, {}, {"accuracy": 0.5}, {"confusion": []}, {"confusion": [[1, 2]]}, {"confusion": 5}, {"confusion": [["a"]]}],
)
def test_no_confusion_recorded(score):
    assert confusion("validation", score, NAMES) is None


def test_a_large_matrix_becomes_a_list_of_mistakes():
    matrix = np.eye(21, dtype=int) * 9
    matrix[4, 7] = 3
    found = confusion("validation", {"confusion": matrix.tolist()}, ())
    assert found.matrix == ()
    assert found.worst == (("4", "7", 3),)
    assert len(found.classes) == 21
