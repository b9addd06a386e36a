"""Log-probabilities of long texts, which a model reads in sliding windows.

The window advances by `stride` tokens, and scores those not scored before. So
every token is scored once, after the first window with at least `length -
stride` tokens of context. With a length of 4, a stride of 2, and `>` for the
token that a text begins after:

    reads  > 0 1 2   scores  0 1 2 3
           1 2 3 4               4 5
           3 4 5 6                 6 7
           4 5 6 7                   8    full to the last
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from flax import linen as nn
from jaxtyping import Float64, Int, Int64

from lm.data.tokenizers import Tokenizer
from lm.objectives.denoising import end_of
from lm.scoring import batches, forms
from lm.scoring.batches import Row
from lm.types import PyTree, UserError, Vocabulary

FORMS = ('left_to_right', 'target')


class Likelihoods(NamedTuple):
  """How likely some documents are.

  Attributes:
    log_probs: Sums over the tokens that are scored, in nats.
    num_tokens: The number of those tokens: all, except the first if there is
      nothing to condition it on.
    num_bytes: The number of UTF-8 bytes that they stand for.
    num_words: The number of words of a document, separated by white space.
    num_windows: The number of windows it was read in.
  """

  log_probs: Float64[np.ndarray, 'N']
  num_tokens: Int64[np.ndarray, 'N']
  num_bytes: Int64[np.ndarray, 'N']
  num_words: Int64[np.ndarray, 'N']
  num_windows: Int64[np.ndarray, 'N']


def table(size: int, length: int, stride: int) -> Int64[np.ndarray, 'W 3']:
  """Returns the begin, the first scored token, and the end of each window.

  Token i of `size` is predicted where token i - 1 is read, or the token that a
  text begins after. A window from `begin` to `end` reads the token before each
  of its own, and scores those from `first` on. The last one is moved back until
  it is full.
  """
  ends = [min(length, size)]
  while ends[-1] < size:
    ends.append(min(ends[-1] + stride, size))
  firsts = [0, *ends[:-1]]
  rows = [
    (max(0, end - length), first, end) for first, end in zip(firsts, ends)
  ]
  return np.array(rows, np.int64)


def likelihoods(
  model: nn.Module,
  params: PyTree,
  tokenizer: Tokenizer,
  documents: Sequence[str],
  form: str = 'left_to_right',
  *,
  length: int | None = None,
  stride: int | None = None,
  batch_tokens: int = batches.TOKENS,
) -> Likelihoods:
  """Returns how likely documents are, each by itself.

  Args:
    model: A model that predicts the next token.
    params: Its parameters.
    tokenizer: The tokenizer it was trained with.
    documents: Texts of any length.
    form: `left_to_right`, or `target` for a decoder with an empty source.
    length: The number of tokens of a window; None means the model's maximum.
    stride: How far it advances, at most its length; None means half of it.
    batch_tokens: The most tokens of a batch.
  """
  if form not in FORMS:
    raise UserError(
      f'The form of scoring is {form!r}, in which tokens are not predicted one'
      ' after another, so there is no perplexity. It is for models that read'
      ' from left to right.'
    )
  forms.check(form, model, tokenizer.vocabulary)
  length, stride = resolve(model.config.max_len, length, stride)
  sizes = np.zeros((4, len(documents)), np.int64)

  def rows() -> Iterator[Row]:
    for owner, document in enumerate(documents):
      read, scored, sizes[1, owner] = _read(
        document, owner, tokenizer, form == 'target'
      )
      windows = table(len(scored), length, stride)
      sizes[0, owner] = len(scored)
      sizes[2:, owner] = len(document.split()), len(windows)
      source = None
      if form == 'target':
        source = np.array([end_of(tokenizer.vocabulary)], np.int32)
      for begin, first, end in windows.tolist():
        places = np.arange(first - begin, end - begin, dtype=np.int32)
        yield Row(owner, read[begin:end], places, scored[first:end], source)

  found = batches.total(
    model, params, rows(), len(documents), batch_tokens=batch_tokens
  )
  return Likelihoods(found.log_probs, *sizes)


def perplexity(found: Likelihoods) -> dict[str, Any]:
  """Returns the metrics of all documents together, from their sums.

  `loss` is in nats per token. `perplexity_per_word` divides the same sum by the
  words of the plain text (Radford et al. 2019, 3.1), since tokenizers differ.
  """
  nats = -float(found.log_probs.sum())
  tokens, size, words, windows = (int(counts.sum()) for counts in found[1:])
  return {
    'loss': nats / tokens,
    'perplexity': _exp(nats / tokens),
    'perplexity_per_word': _exp(nats / words),
    'bits_per_byte': nats / math.log(2) / size,
    'nats': nats,
    'tokens': tokens,
    'words': words,
    'bytes': size,
    'documents': len(found.log_probs),
    'windows': windows,
  }


def _read(
  document: str, owner: int, tokenizer: Tokenizer, decodes: bool
) -> tuple[batches.Tokens, batches.Tokens, int]:
  """Returns the tokens to read, the targets at each, and the bytes of these.

  Args:
    document: The text.
    owner: Its index.
    tokenizer: The tokenizer of the model.
    decodes: Whether a decoder reads it, which begins with a token of its own.
  """
  (encoding,) = tokenizer.encode_batch([document])
  tokens = np.array(encoding.ids, np.int32)
  size = len(document.encode())
  begins = _begins_after(tokens, tokenizer.vocabulary, decodes)
  if begins is None and len(tokens):
    size -= int(tokenizer.byte_lengths(document, encoding)[0])
    read, scored = tokens[:-1], tokens[1:]
  else:
    read, scored = np.append(np.int32(begins or 0), tokens[:-1]), tokens
  if not len(scored):
    raise UserError(
      f'Document {owner} is {document[:40]!r}, of which no token can be'
      ' predicted. Leave it out.'
    )
  return read, scored, size


def _begins_after(
  tokens: Int[np.ndarray, '_'], vocabulary: Vocabulary, decodes: bool
) -> int | None:
  """Returns the token to put before the first, or None for nothing.

  None is needed if the document already begins with that token.
  """
  if decodes:
    return vocabulary.start_id
  begins = forms.prefix_id(vocabulary)
  return None if len(tokens) and tokens[0] == begins else begins


def resolve(
  max_len: int, length: int | None, stride: int | None
) -> tuple[int, int]:
  """Returns the length of a window and its stride, with defaults filled in.

  Args:
    max_len: The most tokens that the model reads.
    length: None means `max_len`.
    stride: None means half of the length.
  """
  length = max_len if length is None else length
  if not 0 < length <= max_len:
    raise UserError(
      f'The length of a window is {length}, but the model reads {max_len}'
      f' tokens at most. Set it to 1 to {max_len}.'
    )
  stride = max(1, length // 2) if stride is None else stride
  if not 0 < stride <= length:
    raise UserError(
      f'The stride is {stride}, but a window has {length} tokens, so some would'
      f' never be scored. Set it to 1 to {length}.'
    )
  return length, stride


def _exp(nats: float) -> float:
  """Returns the exponential, or infinity if it overflows a float."""
  return math.exp(nats) if nats < 709 else math.inf
