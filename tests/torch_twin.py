"""A language model in bare PyTorch with the weights of one of ours: an oracle under every engine.

Keras keeps one bias for each gate of a SimpleRNN or an LSTM where PyTorch keeps two, so PyTorch's
second stays zero and takes no step; a GRU has two in both.  The gates of a GRU are z, r, h in
Keras and r, z, n in PyTorch.
"""

import keras
import numpy as np
import torch
from torch.nn.functional import cross_entropy, one_hot

RECURRENT = {"simple_rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}


class Twin(torch.nn.Module):
    """Ids (B, T) and a state of PyTorch's -> logits (B, T, V) in float64 and the new state."""

    def __init__(self, model):
        super().__init__()
        self.vocab_size, self.tied = len(model.vocab), model.tie_weights
        width = model.embedding_dim or self.vocab_size
        self.recurrent = RECURRENT[model.cell](
            width, model.units, model.num_layers, batch_first=True, dtype=torch.float64
        )
        self.embedding = torch.nn.Embedding(self.vocab_size, width, dtype=torch.float64)
        self.readout = torch.nn.Linear(model.units, self.vocab_size, dtype=torch.float64)
        self.embedded = model.embedding_dim is not None
        if self.tied:
            self.readout.weight = self.embedding.weight
        self.copy(model)
        for name, parameter in self.recurrent.named_parameters():
            parameter.requires_grad_(model.cell == "gru" or not name.startswith("bias_hh"))

    def forward(self, ids, state=None):
        x = self.embedding(ids) if self.embedded else one_hot(ids, self.vocab_size).double()
        outputs, state = self.recurrent(x, state)
        return self.readout(outputs), state

    @torch.no_grad()
    def copy(self, model):
        """Take the weights of `model`."""
        for layer, ours in enumerate(model.stack.recurrent):
            for name, values in _by_torch_name(model.cell, *ours.get_weights()).items():
                getattr(self.recurrent, f"{name}_l{layer}").copy_(torch.from_numpy(values))
        if self.embedded:
            weights = model.stack.embedding.get_weights()[0]
            self.embedding.weight.copy_(torch.from_numpy(weights))
        self.readout.bias.copy_(torch.from_numpy(_readout_bias(model)))
        if not self.tied:
            self.readout.weight.copy_(torch.from_numpy(model.stack.dense.get_weights()[0].T))

    def train_on(self, batches, learning_rate, clip):
        """Train one epoch by truncated backpropagation; give the loss of every step."""
        optimizer = torch.optim.SGD(self.parameters(), learning_rate)
        losses, state = [], None
        for ids, targets in batches:
            logits, state = self(torch.from_numpy(ids).long(), state)
            state = _detached(state)
            loss = cross_entropy(logits.mT, torch.from_numpy(targets).long())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.parameters(), clip)
            optimizer.step()
            losses.append(loss.item())
        return losses


def _by_torch_name(cell, kernel, recurrent, bias):
    if cell == "gru":
        kernel, recurrent, bias = (_reset_first(w) for w in (kernel, recurrent, bias))
    biases = bias if bias.ndim == 2 else (bias, np.zeros_like(bias))
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return dict(zip(names, (kernel.T.copy(), recurrent.T.copy(), *biases), strict=True))


def _readout_bias(model):
    if model.tie_weights:
        return np.array(keras.ops.convert_to_numpy(model.stack.bias))
    return model.stack.dense.get_weights()[1]


def _reset_first(weight):
    z, r, n = np.split(weight, 3, -1)
    return np.concatenate([r, z, n], -1)


def _detached(state):
    return state.detach() if isinstance(state, torch.Tensor) else tuple(s.detach() for s in state)
