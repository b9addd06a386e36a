"""A dry run says what a run will hold, and holds nothing."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh

from lm.analysis import memory
from lm.parallel import imagined, mesh as meshes
from lm.parallel.ways import Way
from lm.training import assembly, loop, plan
from lm.types import UserError
from tests.parallel import small_run

ROOT = pathlib.Path(__file__).parents[2]
DIVIDED = {'parallel__data': 1, 'parallel__fsdp': 4, 'parallel__tensor': 2}


def planned(**changes):
  return plan.plan(small_run.config(**changes))


def activations(**changes):
  return planned(**changes)['bytes_per_device']['activations']


def program(compiled):
  """Returns the instructions alone, without where in our code they are from."""
  lines = compiled.as_text().splitlines()
  found = [line.partition(', metadata=')[0] for line in lines if ' = ' in line]
  assert len(found) > 1000
  return found


def test_what_is_planned_is_what_the_loop_compiles_and_a_device_holds():
  settings = {**DIVIDED, 'ema_decay': 0.9, 'microbatches': 2}
  parts, abstract, example = plan.abstract(small_run.config(**settings))
  compiled = plan.compile_step(parts, abstract, example)
  sizes = plan.bytes_per_device(abstract, compiled)

  way, mesh = parts.way.run, parts.way.mesh
  init, _ = loop.initial(parts, example, jax.random.key(0))
  shardings = jax.tree.map(lambda array: array.sharding, abstract)
  rows = jax.tree.map(lambda x: np.repeat(x, parts.run.batch_size, 0), example)
  with way.placing(mesh):
    state = jax.jit(init, out_shardings=shardings)()
    step = way.compile_step(loop.step_of(parts), state, mesh)
    batch = way.to_devices(rows, mesh)
    lowered = step.lower(state, batch, jax.random.key(0))
  assert program(lowered.compile(imagined.OPTIONS)) == program(compiled)

  def on_first(tree):
    return sum(
      array.addressable_shards[0].data.nbytes for array in jax.tree.leaves(tree)
    )

  assert sizes['parameters'] == sizes['gradients'] == on_first(state.params)
  assert sizes['optimizer'] == on_first(state.opt_state)
  assert sizes['average'] == on_first(state.ema) == sizes['parameters']
  assert sizes['batch'] == on_first(batch)  # No dropout here, and no key.
  names = ('parameters', 'optimizer', 'average', 'batch', 'gradients')
  held = state.step.nbytes + sum(sizes[name] for name in names)
  assert sizes['total'] == held + sizes['activations'] > held


def test_the_layout_is_that_of_the_table():
  result = planned(**DIVIDED)
  assert result['devices'] == {
    'data': 1,
    'fsdp': 4,
    'tensor': 2,
    'sequence': 1,
  }
  text = plan.table(result)
  rows = {row.pop('parameter'): row for row in result['layout']}
  assert rows['decoder/block/mlp/up/kernel'] == {
    'shape': [3, 64, 128],
    'spec': [None, 'fsdp', 'tensor'],
    'bytes_per_device': 4 * 3 * 64 * 128 // 8,
  }
  assert rows['token/embedding'] == {
    'shape': [512, 64],
    'spec': ['tensor', 'fsdp'],
    'bytes_per_device': 4 * 512 * 64 // 8,
  }
  assert rows['decoder/final_norm/scale']['bytes_per_device'] == 4 * 64
  each = sum(row['bytes_per_device'] for row in rows.values())
  assert each == result['bytes_per_device']['parameters']
  shapes = sum(int(np.prod(row['shape'])) for row in rows.values())
  assert shapes == result['parameters']
  for part in ('fsdp 4', 'mlp/up/kernel', '-, fsdp, tensor', 'An estimate'):
    assert part in text


def test_a_step_of_half_the_rows_at_once_holds_fewer_activations():
  whole = activations(batch_size=32)
  assert activations(batch_size=32, microbatches=4) < 0.5 * whole
  assert activations(batch_size=32, model__remat='full') < 0.7 * whole


def test_what_is_kept_in_half_the_bits_takes_less():
  settings = {'batch_size': 32, 'model__num_layers': 6}
  narrow = activations(**settings, model__dtype='bfloat16')
  assert narrow < 0.8 * activations(**settings)


def test_a_divided_row_holds_its_part_of_the_activations():
  config = small_run.config(
    model__max_len=256, data__length=256, batch_size=1, parallel__tensor=8
  )
  parts, _, example = plan.abstract(config)

  def held(count):
    devices = np.array(jax.devices()[:count]).reshape(1, 1, 1, count)
    mesh = Mesh(devices, meshes.AXES, axis_types=(AxisType.Auto,) * 4)
    some = parts._replace(way=Way(mesh, meshes))
    _, state = loop.initial(some, example, jax.random.key(0))
    compiled = plan.compile_step(some, state, example)
    return plan.bytes_per_device(state, compiled)['activations']

  one, two, four = map(held, (1, 2, 4))
  assert two < 0.6 * one and four < 0.35 * one


@pytest.mark.parametrize('kind', ['mesh', 'pmap'])
def test_either_way_to_be_parallel_is_planned(kind):
  result = planned(parallel__kind=kind)
  sizes = result['bytes_per_device']
  assert sizes['parameters'] == 4 * result['parameters']
  # Two moments and two counters; and what a step makes of it.
  assert 0 <= sizes['optimizer'] - 2 * sizes['parameters'] < 100
  assert sizes['activations'] > 0
  tokens = 8 * 32
  assert result['tokens_per_step'] == tokens
  assert result['flops_per_step'] == result['flops_per_token'] * tokens


@pytest.mark.parametrize(
  'size, fitting, others',
  [
    (15e9, {'L4', 'TPU v3', 'H100'}, {'TPU v2'}),
    (71e9, {'A100 80GB', 'H100', 'TPU v5p'}, {'A100 40GB', 'TPU v4'}),
    (73e9, {'H200', 'B200'}, {'H100'}),
    (1e12, set(), {'B200'}),
  ],
)
def test_a_step_fits_into_nine_tenths_of_a_device(size, fitting, others):
  does = {kind for kind, fits in memory.fits(int(size)).items() if fits}
  assert fitting <= does and not others & does


def test_rows_that_do_not_divide_are_refused():
  with pytest.raises(UserError, match=r'Rows of 30 tokens .*data\.length'):
    planned(data__length=30, parallel__data=2, parallel__sequence=4)


# What a process held is counted from its parent's memory on, which of a run of
# all tests is gigabytes: so the command has a small parent of its own.
MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[2:]).returncode
held = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
open(sys.argv[1], 'w').write(str(held))
sys.exit(code)
"""


