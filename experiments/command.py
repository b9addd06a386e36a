"""The entry point of all commands: their arguments, output and exit status.

A command is a function, and its signature is its command line:

  def main(workdir: str, step: int | None = None) -> None: ...

  if __name__ == '__main__':
    command.run(main)

It is called with the values of `--workdir=DIR --step=3`. The flag of a tuple
may be repeated, or have its items separated by commas; that of a Sequence may
be repeated, and its items are texts that may contain commas. `main.hints`, a
dictionary that a command may have, says of a flag that is no argument where it
belongs. A config is an argument named `config`; `sections` define what can be
set in it. If annotated as `config_file.Asked`, it is passed on as it was typed.
"""

import argparse
import inspect
import json
import os
import pathlib
import re
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from logging import WARNING
from typing import Any, NoReturn

from absl import flags, logging

from experiments import config_file, values
from lm.parallel import host_memory
from lm.types import UserError

# Returns what a config inherits from the run that it starts from.
Inherited = Callable[[str], Mapping[str, Any]]

OURS = ('lm', 'experiments')
ROOT = pathlib.Path(__file__).parents[1]
OVERRIDE = '--config.'


def run(
  main: Callable[..., int | None],
  sections: config_file.Sections | None = None,
  inherited: Inherited | None = None,
) -> NoReturn:
  """Calls `main` with the command line, and ends the process.

  The exit status is what `main` returns, 0 for None; 2 after a user error,
  which is printed without a traceback, or 75 if the same command may succeed
  later; 130 after Ctrl-C. Any other exception is a bug: it keeps its traceback,
  and the status is 1.
  """
  host_memory.keep_freed()
  _log_to_stderr()
  try:
    status = main(**parse(main, sys.argv[1:], sections, inherited))
  except UserError as error:
    print(error, file=sys.stderr)
    status = error.status
  except KeyboardInterrupt:
    print('Interrupted.', file=sys.stderr)
    status = 130
  except BrokenPipeError:  # Whoever reads, such as head, has read enough.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    status = 0
  sys.exit(status)


def report(result: Mapping[str, Any]) -> None:
  """Prints a result as JSON, for programs, on the last line of stdout."""
  print(json.dumps(result), flush=True)


def parse(
  main: Callable[..., Any],
  argv: Sequence[str],
  sections: config_file.Sections | None = None,
  inherited: Inherited | None = None,
) -> dict[str, Any]:
  """Returns the arguments for `main` from a command line.

  Raises:
    UserError: A flag or a value is not valid for `main`, or one is missing.
    SystemExit: The help was requested, and has been printed.
  """
  parameters = inspect.signature(main, eval_str=True).parameters
  overrides, rest = _split(argv) if sections else ({}, list(argv))
  given, unknown = _parser(main, parameters, bool(sections)).parse_known_args(
    rest
  )
  if unknown:
    flag = unknown[0].partition('=')[0]
    near = getattr(main, 'hints', {}).get(flag)
    near = near or values.did_you_mean(flag, [f'--{n}' for n in parameters])
    raise UserError(f'There is no argument {flag}.{near} See --help.')
  for name, parameter in parameters.items():
    if parameter.default is parameter.empty and name not in given:
      raise UserError(f'--{name} is missing. Give --{name}=...; see --help.')
  arguments = vars(given)
  for name, text in arguments.items():
    kind = parameters[name].annotation
    if kind is config_file.Asked:
      arguments[name] = config_file.Asked(text, overrides)
      continue
    if name == 'config' and sections:
      arguments[name] = config_file.load(text, overrides, sections, inherited)
      continue
    if isinstance(text, list) and typing.get_origin(kind) is tuple:
      text = ','.join(text)  # The flag was given several times.
    arguments[name] = values.convert(f'--{name}', text, kind)
  return arguments


def _split(argv: Sequence[str]) -> tuple[dict[str, str], list[str]]:
  """Returns the overrides of a config by their keys, and the other arguments."""
  overrides, rest, words = {}, [], iter(argv)
  for word in words:
    flag, equals, text = word.partition('=')
    if not flag.startswith(OVERRIDE):
      rest.append(word)
      continue
    text = text if equals else next(words, None)
    if text is None:
      raise UserError(f'{flag} has no value. Give {flag}=VALUE.')
    overrides[flag.removeprefix(OVERRIDE)] = text
  return overrides, rest


class _Parser(argparse.ArgumentParser):
  """Raises UserError on a mistake, instead of printing the usage."""

  def error(self, message: str) -> NoReturn:
    raise UserError(f'Not understood: {message}. See --help.')


def _parser(
  main: Callable[..., Any],
  parameters: Mapping[str, inspect.Parameter],
  has_config: bool,
) -> argparse.ArgumentParser:
  """Returns a parser whose help comes from the docstrings of the command."""
  parser = _Parser(
    usage=argparse.SUPPRESS,
    description=inspect.getmodule(main).__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    argument_default=argparse.SUPPRESS,
    allow_abbrev=False,
  )
  explained = _explained(inspect.getdoc(main) or '')
  for name, parameter in parameters.items():
    help_text = explained.get(name, '')
    if parameter.default not in (parameter.empty, None, False, (), ''):
      help_text += f' Default: {parameter.default}.'
    form: dict[str, Any] = {}
    if parameter.annotation is bool:
      form = {'nargs': '?', 'const': 'true'}
    elif typing.get_origin(parameter.annotation) in (tuple, Sequence):
      form = {'action': 'append'}
    parser.add_argument(f'--{name}', help=help_text.replace('%', '%%'), **form)
    if has_config and name == 'config':
      parser.add_argument(
        f'{OVERRIDE}KEY',
        metavar='VALUE',
        help='Overrides a field of the config, such as model.num_layers.',
      )
  return parser


def _explained(docstring: str) -> dict[str, str]:
  """Returns the text of each argument in a docstring's `Args`."""
  block = re.search(r'\nArgs:\n((?:  .*(?:\n|$)|\n)*)', docstring)
  entries = re.split(r'^  (?=\w+: )', block[1] if block else '', flags=re.M)
  pairs = (entry.partition(': ') for entry in entries if entry.strip())
  return {name: ' '.join(text.split()) for name, _, text in pairs}


def _log_to_stderr() -> None:
  """Logs our own messages, and only warnings and errors of libraries."""
  flags.FLAGS.mark_as_parsed()  # Libraries read theirs, which keep defaults.
  logging.use_absl_handler()
  logging.set_verbosity(logging.INFO)
  ours = tuple(str(ROOT / folder) for folder in OURS)
  logging.get_absl_handler().addFilter(
    lambda record: record.levelno >= WARNING or record.pathname.startswith(ours)
  )
