"""A command line made of the fields of dataclasses."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

from experiments.launch.start import PLATFORMS

Platform = Literal[*PLATFORMS]


def chosen(argv: Sequence[str]) -> str:
  """Returns what `--to` says in a command line, which is not yet checked.

  >>> chosen(['--to=slurm']), chosen(['--to', 'local']), chosen([])
  ('slurm', 'local', '')
  """
  for word, following in zip(argv, [*argv[1:], '']):
    if word == '--to':
      return following
    if word.startswith('--to='):
      return word.removeprefix('--to=')
  return ''


def options_of(to: str) -> tuple[type, ...]:
  """Returns the options of a platform; of one that is none, those of all."""
  if to in PLATFORMS:
    return (PLATFORMS[to].Options,)
  return tuple(each.Options for each in PLATFORMS.values())


def signed(
  main: Callable[..., int | None],
  kinds: Sequence[type],
  without: Sequence[str] = (),
) -> Callable[..., int | None]:
  """Returns `main` with the fields of dataclasses as arguments.

  Args:
    main: Takes what it does not name as keywords.
    kinds: Dataclasses, explained by the `Args` of their docstrings.
    without: Fields that are left out.
  """
  parameters = {
    name: parameter
    for part in (*kinds, main)
    for name, parameter in inspect.signature(
      part, eval_str=True
    ).parameters.items()
    if parameter.kind is not parameter.VAR_KEYWORD and name not in without
  }
  keywords = [
    parameter.replace(kind=parameter.KEYWORD_ONLY)
    for parameter in parameters.values()
  ]

  def called(**arguments: Any) -> int | None:
    return main(**arguments)

  called.__module__ = main.__module__
  called.__signature__ = inspect.Signature(keywords)
  texts = [inspect.getdoc(part) or '' for part in (*kinds, main)]
  entries = [text.partition('\nArgs:\n')[2].rstrip() for text in texts]
  lead, *_ = texts[-1].splitlines()
  called.__doc__ = '\n'.join([lead, '', 'Args:', *filter(None, entries)])
  called.hints = hints(parameters)
  return called


def hints(known: Collection[str]) -> dict[str, str]:
  """Returns, for each flag that only other platforms have, which ones do."""
  found: dict[str, list[str]] = {}
  for to, platform in PLATFORMS.items():
    for name in inspect.signature(platform.Options).parameters:
      if name not in known:
        found.setdefault(f'--{name}', []).append(f'--to={to}')
  return {
    flag: f' It belongs to {" and ".join(to)}.' for flag, to in found.items()
  }


def made(kind: type, arguments: Mapping[str, Any], **more: Any) -> Any:
  """Returns a dataclass of those arguments that are its fields."""
  names = inspect.signature(kind).parameters
  own = {name: arguments[name] for name in names if name in arguments}
  return kind(**own, **more)
