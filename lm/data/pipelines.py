"""How each family cuts text into tokens: a vocabulary and the steps around it.

Each function returns a pipeline of the `tokenizers` library with the special
tokens, and the places of them, that the published models were trained with.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tokenizers import (
  AddedToken,
  Tokenizer,
  decoders,
  models,
  normalizers,
  pre_tokenizers,
  processors,
)

from lm.types import UserError

END_OF_TEXT = '<|endoftext|>'
BERT_SPECIALS = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]')
ROBERTA_SPECIALS = ('<s>', '<pad>', '</s>', '<unk>', '<mask>')
T5_SPECIALS = ('<pad>', '</s>', '<unk>')
NUM_SENTINELS = 100  # T5's; a span of noise takes one.

ROLES = ('bos', 'eos', 'pad', 'unk', 'mask', 'cls', 'sep')
_FAMILY_ROLES = (
  dict(zip(('pad', 'unk', 'cls', 'sep', 'mask'), BERT_SPECIALS)),
  dict(zip(('bos', 'pad', 'eos', 'unk', 'mask'), ROBERTA_SPECIALS))
  | dict(cls='<s>', sep='</s>'),
  dict(zip(('pad', 'eos', 'unk'), T5_SPECIALS)),
  dict(bos=END_OF_TEXT, eos=END_OF_TEXT),
  {},
)


def byte_level(
  vocab: Mapping[str, int],
  merges: Sequence[tuple[str, str]],
  words: bool = True,
) -> Tokenizer:
  """Returns GPT-2's: merges of bytes, never across its pattern of words.

  Args:
    vocab: The id of every token.
    merges: The pairs to join, the first of them first.
    words: Whether text is cut into words before anything is joined.
  """
  pipeline = Tokenizer(models.BPE(dict(vocab), list(merges)))
  pipeline.pre_tokenizer = pre_tokenizers.ByteLevel(
    add_prefix_space=False, use_regex=words
  )
  pipeline.decoder = decoders.ByteLevel()
  pipeline.post_processor = processors.ByteLevel(trim_offsets=False)
  return pipeline


def roberta(
  vocab: Mapping[str, int], merges: Sequence[tuple[str, str]]
) -> Tokenizer:
  """Returns RoBERTa's: GPT-2's merges, with the marks of an encoder."""
  pipeline = byte_level(vocab, merges)
  *others, mask = ROBERTA_SPECIALS
  # A word's space is part of the word, so what hides a word takes it along.
  mask = AddedToken(mask, lstrip=True, special=True)
  pipeline.add_special_tokens([*others, mask])
  begin, end = (('<s>', vocab['<s>']), ('</s>', vocab['</s>']))
  pipeline.post_processor = processors.RobertaProcessing(
    end, begin, trim_offsets=True, add_prefix_space=False
  )
  return pipeline


def wordpiece(
  vocab: Mapping[str, int],
  lowercase: bool,
  strip_accents: bool | None = None,
  chinese_characters: bool = True,
) -> Tokenizer:
  """Returns BERT's: the longest pieces that make up each word.

  Args:
    vocab: The id of every piece; those inside of a word begin with `##`.
    lowercase: Whether the case of letters is dropped.
    strip_accents: Whether accents are; None where lowercase is.
    chinese_characters: Whether each is a word of its own.
  """
  missing = [special for special in BERT_SPECIALS if special not in vocab]
  if missing:
    raise UserError(
      f'The WordPiece vocabulary has no {" ".join(missing)}, which mark'
      ' what is unknown, masked or between sentences. Give the vocab.txt of a'
      ' BERT, named by config.data.tokenizer.'
    )
  pipeline = Tokenizer(models.WordPiece(dict(vocab), unk_token='[UNK]'))
  pipeline.normalizer = normalizers.BertNormalizer(
    clean_text=True,
    handle_chinese_chars=chinese_characters,
    strip_accents=strip_accents,
    lowercase=lowercase,
  )
  pipeline.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
  pipeline.decoder = decoders.WordPiece(prefix='##')
  pipeline.add_special_tokens(list(BERT_SPECIALS))
  pipeline.post_processor = processors.TemplateProcessing(
    single='[CLS] $A [SEP]',
    pair='[CLS] $A [SEP] $B:1 [SEP]:1',
    special_tokens=[(name, vocab[name]) for name in ('[CLS]', '[SEP]')],
  )
  return pipeline


def t5(
  pieces: Sequence[tuple[str, float]], unk_id: int, charsmap: bytes
) -> Tokenizer:
  """Returns T5's: the likeliest pieces, of text with its whitespace collapsed.

  Args:
    pieces: Every piece and its log probability, in the order of their ids.
    unk_id: The piece that stands for unknown characters.
    charsmap: SentencePiece's compiled table of Unicode normalization.
  """
  pipeline = _unigram(pieces, unk_id)
  if charsmap:
    pipeline.normalizer = normalizers.Precompiled(charsmap)
  pipeline.pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
  )
  pipeline.decoder = decoders.Metaspace()
  return pipeline


def unigram(pieces: Sequence[tuple[str, float]], unk_id: int) -> Tokenizer:
  """Returns T5's kind of pieces, of text as it is: no space is lost or added.

  So that what a model is asked for is the whole text, whichever the tokenizer,
  and bits per byte compare.
  """
  pipeline = _unigram(pieces, unk_id)
  pipeline.pre_tokenizer = pre_tokenizers.Sequence(
    [
      pre_tokenizers.Split('\n', 'isolated'),
      pre_tokenizers.Metaspace(prepend_scheme='never'),
    ]
  )
  pipeline.decoder = decoders.Metaspace(prepend_scheme='never')
  return pipeline


def sentinels(number: int) -> list[str]:
  """Returns T5's marks of noise in the order of their ids: the first on top."""
  return [f'<extra_id_{i}>' for i in reversed(range(number))]


