"""Whether a model of ours and one of transformers are the same function."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from lm import models
from lm.interop import huggingface, layouts, parameters
from lm.objectives.masked_lm import scorer
from lm.objectives.objective import Objective
from lm.types import path_of
from tests.models import tiny


def perturbed(theirs, seed=0):
  """Changes all parameters, so that no bias is 0 and no scale is 1."""
  import torch

  torch.manual_seed(seed)
  with torch.no_grad():
    for param in theirs.parameters():
      param += 0.2 * torch.randn_like(param)
  return theirs.eval()


def random_widths(rng, most=40):
  """Returns a number of heads, and the width of each."""
  heads = int(rng.choice([1, 2, 3, 8]))
  return heads, int(rng.choice([3, 4, 5, 7][: most // heads - 1]))


def arrays_of(theirs):
  """Returns the parameters by name."""
  return {
    name: param.detach().numpy() for name, param in theirs.named_parameters()
  }


def as_torch(inputs):
  import torch

  return {
    name: torch.tensor(array, dtype=torch.long)
    for name, array in inputs.items()
  }


def ours_of(theirs):
  """Returns the model of ours, compiled quickly, and its parameters."""
  config = theirs.config.to_dict()
  config['architectures'] = [type(theirs).__name__]
  found = huggingface.understand(config, arrays_of(theirs), 'the peer')
  model = models.build(**found.section, unroll=1)
  return model, jax.tree.map(jnp.asarray, found.params)


def as_ours(arrays, model, family, renamed=()):
  """Returns arrays by our paths: what is named as a parameter, a gradient too.

  Args:
    arrays: By published name.
    model: Of ours.
    family: Whose names they are.
    renamed: Names that differ from the family's.
  """
  shapes = parameters.expected(model, decodes=True)
  settings = huggingface.settings_of(model)
  settings['heads'] = settings['heads'] or ('tokens',)
  rows = layouts.used(huggingface.table(family, settings), shapes)
  found = huggingface.plain(arrays, family)
  for theirs, name in dict(renamed).items():
    found[name] = found.pop(theirs)
  pairs = (row.read(found, shapes).items() for row in rows)
  return dict(itertools.chain.from_iterable(pairs))


def objective(*terms):
  """Returns one that scores these answers, as `loss_and_grads` wants it."""
  return Objective(None, scorer(terms, 0.0, 0.0), None, {})


def loss_and_grads(model, objective, params, batch):
  """Returns the loss as transformers counts it, answers and gradients."""
  batch = jax.tree.map(jnp.asarray, batch)

  def mean_loss(params):
    answers = model.apply({'params': params}, **batch.inputs, method='answer')
    terms, _ = objective.loss(answers, batch.targets, batch.weights)
    means = [terms[name] / batch.weights[name].sum() for name in terms]
    return sum(means), answers['tokens'].logits()

  grad_fn = tiny.quick_jit(jax.value_and_grad(mean_loss, has_aux=True))
  (loss, logits), grads = grad_fn(params)
  leaves = jax.tree_util.tree_leaves_with_path(grads)
  return loss, logits, {path_of(path): leaf for path, leaf in leaves}


def assert_same_gradients(grads, expected):
  """Raises unless each is within 1e-4 of the largest number in it."""
  assert set(grads) == set(expected)
  largest = max(np.abs(leaf).max() for leaf in expected.values())
  for path, leaf in expected.items():
    scale = np.abs(leaf).max()
    if path.endswith('key/bias'):
      # It adds the same to every score of a query, so what is left of its
      # gradient in either is rounding.
      assert scale < 1e-5 * largest
      scale = largest
    np.testing.assert_allclose(
      grads[path], leaf, rtol=0, atol=1e-4 * scale, err_msg=path
    )


def gradients_of(theirs, model, family, renamed=()):
  """Returns them by our paths: 0 of what had no part in the loss."""
  grads = {
    name: np.zeros_like(param.detach()) if param.grad is None else param.grad
    for name, param in theirs.named_parameters()
  }
  plain = {name: np.asarray(grad) for name, grad in grads.items()}
  return as_ours(plain, model, family, renamed)


def assert_reads_apart(theirs, family, batch, parts):
  """Raises unless a packed row is what `theirs` makes of each of its texts.

  Args:
    theirs: Of transformers.
    family: Of its names.
    batch: The packed row, for ours; all of its tokens are asked for.
    parts: Their logits of each text alone.
  """
  import torch

  together = torch.cat([*parts], 1)
  labels = torch.tensor(batch.targets['tokens'][0]).long()
  expected = torch.nn.functional.cross_entropy(together[0], labels)
  expected.backward()
  model, params = ours_of(theirs)
  loss, logits, grads = loss_and_grads(
    model, objective('tokens'), params, batch
  )
  np.testing.assert_allclose(logits, together.detach().numpy(), atol=1e-4)
  np.testing.assert_allclose(loss, expected.item(), rtol=1e-4)
  assert_same_gradients(grads, gradients_of(theirs, model, family))


def plain_config(model, **changes):
  """Returns the model with other fields of its config."""
  return model.clone(config=dataclasses.replace(model.config, **changes))
