import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kseq.data import windows
from kseq.data.windows import (
    as_ids,
    evaluation_layout,
    gather,
    num_batches,
    offset,
    random_starts,
    sequential_starts,
)
from kseq.errors import DataError, UsageError

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")

SIZES = st.tuples(st.integers(1, 300), st.integers(1, 9), st.integers(1, 9)).filter(
    lambda sizes: sizes[0] > sizes[1] * sizes[2]
)
SEEDS = st.one_of(st.none(), st.integers(0, 2**32 - 1))
EPOCHS = st.integers(0, 10**6)
BOTH = pytest.mark.parametrize("starts_of", [sequential_starts, random_starts])


def alphabet(rows) -> list[str]:
    return ["".join(chr(ord("a") + index) for index in row) for row in rows]


# Worked by hand.


def seed_with_offset(wanted: int, *sizes: int) -> int:
    return next(seed for seed in range(1000) if offset(seed, 0, *sizes) == wanted)


def test_the_drawing_of_sequential_batches():
    seed = seed_with_offset(1, 21, 2, 3)
    starts = sequential_starts(21, 2, 3, seed)
    batches = [gather(np.arange(21), row, 3) for row in starts]
    assert starts.tolist() == [[1, 10], [4, 13], [7, 16]]
    assert [alphabet(inputs) for inputs, _ in batches] == [
        ["bcd", "klm"],
        ["efg", "nop"],
        ["hij", "qrs"],
    ]
    assert alphabet(batches[2][1]) == ["ijk", "rst"]


def test_the_drawing_of_random_batches():
    seed = seed_with_offset(1, 21, 2, 3)
    starts = random_starts(21, 2, 3, seed)
    assert sorted(starts.ravel().tolist()) == [1, 4, 7, 10, 13, 16]
    assert random_starts(21, 2, 3, None).tolist() == [[0, 3], [6, 9], [12, 15]]


@pytest.mark.parametrize("wanted", range(5))
@BOTH
def test_d2l_range_of_35_gives_3_batches_at_each_offset(starts_of, wanted):
    seed = seed_with_offset(wanted, 35, 2, 5)
    starts = starts_of(35, 2, 5, seed)
    assert starts.shape == (3, 2)
    assert starts.min() == wanted
    for row in starts:
        inputs, targets = gather(np.arange(35), row, 5)
        assert np.array_equal(targets, inputs + 1)


def test_counts_of_d2l():
    assert num_batches(35, 2, 5) == 3
    assert num_batches(10_000, 32, 35) == 8
    assert num_batches(170_580, 32, 35) == 152
    offsets = {offset(seed, 0, 10_000, 32, 35) for seed in range(500)}
    assert offsets == set(range(35))
    assert {sequential_starts(10_000, 32, 35, seed).shape for seed in range(99)} == {(8, 32)}


def test_offsets_that_would_lose_a_batch_are_not_drawn():
    # 35 tokens in 2 rows of 8 steps: 2 batches use 32 of 34 inputs, so 0, 1 and 2 are free.
    assert {offset(seed, 0, 35, 2, 8) for seed in range(99)} == {0, 1, 2}


def test_offsets_are_uniform():
    drawn = [offset(7, epoch, 35, 2, 5) for epoch in range(2000)]
    assert np.bincount(drawn) == pytest.approx(np.full(5, 400), abs=80)


def test_the_same_seed_and_epoch_give_the_same_batches():
    for starts_of in (sequential_starts, random_starts):
        first = starts_of(1000, 4, 7, 3, 5)
        assert np.array_equal(first, starts_of(1000, 4, 7, 3, 5))
    drawn = {
        tuple(random_starts(1000, 4, 7, seed, epoch)[0]) for seed in (0, 1) for epoch in (0, 1)
    }
    assert len(drawn) == 4


def test_without_a_seed_every_epoch_starts_at_the_beginning():
    assert [offset(None, epoch, 35, 2, 5) for epoch in range(9)] == [0] * 9
    assert np.array_equal(random_starts(35, 2, 5, None, 1), random_starts(35, 2, 5, None, 2))


