"""Coverage, counted by hand."""

import pandas as pd

from nas.report.coverage import coverage, coverage_words

CHOICES = {
    "stem.width": (8, 16),
    "stage1.block1.kernel": (3, 5),
    "stage1.block2.kernel": (3, 5, 11),
    "stage1.block1.squeeze_excite": (False, True),
}
TRIALS = pd.DataFrame(
    {
        "number": [0, 1, 2, 3],
        "id": ["a", "b", "a", "c"],
        "params_stem.width": ["8", "8", "8", "8"],
        "params_stage1.block1.kernel": ["3", "5", "3", "3"],
        "params_stage1.block2.kernel": ["", "11", "", "3"],
    }
)


def test_counts_by_hand():
    width, kernel, squeeze = coverage(TRIALS, {1}, CHOICES)
    assert (width.kind, width.genes, width.pairs, width.seen, width.share) == ("width", 1, 2, 1, 0.5)
    assert (kernel.kind, kernel.genes, kernel.pairs, kernel.seen) == ("kernel", 2, 5, 4)
    # six answers: 3 four times, 5 and 11 once; the front's are 5 and 11. Numbers stand in numerical order.
    assert [(use.choice, use.all_trials, use.front) for use in kernel.choices] == [
        ("3", 4 / 6, 0), ("5", 1 / 6, 1 / 2), ("11", 1 / 6, 1 / 2),
    ]  # fmt: skip
    # a gene without a column has not been asked
    assert (squeeze.seen, [use.all_trials for use in squeeze.choices]) == (0, [None, None])


def test_no_front_has_no_shares():
    kinds = coverage(TRIALS, [], CHOICES)
    assert {use.front for kind in kinds for use in kind.choices} == {None}
    assert {use.all_trials for use in kinds[0].choices} == {1.0, 0.0}


def test_words_name_distinct_candidates_and_the_size_of_the_space(study, new_study):
    words = coverage_words(TRIALS, study)
    assert words.startswith("4 trials drew 3 different candidates of about 10^")
    space = {
        "input_size": 8, "stem_widths": (8,), "head_widths": (8, 16), "kernels": (3,), "expansions": (2,),
        "squeeze_excite": (False,), "activations": ("relu",), "stages": ({"depths": (1, 2), "widths": (8,)},),
    }  # fmt: skip
    small = new_study(space=type(study.space).model_validate(space), compression=type(study.compression)())
    assert (
        coverage_words(TRIALS, small)
        == "4 trials drew 3 different candidates of 4 ways to answer the space's questions."
    )