def dry_run(tmp_path, *arguments, code=0):
  """Returns what a command printed, and the most bytes that it held."""
  command = [
    *(sys.executable, '-m', 'experiments.train', '--dry_run'),
    f'--workdir={tmp_path}/none',
    *arguments,
  ]
  done = subprocess.run(
    [sys.executable, '-c', MEASURE, tmp_path / 'held', *command],
    cwd=ROOT,
    env=os.environ | {'JAX_PLATFORMS': 'cpu', 'JAX_NUM_CPU_DEVICES': '1'},
    capture_output=True,
    text=True,
  )
  assert done.returncode == code, done.stderr
  assert not (tmp_path / 'none').exists()
  # Kilobytes on Linux; of macOS it is bytes.
  unit = 1 if sys.platform == 'darwin' else 1024
  return done.stdout, done.stderr, int((tmp_path / 'held').read_text()) * unit


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize(
  'devices', ['--config.parallel.fsdp=64', '--devices=64']
)
def test_gpt2_xl_is_planned_for_64_devices_on_one_cpu(devices, tmp_path):
  out, err, held = dry_run(
    tmp_path,
    '--config=configs/gpt.py:gpt2-xl',
    '--config.batch_size=512',
    '--config.microbatches=8',
    devices,
  )
  result = json.loads(out.splitlines()[-1])
  data, fsdp, *_ = result['devices'].values()
  assert (data, fsdp) == ((64, 1) if 'devices' in devices else (1, 64))
  assert result['parameters'] == 1_557_611_200
  assert result['tokens_per_step'] == 512 * 1024
  assert result['config']['model']['num_layers'] == 48
  each = 12 * 1_557_611_200 / fsdp  # Parameters and moments.
  sizes = result['bytes_per_device']
  state = sizes['parameters'] + sizes['optimizer']
  assert each <= state < 1.2 * each
  assert result['compiled_for'] == 'cpu' and 'An estimate' in err
  # All 64 would hold 300 GB or more, and the parameters alone are 6 GB.
  assert held < 2e9


@pytest.mark.processes
def test_devices_that_make_no_mesh_are_refused(tmp_path):
  out, err, _ = dry_run(
    tmp_path,
    '--config=configs/gpt.py:debug',
    '--config.parallel.fsdp=4',
    '--devices=6',
    code=2,
  )
  assert out == '' and 'does not use the 6 devices here' in err
  assert 'Traceback' not in err


@pytest.mark.parametrize(
  ('family', 'changes', 'asked'),
  [
    ('gpt', {}, 1.0),
    ('bert', {}, 0.15),
    ('t5', {'objective__name': 'prefix_lm'}, 0.5),  # The rest is the prefix.
  ],
)
def test_what_of_a_row_is_text_and_what_is_asked_is_counted(
  family, changes, asked
):
  config = small_run.config(
    f'{family}.py:debug', model__vocab_size=None, **changes
  )
  assert plan.reads_text(config)
  used = plan.use_of_rows(config)
  assert used['asked'] == pytest.approx(asked * used['filled'], rel=0.15)
  # As it is in the batches that are trained on.
  parts = assembly.assemble(config, splits=['train'])
  batch_at, _ = assembly.feed(parts, 'train', plan.COUNTED_ROWS)
  weights = next(iter(batch_at(0).weights.values()))
  places = plan.COUNTED_ROWS * config['data']['length']
  assert used['asked'] == pytest.approx((weights > 0).sum() / places)
