"""Eight devices on any machine, and every shape annotation checked."""

import gc
import os
import pathlib

import fsspec
import jax
import pytest
from jaxtyping import install_import_hook

jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_numpy_rank_promotion', 'raise')
install_import_hook('lm', 'beartype.beartype')

from lm.data import remote  # noqa: E402 (after the hook)
from tests.flaky_files import FlakyFiles  # noqa: E402

SHARED = pathlib.Path(__file__).parents[2] / 'shared'


# Linux lets a process map 65,530 pieces of memory. What XLA has compiled takes
# several each, and the process ends without a word when there are no more.
MOST_MAPS = 30_000


@pytest.fixture(scope='module', autouse=True)
def room_for_code():
  """What was compiled is forgotten when there is much of it."""
  yield
  maps = pathlib.Path('/proc/self/maps')
  if maps.exists() and maps.read_bytes().count(b'\n') > MOST_MAPS:
    jax.clear_caches()
    gc.collect()


@pytest.fixture(autouse=True)
def seeded_peers(request):
  """What transformers initializes is the same at every run."""
  if request.node.get_closest_marker('peers'):
    import torch

    torch.manual_seed(0)


@pytest.fixture
def flaky(tmp_path, monkeypatch):
  """What lies at flaky://, empty, for a machine that waits for nothing."""
  fsspec.register_implementation('flaky', FlakyFiles, clobber=True)
  FlakyFiles.begin()
  monkeypatch.setenv('LM_CACHE', str(tmp_path / 'this_machine'))
  monkeypatch.setattr(remote, 'DELAYS', (0.001, 0.002))
  return FlakyFiles


@pytest.fixture(scope='session')
def shared() -> pathlib.Path:
  """The folder of real data and vocabularies beside the project."""
  if os.environ.get('LM_SHARED') == '':
    pytest.skip('needs the data in ../shared, which `make test` does without')
  if not SHARED.exists() and not os.environ.get('CI'):
    pytest.skip('needs the data in ../shared, which is not on this machine')
  return SHARED
