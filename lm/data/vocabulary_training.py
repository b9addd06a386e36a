"""Learns a vocabulary from text; the same text gives the same one anywhere."""

import io
import json
import re
from collections.abc import Iterable, Iterator

import sentencepiece
from absl import logging
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from lm.data import pipelines, vocabulary_files
from lm.data.pipelines import END_OF_TEXT
from lm.types import UserError

KINDS = ('bpe', 'roberta', 'wordpiece', 'unigram', 'characters', 'bytes')


def learn(
  kind: str,
  documents: Iterable[str],
  vocab_size: int | None,
  end_of_text: bool,
) -> Tokenizer:
  """Returns the pipeline of a kind, with a vocabulary learned from the text."""
  if kind not in KINDS:
    raise UserError(
      f'config.data.tokenizer is {kind!r}, which is no kind of tokenizer. Set'
      f' it to one of {", ".join(KINDS)}.'
    )
  if kind == 'characters':
    return characters(documents, end_of_text)
  if kind == 'bytes':
    return single_bytes(end_of_text)
  if vocab_size is None:
    raise UserError(
      f'config.data.vocab_size is None, but a {kind} tokenizer can be of any'
      ' size. Set it to the number of tokens.'
    )
  if kind == 'bpe':
    return bpe(documents, vocab_size, end_of_text)
  learners = {'roberta': roberta, 'wordpiece': wordpiece, 'unigram': unigram}
  return learners[kind](documents, vocab_size)


def bpe(
  documents: Iterable[str], vocab_size: int, end_of_text: bool
) -> Tokenizer:
  """Merges the most frequent pair of tokens until there are `vocab_size`."""
  least = 256 + end_of_text
  if vocab_size < least:
    raise UserError(
      f'config.data.vocab_size is {vocab_size}, but the bytes alone are'
      f' {least} tokens. Set it to {least} or more.'
    )
  trainer = trainers.BpeTrainer(
    vocab_size=vocab_size - end_of_text,
    initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    show_progress=False,
  )
  pipeline = pipelines.byte_level({}, [])
  pipeline.train_from_iterator(_texts(documents, end_of_text), trainer)
  _check_size(_ended(pipeline, end_of_text).get_vocab_size(), vocab_size)
  return pipeline


def roberta(documents: Iterable[str], vocab_size: int) -> Tokenizer:
  """Merges bytes as `bpe` does, and numbers special tokens as RoBERTa does."""
  *first, mask = pipelines.ROBERTA_SPECIALS
  learned = bpe(documents, vocab_size - len(first) - 1, end_of_text=False)
  model = json.loads(learned.to_str())['model']
  pieces = sorted(model['vocab'], key=model['vocab'].get)
  ids = {piece: i for i, piece in enumerate([*first, *pieces, mask])}
  return pipelines.roberta(ids, [tuple(pair) for pair in model['merges']])


def wordpiece(documents: Iterable[str], vocab_size: int) -> Tokenizer:
  """Merges pieces as BPE does, but does not keep the order of merges.

  Case and accents are kept: text without them is easier to predict, so its bits
  per byte would not be comparable with another tokenizer's.
  """
  documents = list(documents)
  # The trainer numbers pieces inside words in the order of a hash table, which
  # decides ties. So a first pass lists them, and a second is given them sorted.
  pieces = _joined(documents, 0, [])
  inside = sorted(piece for piece in pieces if piece.startswith('##'))
  vocab = _joined(documents, vocab_size, [*pipelines.BERT_SPECIALS, *inside])
  _check_size(len(vocab), vocab_size)
  return pipelines.wordpiece(vocab, lowercase=False)


def _joined(
  documents: list[str], vocab_size: int, first: list[str]
) -> dict[str, int]:
  specials = {special: i for i, special in enumerate(pipelines.BERT_SPECIALS)}
  steps = pipelines.wordpiece(specials, lowercase=False)
  pipeline = Tokenizer(models.WordPiece())
  pipeline.normalizer = steps.normalizer
  pipeline.pre_tokenizer = steps.pre_tokenizer
  trainer = trainers.WordPieceTrainer(
    vocab_size=vocab_size, special_tokens=first, show_progress=False
  )
  pipeline.train_from_iterator(documents, trainer)
  return pipeline.get_vocab(with_added_tokens=False)


def unigram(documents: Iterable[str], vocab_size: int) -> Tokenizer:
  """Prunes frequent pieces to those that make the text likeliest, as for T5.

  SentencePiece learns them: with the trainer of `tokenizers`, the scores and
  the order of the pieces differ from run to run.
  """
  lines = [line for document in documents for line in document.split('\n')]
  _check_text(any(lines))
  marks = ['\n', *pipelines.sentinels(pipelines.NUM_SENTINELS)]
  model = io.BytesIO()
  try:
    sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter(lines),
      model_writer=model,
      model_type='unigram',
      vocab_size=max(1, vocab_size - len(marks)),
      pad_id=0,
      eos_id=1,
      unk_id=2,
      bos_id=-1,
      character_coverage=1.0,
      normalization_rule_name='identity',
      remove_extra_whitespaces=False,
      add_dummy_prefix=False,
      max_sentence_length=1 << 30,
      num_threads=4,  # Fixed, as sums depend on it, whatever the cores.
      minloglevel=2,
    )
  except RuntimeError as error:
    bound = re.search(r'Vocabulary size .*?(<=|vs\.?) (\d+)', str(error))
    if bound is None:
      raise
    size = int(bound[2]) + len(marks)
    if bound[1] == '<=':
      _check_size(size, vocab_size)
      return unigram(lines, size)
    raise UserError(
      f'config.data.vocab_size is {vocab_size}, but a Unigram vocabulary of'
      f' this text has at least {size} pieces. Set it so, or give other text.'
    ) from error
  pieces, unk_id, _ = vocabulary_files.sentencepiece(model.getvalue())
  return pipelines.unigram(pieces + [(mark, 0.0) for mark in marks], unk_id)


def characters(documents: Iterable[str], end_of_text: bool) -> Tokenizer:
  """Returns the tokenizer of the characters of the text."""
  alphabet = set().union(*_texts(documents, end_of_text))
  _check_text(bool(alphabet))
  return _ended(pipelines.characters(alphabet), end_of_text)


def single_bytes(end_of_text: bool) -> Tokenizer:
  """Returns the tokenizer of bytes, which needs no text."""
  return _ended(pipelines.single_bytes(), end_of_text)


def _texts(documents: Iterable[str], end_of_text: bool) -> Iterator[str]:
  """Yields the text between end-of-text tokens, which are not text."""
  for document in documents:
    yield from document.split(END_OF_TEXT) if end_of_text else (document,)


def _ended(pipeline: Tokenizer, end_of_text: bool) -> Tokenizer:
  """Gives the end-of-text token the last id, as GPT-2 does."""
  if end_of_text:
    pipeline.add_special_tokens([END_OF_TEXT])
  return pipeline


def _check_text(there_is_any: bool) -> None:
  if not there_is_any:
    raise UserError(
      'The text to learn a vocabulary from is empty. Give some by'
      ' config.data.source and config.data.path.'
    )


def _check_size(size: int, vocab_size: int) -> None:
  if size < vocab_size:
    logging.warning(
      'config.data.vocab_size is %d, but the text has no more than %d pieces,'
      ' so the vocabulary has as many.',
      vocab_size,
      size,
    )
  if size > vocab_size:
    raise UserError(
      f'config.data.vocab_size is {vocab_size}, but the characters of the text'
      f' make {size} pieces alone. Set it above that.'
    )
