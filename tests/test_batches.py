"""SequentialBatches and RandomBatches: their laws, their epochs, and what `fit` feeds of them."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from language_cases import VOCAB, draw_ids, same

import kseq
from kseq import Corpus, DataError, RandomBatches, SequentialBatches, UsageError

BOTH = pytest.mark.parametrize("kind", [SequentialBatches, RandomBatches])
SIZES = st.tuples(st.integers(2, 300), st.integers(1, 6), st.integers(1, 8)).filter(
    lambda sizes: sizes[0] > sizes[1] * sizes[2]
)
SEEDS = st.one_of(st.none(), st.integers(0, 2**31 - 1))
KINDS = st.sampled_from([SequentialBatches, RandomBatches])


def made(kind, sizes, seed, epoch):
    """Give batches of the ids 0 .. N-1, where every id tells its position."""
    count, batch_size, num_steps = sizes
    batches = kind(np.arange(count), batch_size, num_steps, seed=seed)
    batches.set_epoch(epoch)
    return batches


def epoch_of(batches):
    """Give the inputs and the targets of the current epoch, (num_batches, B, T) each."""
    return tuple(np.stack(part) for part in zip(*batches, strict=True))


# Worked by hand.


@pytest.mark.parametrize("epoch", range(12))
def test_the_worked_example_of_d2l(epoch):
    batches = made(SequentialBatches, (35, 2, 5), 0, epoch)
    inputs, _ = epoch_of(batches)
    first = inputs[0, 0, 0]
    row = (34 - first) // 2
    assert 0 <= first < 5
    assert inputs.shape == (3, 2, 5)
    assert inputs[:, 0].ravel().tolist() == list(range(first, first + 15))
    assert inputs[:, 1].ravel().tolist() == list(range(first + row, first + row + 15))


def test_the_worked_example_in_random_order():
    starts = set()
    for epoch in range(12):
        inputs, _ = epoch_of(made(RandomBatches, (35, 2, 5), 0, epoch))
        assert inputs.shape == (3, 2, 5)
        first = inputs[:, :, 0].ravel()
        assert set(first % 5) == {first[0] % 5}
        starts.add(tuple(first))
    assert len(starts) == 12


@BOTH
@pytest.mark.parametrize(
    ("count", "batches", "tokens"), [(10_000, 8, 8_960), (170_580, 152, 170_240)]
)
def test_the_time_machine_gives_the_batches_d2l_counts(kind, count, batches, tokens):
    made_of_it = kind(np.zeros(count, "int32"), 32, 35)
    assert (len(made_of_it), made_of_it.tokens_per_epoch) == (batches, tokens)


# Laws.


@given(KINDS, SIZES, SEEDS, st.integers(0, 1000))
def test_targets_are_inputs_one_step_later(kind, sizes, seed, epoch):
    inputs, targets = epoch_of(made(kind, sizes, seed, epoch))
    assert inputs.dtype == targets.dtype == np.int32
    assert (targets == inputs + 1).all()
    assert (inputs[:, :, 1:] == targets[:, :, :-1]).all()


@given(KINDS, SIZES, SEEDS, st.integers(0, 1000))
def test_every_used_token_is_an_input_once_an_epoch(kind, sizes, seed, epoch):
    batches = made(kind, sizes, seed, epoch)
    inputs, _ = epoch_of(batches)
    assert inputs.shape == (len(batches), *sizes[1:])
    assert len(np.unique(inputs)) == inputs.size == batches.tokens_per_epoch
    # No more is left over than the offset, and what fills no batch.
    assert sizes[0] - 1 - inputs.size < sizes[1] * sizes[2]


@given(SIZES, SEEDS, st.integers(0, 1000))
def test_row_b_of_the_next_batch_continues_row_b(sizes, seed, epoch):
    inputs, targets = epoch_of(made(SequentialBatches, sizes, seed, epoch))
    assert (inputs[1:, :, 0] == targets[:-1, :, -1]).all()


@given(SIZES, SEEDS, st.integers(0, 1000))
def test_random_windows_are_disjoint_runs(sizes, seed, epoch):
    inputs, _ = epoch_of(made(RandomBatches, sizes, seed, epoch))
    starts = np.sort(inputs[:, :, 0].ravel())
    assert (np.diff(inputs, axis=-1) == 1).all()
    assert (np.diff(starts) >= sizes[2]).all()
    assert (np.diff(starts) % sizes[2] == 0).all()


@given(KINDS, SIZES, SEEDS, st.integers(0, 1000))
def test_an_epoch_is_a_pure_function_of_seed_and_epoch(kind, sizes, seed, epoch):
    early, late = made(kind, sizes, seed, 0), made(kind, sizes, seed, epoch)
    list(early)
    early.set_epoch(epoch)
    assert all(np.array_equal(a, b) for a, b in zip(epoch_of(early), epoch_of(late), strict=True))


# Epochs.


@BOTH
def test_plain_iteration_moves_on_to_the_next_epoch(kind):
    batches = kind(np.arange(200), 2, 20)
    walked = [epoch_of(batches)[0] for _ in range(6)]
    assert batches.epoch == 6
    for epoch, inputs in enumerate(walked):
        assert (inputs == epoch_of(made(kind, (200, 2, 20), 0, epoch))[0]).all()
    assert len({inputs.tobytes() for inputs in walked}) > 3


@BOTH
def test_an_iteration_left_early_stays_in_its_epoch(kind):
    batches = kind(np.arange(200), 2, 5)
    next(iter(batches))
    assert batches.epoch == 0


def test_offsets_are_fresh_and_reach_from_0_to_the_last_step():
    batches, offsets = SequentialBatches(np.arange(500), 2, 5), []
    for _ in range(60):
        offsets.append(int(batches[0][0][0, 0]))
        batches.on_epoch_end()
    assert set(offsets) == {0, 1, 2, 3, 4}


def test_another_seed_gives_other_offsets_and_no_seed_none():
    def offsets(seed):
        made_of_it = (made(SequentialBatches, (500, 2, 50), seed, epoch) for epoch in range(8))
        return [int(batches[0][0][0, 0]) for batches in made_of_it]

    assert offsets(1) == offsets(1) != offsets(2)
    assert offsets(None) == [0] * 8


def test_an_evaluation_reads_from_the_first_token_whatever_the_epoch():
    corpus = Corpus.from_text("the quick brown fox jumps over the lazy dog")
    batches = SequentialBatches(corpus, 2, 5, seed=3)
    batches.set_epoch(7)
    judged = batches.from_first_token()
    assert judged.corpus is corpus
    assert judged[0][0][0].tolist() == corpus.ids[:5].tolist()
    list(judged)
    assert judged[0][0][0].tolist() == corpus.ids[:5].tolist()
    assert batches.epoch == 7


# What `fit` feeds.


class Recorder(kseq.LanguageModel):
    """Notes the inputs and targets of every step of the latest `fit`.

    Its recurrent layers rest, which makes a step taken outside of compiled code quick on JAX.
    """

    def call(self, ids, **options):
        return self.stack.dense(keras.ops.one_hot(ids, self.units))

    def fit(self, *args, **options):
        self.seen = []
        # Keras first tries the model on a made-up batch.
        started = keras.callbacks.LambdaCallback(on_train_begin=lambda _: self.seen.clear())
        super().fit(*args, callbacks=[started], verbose=0, **options)
        return [tuple(map(keras.ops.convert_to_numpy, pair)) for pair in self.seen]

    def compute_loss(self, x, y, *rest, **options):
        self.seen.append((x, y))
        return super().compute_loss(x, y, *rest, **options)


@pytest.fixture
def recorder():
    model = Recorder(VOCAB, cell="simple_rnn", units=len(VOCAB), num_layers=1)
    model.stack.recurrent[0].trainable = False
    model.compile(run_eagerly=True)
    return model


IDS, SHAPE = draw_ids(60), (3, 4)


def batches_of(kind, epochs):
    batches, walked = kind(IDS, *SHAPE), []
    for epoch in epochs:
        batches.set_epoch(epoch)
        walked += list(batches)
    return walked


def assert_same(found, expected):
    assert len(found) == len(expected)
    assert all(same(pair, wanted) for pair, wanted in zip(found, expected, strict=True))


@BOTH
def test_fit_feeds_what_plain_iteration_gives(recorder, kind):
    batches = kind(IDS, *SHAPE)
    # The wish to reorder the batches is not heard: their order is their meaning.
    assert_same(recorder.fit(batches, epochs=3, shuffle=True), batches_of(kind, range(3)))
    assert batches.epoch == 3


@BOTH
def test_another_fit_goes_on_where_the_batches_are(recorder, kind):
    batches = kind(IDS, *SHAPE)
    list(batches)
    assert_same(recorder.fit(batches, epochs=2), batches_of(kind, [1, 2]))
    assert_same(recorder.fit(batches), batches_of(kind, [3]))
    assert_same(recorder.fit(batches, initial_epoch=7, epochs=9), batches_of(kind, [7, 8]))


def test_validation_leaves_the_training_batches_alone(recorder):
    held_out = SequentialBatches(draw_ids(30, seed=1), 2, 4)
    list(held_out)
    fed = recorder.fit(SequentialBatches(IDS, *SHAPE), validation_data=held_out, epochs=2)
    trained = [pair for pair in fed if pair[0].shape == SHAPE]
    assert_same(trained, batches_of(SequentialBatches, [0, 1]))
    judged = [pair for pair in fed if pair[0].shape == (2, 4)]
    assert_same(judged, 2 * list(held_out.from_first_token()))


# What they are made of.


@BOTH
def test_a_corpus_or_its_ids_give_the_same_batches(kind):
    corpus = Corpus.from_text("the quick brown fox jumps over the lazy dog")
    from_corpus, from_ids = kind(corpus, 2, 5), kind(corpus.ids.tolist(), 2, 5)
    assert from_corpus.corpus is corpus
    assert from_ids.corpus is None
    assert (epoch_of(from_corpus)[0] == epoch_of(from_ids)[0]).all()


@BOTH
def test_one_token_too_few_says_how_many_are_needed(kind):
    assert len(kind(np.arange(11), 2, 5)) == 1
    with pytest.raises(DataError, match=r"at least 11 tokens for one batch of 2 x 5 .*found 10;"):
        kind(np.arange(10), 2, 5)


def test_a_text_too_short_is_called_by_its_name():
    train, held_out = Corpus.from_text("to be or not to be", name="hamlet").split(0.5)
    with pytest.raises(DataError, match=r"^hamlet, validation part: must have at least 71 tokens"):
        SequentialBatches(held_out, 2, 35)
    assert len(SequentialBatches(train, 2, 4)) == 1


@BOTH
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 0}, "batch_size: must be a whole number, at least 1, found 0"),
        ({"num_steps": -1}, "num_steps: must be a whole number, at least 1, found -1"),
        ({"num_steps": 2.5}, "num_steps: must be a whole number, at least 1, found 2.5"),
        ({"batch_size": 10**12}, "batch_size: must be a whole number, at most 2,147,483,647"),
        ({"seed": -1}, "seed: must be a whole number, at least 0, found -1"),
        ({"seed": 2**32}, "seed: must be a whole number, at most"),
    ],
)
def test_sizes_that_cannot_be_used(kind, options, words):
    with pytest.raises(UsageError, match=words):
        kind(np.arange(50), **{"batch_size": 2, "num_steps": 5, **options})


@BOTH
@pytest.mark.parametrize("ids", [np.zeros(50), np.zeros((10, 5), int), -np.arange(50)], ids=str)
def test_ids_that_are_none(kind, ids):
    with pytest.raises(DataError, match=r"^ids: must be "):
        kind(ids, 2, 5)


@BOTH
def test_a_batch_that_does_not_exist(kind):
    batches = kind(np.arange(50), 2, 5)
    for index in (-1, len(batches)):
        with pytest.raises(IndexError, match="of 4"):
            batches[index]
