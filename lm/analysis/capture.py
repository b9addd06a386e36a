"""Reads and replaces the activations of a model, without changing its code.

An activation is named by the path of the module that outputs it, just like its
parameters: `decoder/block/attention/out`. Activations of layers have a leading
axis N, the layers of the stack. The weights of an attention are
`.../attention/weights`, whichever kernel computes it.
"""

import difflib
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn, struct
from jaxtyping import Array, Bool, Int, Shaped

from lm import types
from lm.models import transformer
from lm.models.kernels import plain
from lm.types import PyTree, UserError

OUTPUT, WEIGHTS, REPLACEMENT = '__call__', 'weights', 'replacement'
MOST_CALLS = 8  # Of one module, that a pattern can tell apart by their numbers.


@struct.dataclass
class Replacement:
  """A replacement for an activation.

  Attributes:
    values: As returned by `capture`, such as from another run.
    where: Which of them to use; has the same axes, each as long or 1.
  """

  values: Shaped[Array, '...']
  where: Bool[Array, '...']


Replacements = Mapping[
  str, Shaped[Array, '...'] | Shaped[np.ndarray, '...'] | Replacement
]


def capture(
  model: nn.Module,
  params: PyTree,
  inputs: Mapping[str, Any],
  patterns: str | Sequence[str],
  replacements: Replacements | None = None,
) -> dict[str, Shaped[Array, '...']]:
  """Returns the activations whose whole name matches one of the patterns.

  If a module is called several times, its name is followed by a number: a T5's
  `token` is `token/0`, of the source, and `token/1`. The pattern `token` matches
  both.

  Args:
    model: Any of `lm.models`.
    params: The parameters of the model.
    inputs: Its keyword arguments.
    patterns: Regular expressions, such as `.*/block` or `.*/weights`.
    replacements: As for `patch`.

  Raises:
    UserError: A pattern matches nothing, or is invalid.
  """
  patterns = (patterns,) if isinstance(patterns, str) else tuple(patterns)
  for pattern in patterns:
    try:
      re.compile(pattern)
    except re.error as error:
      raise UserError(
        f'{pattern!r} is no regular expression: {error}. Give one that matches'
        " whole names, such as '.*/block'."
      ) from None
  return _captured(model, patterns, params, dict(inputs), replacements or {})


def patch(
  model: nn.Module,
  params: PyTree,
  inputs: Mapping[str, Any],
  replacements: Replacements,
) -> Any:
  """Returns the model's answer with some of its activations replaced.

  This is activation patching (Vig et al. 2020; Meng et al. 2022, 2): an
  activation of another run is put into this one.

  Args:
    model: Any of `lm.models`.
    params: The parameters of the model.
    inputs: Its keyword arguments.
    replacements: By name: an array as returned by `capture`, which replaces all
      of the activation, or a `Replacement`, such as `at` returns.

  Raises:
    UserError: There is no such activation, or it has another shape.
  """
  return _patched(model, params, dict(inputs), dict(replacements))


def at(
  values: Shaped[Array, 'N B L *rest'],
  layer: int | Int[Array, ''],
  position: int | Int[Array, ''] | None = None,
) -> Replacement:
  """Returns the replacement of an activation in one layer.

  Both indices may be traced, so that one program tries them all (`jax.vmap`).

  Args:
    values: The values for all layers.
    layer: The layer, counted from 0.
    position: The only position to replace; None means the whole row.
  """
  counts = {'layer': (layer, values.shape[0], 0)}
  if position is not None:
    counts['position'] = (position, values.shape[2], 2)
  where = jnp.ones((1,) * values.ndim, bool)
  for name, (number, count, axis) in counts.items():
    if isinstance(number, int) and not 0 <= number < count:
      raise UserError(
        f'{name} is {number}, but these activations have {count} of them. Give'
        f' one from 0 to {count - 1}.'
      )
    shape = [1] * values.ndim
    shape[axis] = count
    where = where & (jnp.arange(count) == number).reshape(shape)
  return Replacement(values, where)


def names(
  model: nn.Module, params: PyTree, inputs: Mapping[str, Any]
) -> dict[str, jax.ShapeDtypeStruct]:
  """Returns the shapes of all activations, without computing any."""
  every = lambda *given: observe(model, ('.*',), *given, {})[1]
  return jax.eval_shape(every, params, dict(inputs))


def observe(
  model: nn.Module,
  patterns: Sequence[str],
  params: PyTree,
  inputs: Mapping[str, Any],
  replacements: Replacements,
) -> tuple[dict[str, Any], dict[str, Shaped[Array, '...']]]:
  """Returns the answers by term, and the activations that match.

  This is what `capture` and `patch` compile; the arguments are theirs.
  """
  variables = {'params': params}
  if replacements:
    shapes = names(model, params, inputs)
    put_in = {
      name: _checked(name, replacement, shapes)
      for name, replacement in replacements.items()
    }
    # As variables, so that each layer of a stack gets its own.
    variables['intermediates'] = _nested(put_in)
  seen: set[str] = set()
  with nn.intercept_methods(_interceptor(patterns, seen)):
    answers, state = model.apply(
      variables, **inputs, method='answer', mutable=['intermediates']
    )
  found = _named(state.get('intermediates', {}))
  for pattern in patterns:
    if not any(re.fullmatch(pattern, name) for name in seen | {*found}):
      raise UserError(
        f'No activation is named {pattern!r}.{_near(pattern, seen)} All are'
        ' listed by lm.analysis.capture.names.'
      )
  return answers, {
    name: array
    for name, array in found.items()
    if any(
      re.fullmatch(pattern, each)
      for pattern in patterns
      for each in (name, re.sub(r'/\d+$', '', name))
    )
  }


