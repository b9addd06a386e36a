"""What goes on inside a model, read and replaced without a change to its code.

An activation is named by the path of the module that it comes out of, as its
parameters are: `decoder/block/attention/out`. What comes out of a layer has a
leading axis N, one for each layer of the stack. The weights that an attention
reads by are `.../attention/weights`, whichever kernel computes it.
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


@struct.dataclass
class Replacement:
  """What an activation is to be instead.

  Attributes:
    values: As `capture` returns them, of another run perhaps.
    where: Which of them are put in; as many axes, and each as long or 1.
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

  What a module gives that is called several times has a number behind its
  name: `token` of a T5 is found as `token/0`, of the source, and `token/1`.

  Args:
    model: Any of `lm.models`.
    params: Of the model.
    inputs: Its keyword arguments.
    patterns: Regular expressions, such as `.*/block` or `.*/weights`.
    replacements: As those of `patch`.

  Raises:
    UserError: A pattern matches nothing, or is none.
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
  """Returns what the model answers when some of its activations are others.

  This is activation patching (Vig et al. 2020; Meng et al. 2022, 2): what
  another run has at one place is put into this one.

  Args:
    model: Any of `lm.models`.
    params: Of the model.
    inputs: Its keyword arguments.
    replacements: By name: an array as `capture` returns it, put in everywhere,
      or a `Replacement`, such as `at` returns.

  Raises:
    UserError: There is no such activation, or it has another shape.
  """
  return _patched(model, params, dict(inputs), dict(replacements))


def at(
  values: Shaped[Array, 'N B L *rest'],
  layer: int | Int[Array, ''],
  position: int | Int[Array, ''] | None = None,
) -> Replacement:
  """Returns what replaces an activation in one layer.

  Both numbers may be traced, so that one program tries all of them (`jax.vmap`).

  Args:
    values: Of all layers.
    layer: Counted from 0.
    position: Of the only token where it is replaced; None: in the whole row.
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
  """Returns the shapes of all that can be captured; computes nothing."""
  every = lambda *given: observe(model, ('.*',), *given, {})[1]
  return jax.eval_shape(every, params, dict(inputs))


def observe(
  model: nn.Module,
  patterns: Sequence[str],
  params: PyTree,
  inputs: Mapping[str, Any],
  replacements: Replacements,
) -> tuple[dict[str, Any], dict[str, Shaped[Array, '...']]]:
  """Returns the answers by term, and the activations asked for.

  It is what `capture` and `patch` compile; the arguments are theirs.
  """
  variables = {'params': params}
  if replacements:
    shapes = names(model, params, inputs)
    put_in = {
      name: _checked(name, replacement, shapes)
      for name, replacement in replacements.items()
    }
    # As variables, so that each layer of a stack is handed its own.
    variables['intermediates'] = _nested(put_in)
  seen: set[str] = set()
  with nn.intercept_methods(_interceptor(patterns, seen)):
    answers, state = model.apply(
      variables, **inputs, method='answer', mutable=['intermediates']
    )
  for pattern in patterns:
    if not any(re.fullmatch(pattern, name) for name in seen):
      raise UserError(
        f'No activation is named {pattern!r}.{_near(pattern, seen)} All are'
        ' listed by lm.analysis.capture.names.'
      )
  return answers, _named(state.get('intermediates', {}))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _captured(model, patterns, params, inputs, replacements):
  return observe(model, patterns, params, inputs, replacements)[1]


@functools.partial(jax.jit, static_argnums=0)
def _patched(model, params, inputs, replacements):
  return types.logits(observe(model, (), params, inputs, replacements)[0])


def _interceptor(patterns: Sequence[str], seen: set[str]) -> Callable[..., Any]:
  """Returns what stands between a module and who calls it.

  Args:
    patterns: Of what is captured.
    seen: Gets the names of all that could be.
  """

  def asked(name):
    seen.add(name)
    return any(re.fullmatch(p, name) for p in patterns)

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
    if len(leaves) != 1:  # None here; whoever adds one has no name for each.
      return output
    if module.has_variable('intermediates', REPLACEMENT):
      other = module.get_variable('intermediates', REPLACEMENT)
      leaves = [jnp.where(other.where, other.values, leaves[0])]
    if asked(path):
      module.sow('intermediates', OUTPUT, leaves[0])
    return jax.tree.unflatten(form, leaves)

  return intercept


def _weights(query, key, value, mask, slots, bias=None):
  """Returns the weights of `Reader.read`, whose arguments these are."""
  del value
  return plain.weights(query, key, mask, slots, bias)


def _named(intermediates: PyTree) -> dict[str, Shaped[Array, '...']]:
  """Returns what was sown by name, and nothing of what was put in."""
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
  """Returns what is put in, its axes as the activation's."""
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
  # A stack hands each layer its part of the first axis.
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
  """Returns a sentence that tells what may have been meant."""
  near = difflib.get_close_matches(name, sorted(among), n=3, cutoff=0.4)
  return f' Near it are {", ".join(near)}.' if near else ''
