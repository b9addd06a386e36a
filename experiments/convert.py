"""Converts a run to a Hugging Face directory, or the other way round.

python -m experiments.convert --source=runs/bert --target=for_transformers
python -m experiments.convert --source=huggingface/bert --target=runs/bert
python -m experiments.convert --source=google/bert --target=bert --to=huggingface

Google's BERT can be read as well: bert_config.json, its variables as .npz.
"""

import dataclasses
import functools
import importlib.util
import json
import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np
from absl import logging

import lm
from experiments import command
from lm import models
from lm.data import remote
from lm.pretrained import Pretrained
from lm.training import remote_run
from lm.types import UserError

Inputs = Mapping[str, np.ndarray]

PEERS = ('torch', 'transformers')
TOLERANCE = 1e-3  # Of logits, both in float32.
LENGTH = 32

# The names of a model's inputs in transformers.
TEXT = {'tokens': 'input_ids', 'token_types': 'token_type_ids'}
SOURCE = {'source_tokens': 'input_ids', 'tokens': 'decoder_input_ids'}

# The names of an answer in transformers, the most specific first.
ANSWERS = {
  'tokens': ('prediction_logits', 'logits'),
  'next_sentence': ('seq_relationship_logits', 'logits'),
  'label': ('logits',),
  'tags': ('logits',),
  'start': ('start_logits',),
  'end': ('end_logits',),
  'hidden': ('last_hidden_state',),
}


def main(
  source: str,
  target: str,
  step: int | None = None,
  to: Literal['huggingface', 'lm'] | None = None,
) -> None:
  """Writes the model of source to target, and compares the outputs of both.

  The result is read back and compared with the source; if torch and
  transformers are installed, the Hugging Face directory is also run with them.

  Args:
    source: The workdir of a run, a Hugging Face directory or that of Google's
      BERT, or the URL of one.
    target: A directory that does not exist yet.
    step: The checkpoint of a run; by default the best, by
      config.checkpoint.best, or else the newest.
    to: The format to write: huggingface, or lm for a workdir. By default the
      one that the source is not.
  """
  if remote.is_url(target):
    raise UserError(
      f'{target} is a URL, and what is converted is written to this machine.'
      ' Give a directory as --target, and copy that.'
    )
  place = pathlib.Path(target).absolute()
  if place.exists() and (not place.is_dir() or any(place.iterdir())):
    raise UserError(f'{target} exists already. Give another --target.')
  directory = remote_run.local_run(source, step)
  pretrained = lm.load(directory, step)
  to = to or ('lm' if pretrained.step is None else 'huggingface')
  write = {'huggingface': lm.save_huggingface, 'lm': lm.save}[to]
  place.parent.mkdir(parents=True, exist_ok=True)
  # Moved to its place once verified.
  with tempfile.TemporaryDirectory(dir=place.parent) as folder:
    written = pathlib.Path(folder) / 'written'
    write(pretrained, written)
    theirs = written if to == 'huggingface' else directory
    compared_with, difference = compare(pretrained, written, theirs)
    if not difference <= TOLERANCE:
      raise UserError(
        f'{compared_with} answers otherwise: the largest difference of logits'
        f' is {difference:.2g}, so nothing was written.'
      )
    if place.exists():
      place.rmdir()
    written.rename(place)
  command.report(
    {
      'target': target,
      'to': to,
      'parameters': sum(x.size for x in jax.tree.leaves(pretrained.params)),
      'compared_with': compared_with,
      'max_difference': difference,
    }
  )


def compare(
  pretrained: Pretrained, written: pathlib.Path, theirs: pathlib.Path
) -> tuple[str, float]:
  """Returns what the model was compared with, and the largest difference.

  Args:
    pretrained: The model that was converted.
    written: The directory it was written to.
    theirs: Source or target, whichever may be a Hugging Face directory.
  """
  path = theirs / 'config.json'
  config = json.loads(path.read_text('utf-8')) if path.exists() else {}
  inputs = a_text(pretrained, config)
  ours = answers(pretrained, inputs)
  difference = largest(ours, answers(lm.load(written), inputs))
  if not config.get('architectures'):  # Google's, or its class is unknown.
    return 'itself', difference
  missing = [name for name in PEERS if importlib.util.find_spec(name) is None]
  if missing:
    logging.warning(
      'It was compared with itself alone, read back, for there is no %s here. To'
      " compare with transformers: pip install -e '.[peers]'.",
      ' and no '.join(missing),
    )
    return 'itself', difference
  other = of_transformers(theirs, config['architectures'][0], inputs, [*ours])
  return 'transformers', max(difference, largest(ours, other))


def a_text(pretrained: Pretrained, config: Mapping[str, Any]) -> Inputs:
  """Returns random tokens, by the name of the model's input.

  None is padding, which some classes of transformers look for.

  Args:
    pretrained: The model that reads them.
    config: Its Hugging Face config.
  """
  model = pretrained.model
  rng = np.random.default_rng(0)
  size = (1, min(LENGTH, model.config.max_len))
  end, pad = (config.get(f'{role}_token_id') for role in ('eos', 'pad'))
  usual = np.setdiff1d(np.arange(model.config.vocab_size), [end or 0, pad or 0])
  text = rng.choice(usual, size).astype(np.int32)
  if end is not None and end < model.config.vocab_size:
    text[:, -1] = end  # Where transformers' T5 classifies a text.
  if model.form != 'encoder_decoder':
    inputs = {'tokens': text}
    if 'token_types' in models.inputs(model):
      inputs['token_types'] = rng.integers(0, 2, size, np.int32)
    return inputs
  if 'decoder' not in pretrained.params:
    return {'source_tokens': text}
  return {'source_tokens': text, 'tokens': rng.permuted(text, axis=1)}


def answers(pretrained: Pretrained, inputs: Inputs) -> Inputs:
  """Returns the answers of the model, by term, in float32."""
  model = pretrained.model.clone(
    config=dataclasses.replace(pretrained.model.config, dtype='float32')
  )
  found = jax.jit(functools.partial(model.apply, method='answer'))(
    {'params': pretrained.params}, **inputs
  )
  return {
    term: np.asarray(answer.logits() if term == 'tokens' else answer)
    for term, answer in found.items()
  }


def of_transformers(
  directory: pathlib.Path,
  architecture: str,
  inputs: Inputs,
  terms: Sequence[str],
) -> Inputs:
  """Returns the answers of transformers, by our terms."""
  import torch
  import transformers

  kind = getattr(transformers, architecture)
  model = kind.from_pretrained(directory).eval().float()
  read = SOURCE if 'source_tokens' in inputs else TEXT
  given = {read[name]: torch.tensor(x).long() for name, x in inputs.items()}
  with torch.no_grad():
    output = model(**given)
  return {
    term: next(output[name] for name in ANSWERS[term] if name in output).numpy()
    for term in terms
  }


def largest(ours: Inputs, theirs: Inputs) -> float:
  """Returns the largest difference of any answer."""
  return max(
    float(np.abs(answer - theirs[term]).max()) for term, answer in ours.items()
  )


if __name__ == '__main__':
  command.run(main)
