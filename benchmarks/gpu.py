"""Measures training on one NVIDIA GPU, against PyTorch on the same card.

  python -m benchmarks.gpu --only=gpt2-124m
  python -m benchmarks.gpu --only=products,agreement
  python -m benchmarks.gpu --cpu --tiny --out=trial.json

Measures what --only names and merges it into one JSON file, so that each call
is short: under 8 minutes for one model. Needs jax with CUDA, flax, optax,
jaxtyping, absl-py and PyTorch; for BERT and T5 the peer is that of
transformers, and is reported as missing without it. Neither network nor data
are needed.

Contenders run one after another, each in its own process, and so have all of
the card's memory. Both compute in bfloat16 with parameters in float32, update
with AdamW, clip the gradient's norm, and have no dropout. PyTorch uses
torch.compile, autocast, fused AdamW and scaled_dot_product_attention. Our BERT
scores only the masked positions, that of transformers all, as it is shipped.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
from typing import Any

from benchmarks import interleaved
from benchmarks.gpu_cases import CASES, TINY

RESULTS = pathlib.Path(__file__).parent / 'results' / 'gpu.json'
SETTINGS = ('kernel', 'remat', 'unroll', 'microbatches')  # Only for ours.
OTHERS = ('products', 'agreement')
LIMIT = 220  # Seconds for one contender: both with startup take under 8 min.


def main() -> None:
  """Measures, merges, and prints what was measured as JSON."""
  given = parse()
  RESULTS.parent.mkdir(exist_ok=True)
  for name in given.only.split(','):
    if name == 'agreement':
      part = run('gpu_lm', {'task': 'agreement', 'tiny': given.tiny}, given)
    elif name == 'products':
      told = {'task': 'products', 'sizes': [64] if given.tiny else [4096, 8192]}
      part = {way: run(f'gpu_{way}', told, given) for way in ('lm', 'torch')}
    else:
      part = measure(name, given)
    key = ' '.join([name, *given.label.split()])
    merge(pathlib.Path(given.out), {key: part})
    print(json.dumps({key: part}), flush=True)


def parse() -> argparse.Namespace:
  """Returns the arguments of the command line."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  everything = ','.join((*CASES, *OTHERS))
  parser.add_argument('--only', default=everything, help='Which, with commas.')
  parser.add_argument(
    '--out', default=str(RESULTS), help='What is merged into.'
  )
  parser.add_argument('--label', default='', help='Added to the names there.')
  parser.add_argument(
    '--windows', type=int, default=6, help='Times of 5 steps.'
  )
  parser.add_argument('--batch', type=int, help='Rows, for both.')
  parser.add_argument('--microbatches', type=int, default=1, help='Of ours.')
  parser.add_argument('--kernel', default='auto', help='config.model.kernel.')
  parser.add_argument('--remat', default='none', help='config.model.remat.')
  parser.add_argument('--unroll', type=int, help='config.model.unroll.')
  parser.add_argument('--xla_flags', default='', help='XLA_FLAGS of ours.')
  parser.add_argument('--cpu', action='store_true', help='Without a GPU.')
  parser.add_argument('--tiny', action='store_true', help='A trial of seconds.')
  given = parser.parse_args()
  for name in given.only.split(','):
    if name not in (*CASES, *OTHERS):
      parser.error(f'there is no {name!r}, only {everything}')
  return given


def measure(name: str, given: argparse.Namespace) -> dict[str, Any]:
  """Returns the results of both for a model, and the speedup of ours."""
  case = CASES[name]
  if given.tiny:
    case = case._replace(batch=2, **TINY[case.family])
  if given.batch:
    case = case._replace(batch=given.batch)
  told = {
    'task': 'train',
    'case': case._asdict(),
    'windows': given.windows,
    'compiled': not given.cpu,
  }
  chosen = {name: getattr(given, name) for name in SETTINGS}
  theirs = run('gpu_torch', told, given)
  ours = run('gpu_lm', told | {'settings': chosen}, given) | chosen
  tokens = case.batch * (case.length + case.made)
  for way in (ours, theirs):
    if 'seconds' in way:
      way['tokens_per_second'] = interleaved.rounded(tokens / way['seconds'])
      if ours.get('peak_flops'):
        share = ours['flops'] / way['seconds'] / ours['peak_flops']
        way['model_flops_utilization'] = interleaved.rounded(share)
  part = {'case': case._asdict(), 'lm': ours, 'torch': theirs}
  if 'seconds' in ours and 'seconds' in theirs:
    part['ratio'] = interleaved.rounded(theirs['seconds'] / ours['seconds'])
  return part


def run(
  module: str, told: dict[str, Any], given: argparse.Namespace
) -> dict[str, Any]:
  """Runs a contender in its own process; returns the result it prints."""
  environment = dict(os.environ)
  if given.cpu:
    environment |= {'JAX_PLATFORMS': 'cpu', 'CUDA_VISIBLE_DEVICES': ''}
  if module == 'gpu_lm':
    environment['XLA_FLAGS'] = given.xla_flags
    environment['XLA_PYTHON_CLIENT_MEM_FRACTION'] = '0.92'
  try:
    ended = subprocess.run(
      [sys.executable, '-m', f'benchmarks.{module}', json.dumps(told)],
      env=environment,
      capture_output=True,
      text=True,
      timeout=LIMIT,
    )
  except subprocess.TimeoutExpired:
    return {'failed': f'It took more than {LIMIT} s.'}
  sys.stderr.write(ended.stderr)
  if ended.returncode:
    lines = ended.stderr.strip().splitlines()
    return {'failed': lines[-1] if lines else f'exit {ended.returncode}'}
  said = json.loads(ended.stdout.splitlines()[-1])
  return said | ({'xla_flags': given.xla_flags} if given.xla_flags else {})


def merge(path: pathlib.Path, part: dict[str, Any]) -> None:
  """Merges results into a JSON file, keeping its other keys."""
  whole = json.loads(path.read_text()) if path.exists() else {}
  path.write_text(json.dumps(whole | part, indent=2, sort_keys=True) + '\n')


if __name__ == '__main__':
  main()
