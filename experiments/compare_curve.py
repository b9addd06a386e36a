"""Checks whether a run follows a committed loss curve; exits 1 if it does not.

  python -m experiments.compare_curve --workdir=runs/nano \\
      --reference=benchmarks/curves/nano.json
"""

import json
import pathlib

from absl import logging

from experiments import command
from lm.analysis import curves
from lm.training import remote_run
from lm.types import UserError


def main(workdir: str, reference: str) -> int:
  """Compares the validation losses of a run with a reference.

  Args:
    workdir: The workdir of the run, which may still be in progress.
    reference: A file of benchmarks/curves/.
  """
  path = pathlib.Path(reference)
  if not path.is_file():
    raise UserError(f'There is no curve {path}. See benchmarks/curves/.')
  expected = json.loads(path.read_text())
  metric = expected.get('metric', 'loss')
  curve = curves.read(remote_run.local_files(workdir), metric=metric)
  verdict = curves.follows(curve, expected)
  for row in verdict['steps']:
    logging.info(
      'step %6d  loss %.4f  reference %.4f +- %.4f  %s',
      row['step'],
      row['loss'],
      row['reference'],
      row['allowed'],
      'follows' if row['follows'] else 'OFF',
    )
  command.report(verdict)
  return 0 if verdict['follows'] else 1


if __name__ == '__main__':
  command.run(main)
