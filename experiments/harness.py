"""Runs lm-evaluation-harness on a trained model: see docs/zero_shot.md.

python -m experiments.harness --model lm --model_args workdir=runs/gpt \\
    --include_path my_tasks --tasks my_task
python -m experiments.harness --model lm \\
    --model_args workdir=runs/bert,form=pll --tasks blimp

All other arguments are the harness's own; --help lists them.
"""

import sys

import lm
from lm.types import UserError


def main() -> int:
  """Runs the harness's command; returns 2 after a user error."""
  try:
    from lm.interop import harness
  except ModuleNotFoundError as error:
    if (error.name or '').partition('.')[0] != 'lm_eval':
      raise
    print(
      'lm-evaluation-harness is not installed. Install it beside this project:'
      " pip install -e '.[harness]'",
      file=sys.stderr,
    )
    return 2
  try:
    harness.main(lm.load)
  except UserError as error:
    print(error, file=sys.stderr)
    return 2
  return 0


if __name__ == '__main__':
  sys.exit(main())