@functools.partial(jax.jit, static_argnums=(0, 1))
def _captured(model, patterns, params, inputs, replacements):
  return observe(model, patterns, params, inputs, replacements)[1]


@functools.partial(jax.jit, static_argnums=0)
def _patched(model, params, inputs, replacements):
  return types.logits(observe(model, (), params, inputs, replacements)[0])


def _interceptor(patterns: Sequence[str], seen: set[str]) -> Callable[..., Any]:
  """Returns an interceptor of module calls for `nn.intercept_methods`.

  Args:
    patterns: Those of the activations to capture.
    seen: Receives the names of all activations.
  """

  def asked(name):
    seen.add(name)
    # Which call this is is not known yet.
    calls = (name, *(f'{name}/{number}' for number in range(MOST_CALLS)))
    return any(re.fullmatch(p, call) for p in patterns for call in calls)

  def intercept(call, args, kwargs, context):
    module = context.module
    path = '/'.join(module.path)
    if context.method_name == 'read' and isinstance(module, transformer.Reader):
      if asked(f'{path}/{WEIGHTS}'):
        module.sow('intermediates', WEIGHTS, _weights(*args, **kwargs))
      return call(*args, **kwargs)
    output = call(*args, **kwargs)
    if not path or context.method_name != '__call__':
      return output
    leaves, form = jax.tree.flatten(output)
    if len(leaves) != 1:  # No module here; such outputs would have no names.
      return output
    if module.has_variable('intermediates', REPLACEMENT):
      other = module.get_variable('intermediates', REPLACEMENT)
      leaves = [jnp.where(other.where, other.values, leaves[0])]
    if asked(path):
      module.sow('intermediates', OUTPUT, leaves[0])
    return jax.tree.unflatten(form, leaves)

  return intercept


def _weights(query, key, value, mask, slots, bias=None):
  """Returns the attention weights, given the arguments of `Reader.read`."""
  del value
  return plain.weights(query, key, mask, slots, bias)


def _named(intermediates: PyTree) -> dict[str, Shaped[Array, '...']]:
  """Returns the sown activations by name, without the replacements."""
  found = {}

  def visit(node, path):
    for name, part in node.items():
      if isinstance(part, Mapping):
        visit(part, (*path, name))
      elif name != REPLACEMENT:
        whole = '/'.join(path if name == OUTPUT else (*path, name))
        for number, array in enumerate(part):
          found[f'{whole}/{number}' if len(part) > 1 else whole] = array

  visit(intermediates, ())
  return found


def _checked(
  name: str,
  replacement: Shaped[Array, '...'] | Replacement,
  shapes: Mapping[str, jax.ShapeDtypeStruct],
) -> Replacement:
  """Returns a replacement, checked against the shape of its activation."""
  if name not in shapes or name.endswith(f'/{WEIGHTS}'):
    outputs = {n for n in shapes if not re.search(rf'/({WEIGHTS}|\d+)$', n)}
    raise UserError(
      f'Nothing is put in at {name!r}: it is not what one module gives, once.'
      f'{_near(name, outputs)} All are listed by lm.analysis.capture.names.'
    )
  if isinstance(replacement, Replacement):
    values, where = replacement.values, replacement.where
  else:
    values = jnp.asarray(replacement)
    where = jnp.ones((1,) * values.ndim, bool)
  shape = shapes[name].shape
  fits = len(shape) == where.ndim and all(
    size in (1, whole) for size, whole in zip(where.shape, shape)
  )
  if values.shape != shape or not fits:
    raise UserError(
      f'{name} has the shape {shape}, but what is put in has {values.shape},'
      f' where {where.shape} says. Give values of the same shape, as capture'
      ' returns them, and as many axes of each length or 1.'
    )
  # A stack gives each layer its slice of the first axis.
  where = jnp.broadcast_to(where, (*shape[:1], *where.shape[1:]))
  return Replacement(values.astype(shapes[name].dtype), where)


def _nested(by_name: Mapping[str, Replacement]) -> PyTree:
  tree: dict[str, Any] = {}
  for name, replacement in by_name.items():
    node = tree
    for part in name.split('/'):
      node = node.setdefault(part, {})
    node[REPLACEMENT] = replacement
  return tree


def _near(name: str, among: set[str]) -> str:
  """Returns a sentence that suggests similar names."""
  near = difflib.get_close_matches(name, sorted(among), n=3, cutoff=0.4)
  return f' Near it are {", ".join(near)}.' if near else ''
