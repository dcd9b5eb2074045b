"""What a language model may be fed: token ids in arrays, checked once before Keras sees them."""

from __future__ import annotations

from typing import Any

from kseq.data.token_ids import check_ids


class ChecksIds:
    """Mixed into a language model: the ids of arrays are checked where they come in.

    Data sets and tensors are checked by nobody.
    """

    vocab: Any

    def __call__(self, ids: Any, *args: Any, **kwargs: Any) -> Any:
        check_ids("ids", ids, len(self.vocab))
        return super().__call__(ids, *args, **kwargs)  # type: ignore[misc]

    def fit(self, x: Any = None, y: Any = None, **kwargs: Any) -> Any:
        """As Keras's; refuses arrays with an id outside the vocabulary."""
        self._check(x=x, y=y)
        validation = kwargs.get("validation_data")
        if isinstance(validation, list | tuple):
            for ids in validation[:2]:
                check_ids("validation_data", ids, len(self.vocab))
        return super().fit(x, y, **kwargs)  # type: ignore[misc]

    def evaluate(self, x: Any = None, y: Any = None, **kwargs: Any) -> Any:
        """As Keras's; refuses arrays with an id outside the vocabulary."""
        self._check(x=x, y=y)
        return super().evaluate(x, y, **kwargs)  # type: ignore[misc]

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """As Keras's; refuses arrays with an id outside the vocabulary."""
        self._check(x=x)
        return super().predict(x, *args, **kwargs)  # type: ignore[misc]

    def train_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As Keras's; refuses arrays with an id outside the vocabulary."""
        self._check(x=x, y=y)
        return super().train_on_batch(x, y, *args, **kwargs)  # type: ignore[misc]

    def test_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As Keras's; refuses arrays with an id outside the vocabulary."""
        self._check(x=x, y=y)
        return super().test_on_batch(x, y, *args, **kwargs)  # type: ignore[misc]

    def _check(self, **arrays: Any) -> None:
        for name, ids in arrays.items():
            check_ids(name, ids, len(self.vocab))