# Enough, and one too few.


@given(st.integers(1, 40), st.integers(1, 40), SEEDS, EPOCHS)
def test_exactly_enough_for_one_batch(batch_size, num_steps, seed, epoch):
    enough = batch_size * num_steps + 1
    assert num_batches(enough, batch_size, num_steps) == 1
    assert offset(seed, epoch, enough, batch_size, num_steps) == 0
    expected = num_steps * np.arange(batch_size)
    for starts_of in (sequential_starts, random_starts):
        starts = starts_of(enough, batch_size, num_steps, seed, epoch)
        assert np.array_equal(np.sort(starts[0]), expected)


@pytest.mark.parametrize("n_tokens", [0, 1, 1120])
def test_too_few_tokens_says_how_many_are_needed(n_tokens):
    with pytest.raises(DataError) as raised:
        num_batches(n_tokens, 32, 35, "story, validation part")
    assert str(raised.value) == (
        "story, validation part: must have at least 1,121 tokens for one batch of 32 x 35 and its "
        f"targets, found {n_tokens:,}; use a smaller batch_size or num_steps, or a longer text"
    )


@pytest.mark.parametrize("size", [0, -1, 1.5, 10**12, True, "3"])
@pytest.mark.parametrize("function", [num_batches, evaluation_layout, sequential_starts])
def test_sizes_that_cannot_be(function, size):
    with pytest.raises(UsageError, match=r"^(max_)?batch_size: must be a whole number"):
        function(1000, size, 5)
    with pytest.raises(UsageError, match=r"^num_steps: must be a whole number"):
        function(1000, 5, size)


@pytest.mark.parametrize(("seed", "epoch"), [(-1, 0), (2**32, 0), (1.5, 0), (0, -1), (None, -1)])
def test_seeds_and_epochs_that_cannot_be(seed, epoch):
    with pytest.raises(UsageError, match=r"^(seed|epoch): must be a whole number"):
        sequential_starts(100, 2, 5, seed, epoch)


# Laws.


@given(SIZES, SEEDS, EPOCHS)
def test_the_number_of_batches_is_the_same_every_epoch(sizes, seed, epoch):
    n_tokens, batch_size, num_steps = sizes
    first = offset(seed, epoch, *sizes)
    expected = (n_tokens - 1) // (batch_size * num_steps)
    assert 0 <= first < num_steps
    assert num_batches(*sizes) == expected == (n_tokens - 1 - first) // (batch_size * num_steps)
    assert sequential_starts(*sizes, seed, epoch).shape == (expected, batch_size)
    assert random_starts(*sizes, seed, epoch).shape == (expected, batch_size)


@BOTH
@given(sizes=SIZES, seed=SEEDS, epoch=EPOCHS)
def test_targets_are_inputs_one_step_later(starts_of, sizes, seed, epoch):
    ids = np.random.default_rng(0).integers(0, 50, sizes[0])
    for starts in starts_of(*sizes, seed, epoch):
        inputs, targets = gather(ids, starts, sizes[2])
        assert inputs.shape == targets.shape == (sizes[1], sizes[2])
        assert inputs.dtype == targets.dtype == np.int32
        assert np.array_equal(inputs[:, 1:], targets[:, :-1])
        assert np.array_equal(inputs[:, 0], ids[starts])
        assert np.array_equal(targets[:, -1], ids[starts + sizes[2]])


@BOTH
@given(sizes=SIZES, seed=SEEDS, epoch=EPOCHS)
def test_each_used_token_is_an_input_once(starts_of, sizes, seed, epoch):
    starts = starts_of(*sizes, seed, epoch).ravel()
    used = (starts[:, np.newaxis] + np.arange(sizes[2])).ravel()
    assert len(np.unique(used)) == len(used) == num_batches(*sizes) * sizes[1] * sizes[2]
    assert used.min() >= offset(seed, epoch, *sizes)
    assert used.max() < sizes[0] - 1


