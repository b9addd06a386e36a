"""Nearly all of these tests' time is the compiler's."""

import jax
import pytest


@pytest.fixture(autouse=True, scope='package')
def compile_quickly():
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', False)
