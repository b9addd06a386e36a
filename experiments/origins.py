"""What a run takes over from the model that it starts from."""

import pathlib
from typing import Any

from lm import pretrained
from lm.training import checkpoint_files, remote_run
from lm.types import PyTree

# Fields that a new task sets itself.
OWN = ('heads', 'num_labels')


def sections(origin: str) -> dict[str, dict[str, Any]]:
  """Returns the sections of a config that `origin` determines.

  Args:
    origin: A workdir, or a Hugging Face directory.
  """
  found = pretrained.read(origin)
  model = {k: v for k, v in found.config['model'].items() if k not in OWN}
  taken: dict[str, dict[str, Any]] = {'model': model}
  if found.tokenizer is not None:
    directory = pathlib.Path(remote_run.local_run(origin, None))
    saved = directory / 'tokenizer'
    here = saved if saved.exists() else directory
    taken['data'] = {'tokenizer': str(here.absolute()), 'vocab_size': None}
  return taken


def params(origin: str, workdir: pathlib.Path) -> PyTree:
  """Returns the parameters of `origin`; None if '', or if the run can resume.

  A run that has a checkpoint resumes from that.
  """
  if not origin or checkpoint_files.steps(workdir / 'checkpoints'):
    return None
  return pretrained.read(origin).params