def _unigram(pieces: Sequence[tuple[str, float]], unk_id: int) -> Tokenizer:
  names = [piece for piece, _ in pieces]
  pipeline = Tokenizer(models.Unigram(list(pieces), unk_id))
  pipeline.add_special_tokens(
    [
      name
      for name in names
      if name in T5_SPECIALS or name.startswith('<extra_id_')
    ]
  )
  if '</s>' in names:
    pipeline.post_processor = processors.TemplateProcessing(
      single='$A </s>',
      pair='$A </s> $B </s>',
      special_tokens=[('</s>', names.index('</s>'))],
    )
  return pipeline


def characters(alphabet: Iterable[str]) -> Tokenizer:
  """Returns a tokenizer whose every token is a character, ids in their order.

  BPE that joins nothing is four times as fast here as a table of words is.
  """
  vocab = {character: i for i, character in enumerate(sorted(alphabet))}
  pipeline = Tokenizer(models.BPE(vocab, []))
  pipeline.decoder = decoders.Fuse()
  return pipeline


def single_bytes() -> Tokenizer:
  """Returns a tokenizer whose every token is a byte, and its id the byte."""
  # GPT-2 writes a byte that cannot be seen as the next character from 256 on.
  visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
  hidden = [byte for byte in range(256) if byte not in visible]
  codes = {byte: byte for byte in visible}
  codes |= {byte: 256 + i for i, byte in enumerate(hidden)}
  vocab = {chr(codes[byte]): byte for byte in range(256)}
  return byte_level(vocab, [], words=False)


def role_ids(
  pipeline: Tokenizer, settings: Mapping[str, Any]
) -> dict[str, int | None]:
  """Returns `eos_id` and the like: what each special token is for.

  Args:
    pipeline: Of the first family whose special tokens its vocabulary has.
    settings: A `tokenizer_config.json`, which goes before the family.
  """
  vocab = pipeline.get_vocab()
  families = ({*family.values()} <= vocab.keys() for family in _FAMILY_ROLES)
  names = dict(next(itertools.compress(_FAMILY_ROLES, families)))
  for role in ROLES:
    told = settings.get(f'{role}_token')
    if told is not None:
      names[role] = told if isinstance(told, str) else told['content']
  return {f'{role}_id': vocab.get(name) for role, name in names.items()}
