"""Classify a text or each of its tokens, or select a span of it.

The targets are in the example: `label`, `tags`, or `start` and `end`, each with
weights. An encoder-decoder reads the text twice, in encoder and decoder, as in
transformers' T5 with such heads; for `tags`, only in the encoder.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Int

from lm.objectives.objective import Objective, check_form, check_share
from lm.types import Batch, Examples, Form, Vocabulary

FORMS = ('causal', 'bidirectional', 'encoder_decoder')


def label(
  form: Form,
  vocabulary: Vocabulary,
  *,
  regression: bool = False,
  label_smoothing: float = 0.0,
) -> Objective:
  """Returns the objective of text classification (Devlin et al. 2019, 4.1).

  Args:
    form: Form of the model.
    vocabulary: Vocabulary of the tokenizer.
    regression: Whether the label is a number, with squared error as the loss,
      as in GLUE's STS-B.
    label_smoothing: Fraction of the target to spread over the classes.
  """
  check_form('label', form, *FORMS)
  check_share('label_smoothing', label_smoothing)

  def prepare(examples, index, seed):
    del index, seed
    weights = examples['label_weights'] * examples['real']
    return Batch(
      _inputs(examples, form, vocabulary, decodes=True),
      {'label': examples['label']},
      {'label': weights.astype(np.float32)},
    )

  def loss(answers, targets, weights):
    scores, target, weight = (x['label'] for x in (answers, targets, weights))
    if not regression:
      return _classes({'label': (scores, target, weight)}, label_smoothing)
    error = jnp.square(scores[..., 0] - target)
    term = jnp.sum(error * weight)
    return {'label': term}, {'loss': (term, jnp.sum(weight))}

  return _objective(prepare, loss, 'label')


def tags(
  form: Form, vocabulary: Vocabulary, *, label_smoothing: float = 0.0
) -> Objective:
  """Returns the objective of tagging: a class per word, at its first token.

  As in named entity recognition (Devlin et al. 2019, 5.3).

  Args:
    form: Form of the model.
    vocabulary: Vocabulary of the tokenizer.
    label_smoothing: Fraction of the target to spread over the classes.
  """
  check_form('tags', form, *FORMS)
  check_share('label_smoothing', label_smoothing)

  def prepare(examples, index, seed):
    del index, seed
    return Batch(
      _inputs(examples, form, vocabulary, decodes=False),
      {'tags': examples['tags']},
      {'tags': examples['tag_weights'].astype(np.float32)},
    )

  def loss(answers, targets, weights):
    scored = answers['tags'], targets['tags'], weights['tags']
    return _classes({'tags': scored}, label_smoothing)

  return _objective(prepare, loss, 'tags')


def span(form: Form, vocabulary: Vocabulary) -> Objective:
  """Returns the objective of extracting an answer (Devlin et al. 2019, 4.2).

  Its start and end are chosen among the `answerable` tokens of the example:
  those of the passage, and the one that means that there is no answer.

  Args:
    form: Form of the model.
    vocabulary: Vocabulary of the tokenizer.
  """
  check_form('span', form, *FORMS)

  def prepare(examples, index, seed):
    del index, seed
    inputs = _inputs(examples, form, vocabulary, decodes=True)
    weights = examples['span_weights'] * examples['real']
    terms = ('start', 'end')
    # The targets of filler rows are another's, and may be out of range.
    targets = {term: examples[term] * examples['real'] for term in terms}
    return Batch(
      inputs,
      targets | {'answerable': examples['answerable'] > 0},
      dict.fromkeys(terms, weights.astype(np.float32)),
    )

  def loss(answers, targets, weights):
    scored = {}
    for term in ('start', 'end'):
      scores = answers[term]
      low = jnp.finfo(scores.dtype).min
      scores = jnp.where(targets['answerable'], scores, low)
      scored[term] = scores, targets[term], weights[term]
    return _classes(scored, 0.0)

  return _objective(prepare, loss, 'start', 'end', scale=0.5)


def _classes(scored, label_smoothing):
  """Returns terms and metrics of classifications over the last axis."""
  terms, nats, hits, count = {}, 0.0, 0.0, 0.0
  for name, (scores, target, weight) in scored.items():
    logits = scores.astype(jnp.float32)
    own = optax.softmax_cross_entropy_with_integer_labels(logits, target)
    if label_smoothing:
      log_z = jax.nn.logsumexp(logits, axis=-1)
      spread = log_z - jnp.mean(logits, axis=-1)
      smooth = own + label_smoothing * (spread - own)
    else:
      smooth = own
    terms[name] = jnp.sum(smooth * weight)
    nats += jnp.sum(own * weight)
    hits += jnp.sum((jnp.argmax(logits, axis=-1) == target) * weight)
    count += jnp.sum(weight)
  return terms, {'loss': (nats, count), 'accuracy': (hits, count)}


def _objective(
  prepare: Callable[[Examples, Int[np.ndarray, 'B'], int], Batch],
  loss: Callable[..., tuple],
  *terms: str,
  scale: float = 1.0,
) -> Objective:
  return Objective(
    prepare=prepare,
    loss=loss,
    example_length=lambda length: length,
    scales=dict.fromkeys(terms, scale),
  )


def _inputs(
  examples: Examples, form: Form, vocabulary: Vocabulary, decodes: bool
) -> dict[str, np.ndarray]:
  """Returns the inputs for a model of that form.

  Args:
    examples: With `tokens`, `tokens_sizes` and `token_types`.
    form: Form of the model.
    vocabulary: Vocabulary of the tokenizer.
    decodes: Whether the decoder, if there is one, reads the text again.
  """
  tokens = examples['tokens']
  valid = np.arange(tokens.shape[1]) < examples['tokens_sizes'][:, None]
  if form != 'encoder_decoder':
    kinds = {'token_types': examples['token_types']}
    kinds = kinds if form == 'bidirectional' else {}
    return {'tokens': tokens, 'valid': valid, **kinds}
  inputs = {'source_tokens': tokens, 'source_valid': valid}
  if decodes:
    read = np.full_like(tokens, vocabulary.start_id)
    read[:, 1:] = tokens[:, :-1]
    inputs |= {'tokens': read, 'valid': valid}
  return inputs
