"""Text as HTML, with tokens coloured by their loss."""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Int

from lm.analysis import answers
from lm.data.tokenizers import Tokenizer
from lm.types import PyTree, UserError

MOST = 10.0  # Nats at full colour: as bad as guessing among 22,000 tokens.

# A tint over the browser's own colours, light or dark. All rules are scoped to
# `.losses`, so that a notebook that shows the page is not affected.
PAGE = """<!doctype html>
<html lang="und">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
.losses {{ margin: 2rem auto; max-width: 46rem; padding: 0 1rem;
  font: 1rem/1.9 system-ui, sans-serif; }}
.losses h1 {{ font-size: 1.1rem; }}
.losses .text {{ white-space: pre-wrap; overflow-wrap: anywhere; }}
.losses .token {{ border-radius: 3px; padding: 2px 0; }}
.losses .token:hover {{ outline: 1px solid; }}
.losses .scale {{ display: inline-block; width: 8rem; height: .7rem;
  background: linear-gradient(90deg, {lowest}, {highest}); }}
.losses span {{ -webkit-print-color-adjust: exact; print-color-adjust: exact; }}
</style>
</head>
<body>
<main class="losses">
<h1>{title}</h1>
<p>{summary} 0 <span class="scale"></span> {most:g} nats and more.</p>
<div class="text">{tokens}</div>
</main>
</body>
</html>
"""


def token_losses(
  model: nn.Module,
  params: PyTree,
  inputs: Mapping[str, Any],
  targets: Int[Array, 'B L'] | Int[np.ndarray, 'B L'],
) -> Float[Array, 'B L']:
  """Returns the nats of each target; see `answers.of_tokens` for arguments."""
  return answers.of_tokens(model, params, inputs, targets).nats


def pieces(
  tokenizer: Tokenizer, tokens: Sequence[int] | Int[np.ndarray, 'L']
) -> list[str]:
  """Returns the text of each token.

  Tokens that are part of a character are written as in the vocabulary.
  """
  byte_level = (
    tokenizer.bytes_of_id is not None and tokenizer.kind != 'characters'
  )

  def text(token):
    piece = tokenizer.pipeline.id_to_token(token)
    if piece is None:  # A padding row of the embedding table.
      return f'<{token}>'
    if not byte_level:
      return piece.replace('▁', ' ')
    read = tokenizer.decode([token])
    return piece if '\N{REPLACEMENT CHARACTER}' in read else read

  return [text(int(token)) for token in tokens]


def page(
  pieces: Sequence[str],
  losses: Sequence[float] | Float[np.ndarray, 'L'],
  title: str,
  most: float = MOST,
) -> str:
  """Returns a self-contained HTML page, for light and dark, screen and paper.

  Args:
    pieces: The text of each token.
    losses: The loss of each, in nats; NaN if not predicted, shown uncoloured.
    title: The heading above the text.
    most: The loss at which the colour is full.

  Raises:
    UserError: There is not one loss for each piece.
  """
  if len(pieces) != len(losses):
    raise UserError(
      f'There are {len(pieces)} pieces and {len(losses)} losses, so it is not'
      ' known which belongs to which. Give one loss for each piece.'
    )
  asked = [float(loss) for loss in losses if not math.isnan(loss)]
  mean = math.fsum(asked) / len(asked) if asked else math.nan
  summary = f'{mean:.3f} nats per token, over {len(asked):,} tokens.'
  return PAGE.format(
    title=html.escape(title),
    summary=summary if asked else 'Nothing was asked for.',
    most=most,
    lowest=_tint(0.0),
    highest=_tint(1.0),
    tokens=''.join(
      _token(piece, float(loss), most) for piece, loss in zip(pieces, losses)
    ),
  )


def _token(piece: str, loss: float, most: float) -> str:
  # A line break is shown as a symbol, and also breaks the line.
  text = html.escape(piece).replace('\r', '␍').replace('\n', '↵\n')
  if math.isnan(loss):
    return f'<span class="token">{text}</span>'
  share = min(max(loss / most, 0.0), 1.0)
  told = f'{loss:.2f} nats, probability {math.exp(-loss):.2g}'
  style = f'background: {_tint(share)}'
  return f'<span class="token" style="{style}" title="{told}">{text}</span>'


def _tint(share: float) -> str:
  """Returns a red on which text is legible, both on white and on black."""
  return f'rgb(220 60 40 / {0.6 * share:.3f})'
