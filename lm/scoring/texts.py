"""Log-probabilities of texts, or parts of them, under a model of any family."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from flax import linen as nn
from jaxtyping import Bool, Float64, Int64

from lm.data.tokenizers import Tokenizer
from lm.scoring import batches, forms
from lm.scoring.batches import Row
from lm.scoring.forms import Piece, Reader
from lm.types import PyTree, UserError

CHUNK = 4096  # Texts that are tokenized together.


class Span(NamedTuple):
  """A text to score, and the text around it.

  Attributes:
    before: The text before it. White space at its end belongs to the span.
    text: The text to score.
    after: The text after it. A left-to-right model scores it as well, since it
      cannot look ahead.
    name: Its name in error messages; '' means its number.
  """

  before: str
  text: str
  after: str = ''
  name: str = ''


class Scores(NamedTuple):
  """How likely some texts are.

  Attributes:
    log_probs: Sums over the tokens that are scored, in nats.
    num_tokens: The number of those tokens.
    num_bytes: The number of UTF-8 bytes that they stand for.
    greedy: Whether all of them are the likeliest at their positions; all False
      unless requested.
  """

  log_probs: Float64[np.ndarray, 'N']
  num_tokens: Int64[np.ndarray, 'N']
  num_bytes: Int64[np.ndarray, 'N']
  greedy: Bool[np.ndarray, 'N']


def sentence_scores(
  model: nn.Module,
  params: PyTree,
  tokenizer: Tokenizer,
  texts: Sequence[str],
  form: str,
  *,
  batch_tokens: int = batches.TOKENS,
) -> Scores:
  """Returns how likely whole texts are; arguments are as in `span_scores`."""
  spans = [Span('', text) for text in texts]
  return span_scores(
    model, params, tokenizer, spans, form, batch_tokens=batch_tokens
  )


def continuation_scores(
  model: nn.Module,
  params: PyTree,
  tokenizer: Tokenizer,
  contexts: Sequence[str],
  texts: Sequence[str],
  form: str,
  *,
  batch_tokens: int = batches.TOKENS,
  too_long: str = 'error',
) -> Scores:
  """Returns how likely texts are, each after its context; see `span_scores`."""
  spans = [Span(context, text) for context, text in zip(contexts, texts)]
  return span_scores(
    model,
    params,
    tokenizer,
    spans,
    form,
    batch_tokens=batch_tokens,
    too_long=too_long,
  )


def span_scores(
  model: nn.Module,
  params: PyTree,
  tokenizer: Tokenizer,
  spans: Sequence[Span],
  form: str,
  *,
  batch_tokens: int = batches.TOKENS,
  too_long: str = 'error',
  greedy: bool = False,
) -> Scores:
  """Returns how likely each span is, given the text around it.

  Args:
    model: A model that predicts tokens.
    params: Its parameters.
    tokenizer: The tokenizer it was trained with.
    spans: The texts to score.
    form: The form of scoring, one of `forms.FORMS`.
    batch_tokens: The most tokens of a batch.
    too_long: If the model cannot read all of a text, `error`, or `cut` to
      truncate what is around the span.
    greedy: Whether to find out if tokens are the likeliest, which is slower.

  Raises:
    UserError: The form does not fit the model, or a text cannot be scored.
  """
  if too_long not in ('error', 'cut'):
    raise UserError(
      f"too_long is {too_long!r}, and it is to be 'error' or 'cut'. Set it to"
      ' one of them.'
    )
  forms.check(form, model, tokenizer.vocabulary)
  limit = model.config.max_len
  reader = Reader(tokenizer.vocabulary, limit, too_long == 'cut')
  sizes = np.zeros((2, len(spans)), np.int64)
  found = batches.total(
    model,
    params,
    _rows(spans, tokenizer, form, reader, sizes),
    len(spans),
    batch_tokens=batch_tokens,
    greedy=greedy,
  )
  return Scores(found.log_probs, sizes[0], sizes[1], found.greedy)


def _rows(
  spans: Sequence[Span],
  tokenizer: Tokenizer,
  form: str,
  reader: Reader,
  sizes: Int64[np.ndarray, '2 N'],
) -> Iterator[Row]:
  """Yields the rows of all spans, filling in their token and byte counts."""
  kind = forms.FORMS[form]
  for begin in range(0, len(spans), CHUNK):
    chunk = spans[begin : begin + CHUNK]
    named = [
      span if span.name else span._replace(name=f'Text {number}')
      for number, span in enumerate(chunk, start=begin)
    ]
    for owner, (piece, num_bytes) in enumerate(
      _pieces(named, tokenizer, kind), start=begin
    ):
      sizes[:, owner] = piece.end - piece.start, num_bytes
      if piece.start < piece.end:
        yield from kind.rows(piece, reader, owner)


def _pieces(
  spans: Sequence[Span], tokenizer: Tokenizer, kind: forms.Kind
) -> Iterator[tuple[Piece, int]]:
  """Yields the tokens of each span, and the number of bytes that are scored."""
  for span in spans:
    if not span.text:
      raise UserError(
        f'{span.name} is empty, so there is nothing to score. Give it a text, or'
        ' leave it out.'
      )
  befores = ['' if kind.apart else span.before for span in spans]
  wholes = [
    before + span.text + span.after for before, span in zip(befores, spans)
  ]
  sources = tokenizer.encode_batch(
    [span.before if kind.apart else '' for span in spans], offsets=False
  )
  encodings = tokenizer.encode_batch(wholes)
  for span, before, whole, source, encoding in zip(
    spans, befores, wholes, sources, encodings
  ):
    start, end = _scored(span._replace(before=before), encoding.offsets)
    tokens = np.array(encoding.ids, np.int32)
    if start == end:
      raise UserError(
        f'{span.name} is {span.text!r}, which has no tokens, so there is nothing'
        ' to score. Give it a text, or leave it out.'
      )
    scored = span.text
    if kind.to_end:
      end, scored = len(tokens), span.text + span.after
    num_bytes = len(scored.encode())
    starts = tokenizer.word_starts(tokens)
    alone = not (span.before.strip() or span.after.strip())
    piece = Piece(tokens, start, end, starts, alone, span.name)
    if kind.apart:
      _check_apart(span)
      yield _after(piece, np.array(source.ids, np.int32)), num_bytes
    elif kind.to_end and not forms.is_conditioned(piece, tokenizer.vocabulary):
      num_bytes -= int(tokenizer.byte_lengths(whole, encoding)[0])
      yield piece._replace(start=1), num_bytes
    else:
      yield piece, num_bytes


def _scored(span: Span, offsets: Sequence[tuple[int, int]]) -> tuple[int, int]:
  """Returns the first token of the span, and the one after its last.

  A token that also covers part of the preceding text belongs to the span.
  """
  start = len(span.before.rstrip())
  end = len(span.before) + len(span.text.rstrip() or span.text)
  places = np.array(offsets, np.int64).reshape(-1, 2)
  first = int(np.sum(places[:, 1] <= start)) if start else 0
  last = len(places)
  if span.after.strip():
    last = int(np.sum(places[:, 0] < end))
  return first, max(first, last)


def _check_apart(span: Span) -> None:
  if span.after:
    raise UserError(
      f'{span.name} has text after what is scored ({span.after!r}), which a'
      " decoder that answers a source does not see. Use the form 'spans'."
    )


def _after(piece: Piece, source: batches.Tokens) -> Piece:
  """Returns a piece with the tokens of the source prepended."""
  return piece._replace(
    tokens=np.append(source, piece.tokens),
    start=len(source),
    end=len(source) + piece.end,
    word_starts=np.append(np.zeros(len(source), bool), piece.word_starts),
  )
