"""The model that reads ahead: it copies what it sees, and is at a loss without."""

import keras
import numpy as np
import pytest

from kseq.data.corpora import Corpus
from kseq.errors import DataError, UsageError
from kseq.experiments import seeing_ahead as lesson


@pytest.fixture
def corpus():
    rng = np.random.default_rng(0)
    return Corpus.from_text("time traveller" + "".join(rng.choice(list("abcdefgh"), 1200)))


class Copies:
    """Logits that name the next token where there is one, and the current one at the end."""

    def predict_on_batch(self, ids):
        following = np.concatenate([ids[:, 1:], ids[:, -1:]], axis=1)
        return 40 * np.eye(30, dtype="float32")[following]


def test_the_last_step_has_no_future_to_copy():
    ids = np.arange(3000) % 7
    nats = np.log(lesson._withheld(Copies(), ids.astype("int32"), 5))
    assert nats == pytest.approx(40, rel=1e-3)


def test_constant_text_needs_no_future():
    assert lesson._withheld(Copies(), np.full(3000, 4, "int32"), 5) == pytest.approx(1.0)


def test_it_reads_ahead(corpus):
    """The first step's logits change with the last token, and with nothing that is past."""
    model = lesson._ReadsAhead(len(corpus.vocab), 4, 1, seed=0)
    ids = corpus.ids[:12][None]
    changed = ids.copy()
    changed[0, -1] = (changed[0, -1] + 1) % len(corpus.vocab)
    one, other = (keras.ops.convert_to_numpy(model(x)) for x in (ids, changed))
    assert abs(one[0, 0] - other[0, 0]).max() > 0


def test_the_lesson_is_told_and_the_same_each_time(corpus):
    heard = []
    found = lesson.seeing_ahead(corpus, units=4, num_layers=2, epochs=2, report=heard.append)
    again = lesson.seeing_ahead(corpus, units=4, num_layers=2, epochs=2)
    assert [record["epoch"] for record in heard] == [1, 2]
    assert found.records == heard == again.records
    assert found.withheld == again.withheld
    assert found.text == again.text
    assert found.text.startswith(lesson.PROMPT)
    assert found.perplexity == pytest.approx(np.mean([r["perplexity"] for r in heard]))


def test_sizes_are_checked(corpus):
    with pytest.raises(UsageError, match="epochs: must be"):
        lesson.seeing_ahead(corpus, epochs=0)
    with pytest.raises(DataError, match="must have at least"):
        lesson.seeing_ahead(corpus.divide(40, 0)[0], units=2, epochs=1)
