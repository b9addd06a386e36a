"""How likely long texts are to a model that reads a window of them at a time.

The window slides: it moves on by `stride` tokens, and scores those that it has
not scored before. So every token is scored once, with at least `length -
stride` tokens in view. With a length of 4 and a stride of 2, and `>` for what a
text begins after:

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
    num_tokens: How many those are: all, but the first where there is nothing
      that it could be conditioned on.
    num_bytes: How many bytes of UTF-8 they stand for.
    num_words: How many words a document has: what white space divides.
    num_windows: In how many windows it was read.
  """

  log_probs: Float64[np.ndarray, 'N']
  num_tokens: Int64[np.ndarray, 'N']
  num_bytes: Int64[np.ndarray, 'N']
  num_words: Int64[np.ndarray, 'N']
  num_windows: Int64[np.ndarray, 'N']


def table(size: int, length: int, stride: int) -> Int64[np.ndarray, 'W 3']:
  """Returns for each window where it begins, first scores, and ends.

  Token i of `size` is answered where token i - 1 is read, or what a text begins
  after. A window from `begin` to `end` reads what is before its tokens, and
  scores those from `first` on. The last one is moved back until it is full.
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
    model: Predicts every next token.
    params: Its parameters.
    tokenizer: What it was trained with.
    documents: Of any lengths.
    form: `left_to_right`, or `target` for a decoder whose source is empty.
    length: How many tokens a window has; None: as many as the model reads.
    stride: How far it moves on, at most its length; None: half of it.
    batch_tokens: How many tokens are read at once at most.
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
  """Returns the measures of all documents together, from their sums.

  `loss` is in nats a token. `perplexity_per_word` divides the same sum by the
  words of the plain text (Radford et al. 2019, 3.1: what a token is differs).
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
  """Returns what is read, the token that each of these is asked for, and bytes.

  Args:
    document: The text.
    owner: Its number.
    tokenizer: Of it.
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
  """Returns what stands before the first token; None: nothing does.

  A document that begins with it has it already.
  """
  if decodes:
    return vocabulary.start_id
  begins = forms.prefix_id(vocabulary)
  return None if len(tokens) and tokens[0] == begins else begins


def resolve(
  max_len: int, length: int | None, stride: int | None
) -> tuple[int, int]:
  """Returns the length of a window and its stride, the defaults put in.

  Args:
    max_len: How many tokens the model reads.
    length: None: as many.
    stride: None: half of the length.
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
  """Returns the exponential, infinite where it is larger than a float."""
  return math.exp(nats) if nats < 709 else math.inf
