"""Token stores built by Apache Beam: on many processes, or many machines.

The store has the bytes that one machine would have given it, so nothing else
needs to know. Beam tokenizes the parts of a corpus into `token_shards`; then
this process puts them together. All machines must see the files of the text and
the cache under the same paths, and have this package.

What is divided, and what is not: the files of `text` and `jsonl` in parts of
some 64 megabytes, but a `.gz` never; `tfds` by examples; `wikitext` by file.
With `split='tail'` all files are one text, which a machine holds in memory, and
what comes with this project is one part too. Learning a tokenizer, hashing the
files for the name of the store, and putting the shards together are the work of
this process alone, at the speed of its disk.

Tried: the direct runner, in one process and in several, of which some were
killed; Flink's and Spark's as far as Beam's own server, without a cluster behind
it. Of Dataflow's only the options are tried.
"""

import contextlib
import multiprocessing
import os
import pathlib
import shutil
import signal
import sys
import threading
from collections.abc import Sequence

from absl import logging

from lm.data import text_files, token_shards, token_store, tokenization
from lm.data.corpora import Corpus
from lm.data.token_shards import Job
from lm.data.tokenizers import Tokenizer
from lm.types import UserError

TRIES = 3
LOST = 75  # The exit status of a pipeline whose worker was killed.
SECONDS = 60  # Between two lines of progress.


def build(
  corpus: Corpus,
  side: str,
  tokenizer: Tokenizer,
  directory: pathlib.Path,
  end_of_text: bool,
  workers: int,
  words: str,
  runner: str,
  flags: Sequence[str] = (),
) -> None:
  """Tokenizes one side of a corpus into a store, as `token_store.build` does.

  What was made before a failure is kept beside `directory`, and found by the
  next build of the same.

  Args:
    corpus: The text.
    side: 'train' or 'validation'.
    tokenizer: Cuts it into tokens.
    directory: Where the store will be, once it is whole.
    end_of_text: Whether the tokenizer's is put behind every document.
    workers: Is left to the runner.
    words: What tells where they begin; see `lm.data.tokenization`.
    runner: One of Beam's.
    flags: Its options.

  Raises:
    UserError: The text is not as it should be, or the runner failed.
  """
  del workers
  tokenization.check_end(tokenizer, end_of_text)
  next(corpus.documents(side))  # Is refused here if there is none.
  shards = directory.with_name(f'{directory.name}.parts-of-{text_files.PART}')
  job = Job(corpus.parts, side, tokenizer, end_of_text, words)
  token_shards.begin(shards, job)
  _run(runner, flags, shards, len(job.parts))
  token_store.write(token_shards.read(shards), tokenizer, directory)
  clean(directory)


def clean(directory: pathlib.Path) -> None:
  """Removes the shards of a store that is whole, as after a kill."""
  for path in directory.parent.glob(f'{directory.name}.parts-of-*'):
    shutil.rmtree(path, ignore_errors=True)


def _run(
  runner: str, flags: Sequence[str], shards: pathlib.Path, total: int
) -> None:
  """Makes all shards, in a process that is started anew if one was killed."""
  log = shards / 'beam.log'
  logging.info('%s makes %d shards. Its log: %s', runner, total, log)
  for _ in range(TRIES):
    status = _try(runner, flags, shards, total)
    if token_shards.is_complete(shards):
      return
    if reason := token_shards.failure(shards):
      raise UserError(reason)
    if status != LOST and status >= 0:
      last = log.read_text().strip().rpartition('\n')[-1]
      raise UserError(
        f'{runner} failed: {last}. All that it said is in {log}. The same'
        f' command again goes on from the {token_shards.num_made(shards)} of'
        f' {total} shards that are finished.'
      )
    made = token_shards.num_made(shards)
    logging.warning('A worker was killed after %d of %d shards.', made, total)
  raise UserError(
    f'Workers of {runner} were killed {TRIES} times, most likely because memory'
    ' ran out. Let there be fewer of them, in --runner_options; the same'
    f' command again goes on from the {made} of {total} shards that are'
    ' finished.'
  )


def _try(
  runner: str, flags: Sequence[str], shards: pathlib.Path, total: int
) -> int:
  """Runs the pipeline once, and returns the exit status of its process."""
  context = multiprocessing.get_context('spawn')
  process = context.Process(
    target=_pipeline, args=(runner, list(flags), shards, total)
  )
  process.start()
  try:
    while process.exitcode is None:
      process.join(SECONDS)
      made = token_shards.num_made(shards)
      logging.info('%d of %d shards are made.', made, total)
  finally:  # None of its workers stays.
    with contextlib.suppress(ProcessLookupError):
      os.killpg(process.pid, signal.SIGKILL)
  return process.exitcode


def _pipeline(
  runner: str, flags: list[str], shards: pathlib.Path, total: int
) -> None:
  """Is all that a process does which leads a group with its workers."""
  os.setsid()
  threading.Thread(target=_end_with_parent, daemon=True).start()
  threading.excepthook = _end_without_worker
  log = os.open(shards / 'beam.log', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
  os.dup2(log, sys.stderr.fileno())
  from lm.data import beam_pipeline  # What it says belongs in the log.

  beam_pipeline.run(runner, flags, shards, total)


def _end_with_parent() -> None:
  """Ends this group when the process that waits for it was killed."""
  multiprocessing.parent_process().join()
  os.killpg(0, signal.SIGKILL)


def _end_without_worker(error: threading.ExceptHookArgs) -> None:
  """Ends this process when a worker of it has: Beam would wait for ever."""
  threading.__excepthook__(error)
  if error.thread is not None and error.thread.name == 'run_worker':
    os._exit(LOST)