@given(SIZES, SEEDS, EPOCHS)
def test_rows_continue_in_the_next_batch(sizes, seed, epoch):
    starts = sequential_starts(*sizes, seed, epoch)
    assert (np.diff(starts, axis=0) == sizes[2]).all()
    assert starts[0, 0] == offset(seed, epoch, *sizes)
    assert len(np.unique(np.diff(starts[0]))) <= 1


@given(SIZES, SEEDS, EPOCHS)
def test_random_windows_are_disjoint(sizes, seed, epoch):
    starts = np.sort(random_starts(*sizes, seed, epoch).ravel())
    assert (np.diff(starts) >= sizes[2]).all()


def test_random_windows_are_shuffled_over_the_whole_text():
    starts = random_starts(100_000, 10, 10, 0)
    assert np.abs(np.corrcoef(np.arange(starts.size), starts.ravel())[0, 1]) < 0.1


@given(st.integers(2, 5000), st.integers(1, 64), st.integers(1, 64))
def test_evaluation_leaves_few_tokens_over(n_tokens, batch_size, num_steps):
    rows, steps = evaluation_layout(n_tokens, batch_size, num_steps)
    assert 1 <= rows <= batch_size
    assert 1 <= steps <= num_steps
    scored = num_batches(n_tokens, rows, steps) * rows * steps
    most = min(num_steps, n_tokens - 1)
    lengths = range(most // 2 + 1, most + 1)
    assert scored == max((n_tokens - 1) // (rows * length) * rows * length for length in lengths)
    assert rows == 1 or num_batches(n_tokens, rows, steps) >= 8


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((2, 32, 35), (1, 1)),  # one target
        ((36, 32, 35), (1, 35)),  # one window
        ((71, 32, 35), (1, 35)),  # two windows of one row
        ((1121, 32, 35), (4, 35)),  # 1120 targets: 4 rows of 8 windows
        ((32 * 35 * 10 + 1, 32, 35), (32, 35)),  # nothing left over as it is
        ((10_000_001, 1000, 1000), (1000, 1000)),
    ],
)
def test_evaluation_layouts_by_hand(sizes, expected):
    assert evaluation_layout(*sizes) == expected


def test_evaluation_scores_nearly_all_of_a_real_size():
    rows, steps = evaluation_layout(17_343, 32, 35)
    assert 17_342 - num_batches(17_343, rows, steps) * rows * steps <= 2


def test_evaluation_needs_an_input_and_a_target():
    with pytest.raises(DataError, match=r"^valid: must have at least 2 tokens"):
        evaluation_layout(1, 32, 35, "valid")


# Ids.


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_ids_keep_their_dtype_and_batches_are_int32(dtype):
    ids = as_ids(np.arange(20, dtype=dtype))
    assert ids.dtype == dtype
    assert [batch.dtype for batch in gather(ids, np.array([0, 5]), 5)] == [np.int32, np.int32]


@pytest.mark.parametrize("wrong", [[[1, 2]], [0.5], ["a"], 3, [True, False], [2, -1, 3], None])
def test_what_are_no_ids(wrong):
    with pytest.raises(DataError, match=r"^ids: must be .*, found .*; "):
        as_ids(wrong)


def test_the_first_negative_id_is_named():
    with pytest.raises(DataError, match=r"found -7 at index 2"):
        as_ids([5, 1, -7])


@pytest.mark.parametrize("seed", [None, 3])
@BOTH
def test_starts_that_are_too_many_to_hold_are_the_same(starts_of, seed, monkeypatch):
    expected = starts_of(10_001, 4, 7, seed)
    monkeypatch.setattr(windows, "_MOST_STARTS", 0)

    found = starts_of(10_001, 4, 7, seed)

    assert isinstance(found, windows.Starts)
    assert found.shape == expected.shape
    assert [found[index].tolist() for index in range(len(found))] == expected.tolist()
