"""A small GPT and a small BERT of WikiText-2, for other benchmarks.

Both have 4 layers of 256 and train on as many tokens of the same text, with the
variants `wikitext` of configs/gpt.py and configs/bert.py, but for longer.
"""

import pathlib
import subprocess
import sys
import zipfile

FILES = 'wikitext2/wikitext2_train_valid.zip'
NUM_STEPS = 8000


def text(archive: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
  """Returns a folder with train.txt and valid.txt of an archive."""
  folder.mkdir(parents=True, exist_ok=True)
  with zipfile.ZipFile(archive) as files:
    for name in ('train.txt', 'valid.txt'):
      if not (folder / name).exists():
        (folder / name).write_bytes(files.read(f'wikitext2/{name}'))
  return folder


def train(
  family: str, archive: pathlib.Path, workdir: pathlib.Path, steps: int = 0
) -> pathlib.Path:
  """Returns the workdir of a model, trained if needed.

  Args:
    family: 'gpt' or 'bert'.
    archive: The archive with train.txt and valid.txt.
    workdir: The workdir of the model.
    steps: The steps of a trial; 0 means `NUM_STEPS`.
  """
  folder = text(archive, workdir.parent / 'wikitext2')
  settings = {
    'num_steps': steps or NUM_STEPS,
    'data.path': f'{folder}/*.txt',
    'checkpoint.keep': 1,
    'checkpoint.best': 'loss',
    'log.boards': (),
  }
  if steps:
    every = {'eval.every': steps, 'checkpoint.every': steps}
    settings |= {'optimizer.warmup_steps': 1, **every}
  argv = [f'--config=configs/{family}.py:wikitext', f'--workdir={workdir}']
  argv += [f'--config.{key}={value}' for key, value in settings.items()]
  command = [sys.executable, '-m', 'experiments.train', *argv]
  subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
  return workdir
