"""Fill in little, much or all of the rest, as a mode token says (UL2)."""

import numpy as np

from lm.data import randomness
from lm.objectives import noise
from lm.objectives.denoising import Corruption, Texts, denoising
from lm.objectives.objective import Objective
from lm.types import Form, UserError, Vocabulary

# The mixture of Tay et al. (2023), table 1: the noise of each mode. Sequential
# noise (S) is the end of the text: a quarter on average, and up to twice that.
REGULAR = (noise.Spans(0.15, 3.0), noise.Spans(0.15, 8.0))
EXTREME = (
  noise.Spans(0.5, 3.0),
  noise.Spans(0.5, 8.0),
  noise.Spans(0.15, 64.0),
  noise.Spans(0.5, 64.0),
)
DENOISERS = (*REGULAR, None, *EXTREME)
SEQUENTIAL = len(REGULAR)
MODES = np.array([0] * len(REGULAR) + [1] + [2] * len(EXTREME))  # R, S, X.
SEQUENTIAL_DENSITY = 0.25


def ul2(
  form: Form,
  vocabulary: Vocabulary,
  *,
  mode_ids: tuple[int, ...] = (),
  prefix_visible: bool = True,
  z_loss: float = 0.0,
  label_smoothing: float = 0.0,
) -> Objective:
  """Returns the objective, in which all seven denoisers are equally likely.

  Args:
    form: Form of the model.
    vocabulary: Vocabulary of the tokenizer.
    mode_ids: Tokens that begin the source in modes R, S and X; () means the
      last three sentinels.
    prefix_visible: See `denoising`.
    z_loss: See `cross_entropy`.
    label_smoothing: See `cross_entropy`.
  """
  if len(mode_ids) not in (0, 3):
    raise UserError(
      f'mode_ids are {mode_ids}, but there are three modes. Set'
      ' config.objective.mode_ids to three tokens, or to ().'
    )
  spare = 0 if mode_ids else 3
  marks = vocabulary.sentinel_ids
  modes = np.array(mode_ids or marks[-3:], np.int32)
  sentinels = np.array(marks[: len(marks) - spare], np.int32)

  def widths(length):
    sequential = (length, int(2 * SEQUENTIAL_DENSITY * length) + 1)
    in_spans = [spans.widths(length) for spans in DENOISERS if spans]
    source, target = np.max([sequential, *in_spans], axis=0)
    return int(source) + 1, int(target)  # The mode precedes the source.

  def corrupt(tokens, valid, index, seed):
    which = randomness.integers(seed, 'denoiser', index, len(DENOISERS))
    chosen = noise_of(which, valid, index, seed)
    texts = noise.corrupt(tokens, chosen, valid, sentinels)
    sequential = (which == SEQUENTIAL)[:, None]
    in_source = np.where(sequential, valid & ~chosen, texts.in_source)
    in_target = texts.in_target.copy()
    in_target[:, ::2] &= ~sequential  # No sentinel in the target, either.
    front = modes[MODES[which]][:, None]
    return Texts(
      np.concatenate([front, texts.source], axis=1),
      np.concatenate([valid[:, :1], in_source], axis=1),
      texts.target,
      in_target,
    )

  def check(length):
    most = max(spans.most(length) for spans in DENOISERS if spans)
    noise.check_sentinels(vocabulary, most, spare)

  return denoising(
    'ul2',
    form,
    vocabulary,
    Corruption(corrupt, widths, check),
    prefix_visible,
    z_loss,
    label_smoothing,
  )


def noise_of(which, valid, index, seed):
  """Returns the noise mask of each row, given the number of its denoiser."""
  sizes = valid.sum(axis=1)
  most = np.floor(2 * SEQUENTIAL_DENSITY * sizes).astype(np.int64)
  drawn = randomness.integers(seed, 'sequential', index, np.maximum(most, 1))
  first = sizes - np.minimum(1 + drawn, most)
  chosen = valid & (np.arange(valid.shape[1]) >= first[:, None])
  for number, spans in enumerate(DENOISERS):
    here = which == number
    if spans and here.any():
      chosen[here] = noise.in_spans(spans, valid[here], index[here], seed)
  return chosen
