"""Builds token stores with Apache Beam, on many processes or many machines.

The store is byte-identical to one built on a single machine, so nothing else
needs to know. Beam tokenizes the parts of a corpus into `token_shards`; this
process then merges them. All machines must see the files of the text and the
cache under the same paths, and have this package.

What is split, and what is not: the files of `text` and `jsonl` into parts of
about 64 megabytes, except `.gz` files; `tfds` by examples; `wikitext` by file.
With `split='tail'` all files are one text, held in memory by one machine, and
each corpus that comes with this project is one part too. Training a tokenizer,
hashing the files for the name of the store and merging the shards are done by
this process alone, at the speed of its disk.

Tested: the direct runner, in one process and in several, some of them killed;
the Flink and Spark runners up to Beam's own server, without a cluster behind
it. For Dataflow, only the options are tested.
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
SECONDS = 60  # Between two progress messages.


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

  Shards made before a failure are kept beside `directory`, and reused by the
  next build of the same store.

  Args:
    corpus: The text.
    side: 'train' or 'validation'.
    tokenizer: The tokenizer.
    directory: Where the finished store will be.
    end_of_text: Whether the tokenizer's end token follows every document.
    workers: Unused: the runner decides.
    words: What determines where words begin; see `lm.data.tokenization`.
    runner: The name of a Beam runner.
    flags: Options of the runner.

  Raises:
    UserError: The text is invalid, or the runner failed.
  """
  del workers
  tokenization.check_end(tokenizer, end_of_text)
  next(corpus.documents(side))  # Raises here if there is none.
  shards = directory.with_name(f'{directory.name}.parts-of-{text_files.PART}')
  job = Job(corpus.parts, side, tokenizer, end_of_text, words)
  token_shards.begin(shards, job)
  _run(runner, flags, shards, len(job.parts))
  token_store.write(token_shards.read(shards), tokenizer, directory)
  clean(directory)


def clean(directory: pathlib.Path) -> None:
  """Removes the shards of a finished store, also those left by a kill."""
  for path in directory.parent.glob(f'{directory.name}.parts-of-*'):
    shutil.rmtree(path, ignore_errors=True)


def _run(
  runner: str, flags: Sequence[str], shards: pathlib.Path, total: int
) -> None:
  """Makes all shards, in a process that is restarted if a worker is killed."""
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
  finally:  # Leave none of its workers running.
    with contextlib.suppress(ProcessLookupError):
      os.killpg(process.pid, signal.SIGKILL)
  return process.exitcode


def _pipeline(
  runner: str, flags: list[str], shards: pathlib.Path, total: int
) -> None:
  """Runs the pipeline, as the leader of a process group with its workers."""
  os.setsid()
  threading.Thread(target=_end_with_parent, daemon=True).start()
  threading.excepthook = _end_without_worker
  log = os.open(shards / 'beam.log', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
  os.dup2(log, sys.stderr.fileno())
  from lm.data import beam_pipeline  # Its output belongs in the log.

  beam_pipeline.run(runner, flags, shards, total)


def _end_with_parent() -> None:
  """Ends this process group when the process that waits for it is killed."""
  multiprocessing.parent_process().join()
  os.killpg(0, signal.SIGKILL)


def _end_without_worker(error: threading.ExceptHookArgs) -> None:
  """Ends this process when one of its workers dies: Beam would wait forever."""
  threading.__excepthook__(error)
  if error.thread is not None and error.thread.name == 'run_worker':
    os._exit(LOST)
