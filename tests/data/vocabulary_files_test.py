"""Published vocabularies give the ids that their models were trained on."""

import functools
import json
import shutil

import pytest
import sentencepiece

from lm.data import pipelines, tokenizers
from lm.types import UserError
from tests.data import byte_pairs

ODD_TEXTS = (
  '',
  ' ',
  '  two  spaces ',
  "It's  what\n\nthey'll\tsay: 1,234.5%!",
  'naïve café, e\u0301 ñ Å ß œ',
  '你好，世界！ 我 们',
  'ﬁ ½ … ① ㍻ ﾊﾝｶｸ ＡＢＣ',
  '😀 👩‍👩‍👧 🇨🇭',
  '\u200b\u00ad\ufeff\u2028x\x00y',
  'مرحبا नमस्ते Привет ٣٤',
)


load = functools.cache(tokenizers.load)


@pytest.fixture(scope='module')
def sentences(shared) -> list[str]:
  """Every fiftieth pair of sentences, English and Chinese."""
  text = (shared / 'data/tatoeba_en_zh/cmn.txt').read_text('utf-8')
  lines = text.splitlines()[::50]
  return [sentence for line in lines for sentence in line.split('\t')[:2]]


@pytest.mark.parametrize(
  'path, text, ids',
  [
    ('tok_gpt2', 'Hello, my dog is cute', [15496, 11, 616, 3290, 318, 13779]),
    ('tok_gpt2', ' Hello world<|endoftext|>', [18435, 995, 50256]),
    ('tok_roberta', 'Hello world', [0, 31414, 232, 2]),
    ('tok_roberta', 'a <mask>.', [0, 102, 50264, 4, 2]),
    (
      'tok_bert_base_uncased/vocab.txt',
      'Hello, my dog is cute',
      [101, 7592, 1010, 2026, 3899, 2003, 10140, 102],
    ),
    (
      'tok_t5_base/spiece.model',
      'A long paragraph for summarization.',
      [71, 307, 8986, 21, 4505, 1635, 1707, 5, 1],
    ),
    (
      'tok_t5_base/tokenizer.json',
      'Summary of the text.',
      [20698, 13, 8, 1499, 5, 1],
    ),
    ('tok_t5_base', 'a <extra_id_0>', [3, 9, 32099, 1]),
  ],
)
def test_known_texts_have_their_published_ids(shared, path, text, ids):
  tokenizer = load(shared / 'data' / path)
  assert tokenizer.encode(text, special_tokens=True).tolist() == ids


@pytest.mark.parametrize(
  'path, kind, vocab_size, roles, specials',
  [
    ('tok_gpt2', 'bpe', 50257, dict(bos=50256, eos=50256), 1),
    (
      'tok_roberta',
      'roberta',
      50265,
      dict(bos=0, cls=0, pad=1, eos=2, sep=2, unk=3, mask=50264),
      5,
    ),
    (
      'tok_bert_chinese/vocab.txt',
      'wordpiece',
      21128,
      dict(pad=0, unk=100, cls=101, sep=102, mask=103),
      5,
    ),
    (
      'tok_t5_base/spiece.model',
      'unigram',
      32100,
      dict(pad=0, eos=1, unk=2),
      103,
    ),
  ],
)
def test_special_tokens_have_the_roles_of_their_family(
  shared, path, kind, vocab_size, roles, specials
):
  tokenizer = load(shared / 'data' / path)
  assert (tokenizer.kind, tokenizer.vocab_size) == (kind, vocab_size)
  for role in ('bos', 'eos', 'pad', 'unk', 'mask', 'cls', 'sep'):
    assert getattr(tokenizer, f'{role}_id') == roles.get(role), role
  assert len(tokenizer.special_ids) == specials
  assert tokenizer.special_ids >= {*roles.values()}


@pytest.mark.parametrize(
  'one, other',
  [
    ('tok_t5_base/spiece.model', 'tok_t5_base/tokenizer.json'),
    ('tok_bert_chinese/vocab.txt', 'tok_bert_chinese/tokenizer.json'),
    ('tok_bert_base_uncased/vocab.txt', 'tok_bert_base_uncased/tokenizer.json'),
  ],
)
def test_two_formats_of_a_vocabulary_are_one_tokenizer(
  shared, sentences, one, other
):
  one, other = (load(shared / 'data' / path) for path in (one, other))
  for text in (*ODD_TEXTS, *sentences):
    assert one.encode(text).tolist() == other.encode(text).tolist(), text
  assert one.fingerprint() == other.fingerprint()


def test_t5s_ids_are_those_of_sentencepiece(shared, sentences):
  path = shared / 'data/tok_t5_base/spiece.model'
  reference = sentencepiece.SentencePieceProcessor(model_file=str(path))
  tokenizer = load(path)
  for text in (*ODD_TEXTS, *sentences):
    assert tokenizer.encode(text).tolist() == reference.encode(text), text


def test_chinese_bert_gives_each_character_its_line_of_the_vocabulary(shared):
  directory = shared / 'data/tok_bert_chinese'
  lines = (directory / 'vocab.txt').read_text('utf-8').split('\n')
  text = '我喜欢中国菜，你呢？'
  tokenizer = load(directory / 'vocab.txt')
  assert tokenizer.encode(text).tolist() == [lines.index(c) for c in text]


def test_roberta_cuts_as_gpt2_and_numbers_as_fairseq(shared, sentences):
  gpt2 = load(shared / 'data/tok_gpt2')
  roberta = load(shared / 'data/tok_roberta')
  lines = (shared / 'data/tok_roberta/dict.txt').read_text().splitlines()
  number = {line.split()[0]: i + 4 for i, line in enumerate(lines)}
  for text in (*ODD_TEXTS, *sentences):
    expected = [number[str(id)] for id in gpt2.encode(text)]
    assert roberta.encode(text).tolist() == expected, text


def test_merges_give_the_segmentation_of_the_reference(shared):
  directory = shared / 'data/bpe_train_reference'
  vocab = json.loads(
    (directory / 'train-bpe-reference-vocab.json').read_text('utf-8')
  )
  lines = (directory / 'train-bpe-reference-merges.txt').read_text('utf-8')
  merges = [tuple(line.split(' ')) for line in lines.splitlines()]
  pipeline = pipelines.byte_level(vocab, merges)
  text = (directory / 'corpus.en').read_text('utf-8')

  ranked = [tuple(map(byte_pairs.as_bytes, pair)) for pair in merges]
  ids = {
    byte_pairs.as_bytes(piece): id
    for piece, id in vocab.items()
    if piece != '<|endoftext|>'
  }
  split = byte_pairs.split(text)
  tokens = {
    word: byte_pairs.segment(word.encode(), ranked) for word in {*split}
  }
  expected = [ids[token] for word in split for token in tokens[word]]
  assert pipeline.encode(text).ids == expected


def test_files_are_found_by_either_name_and_in_any_of_their_formats(
  shared, tmp_path
):
  gpt2 = shared / 'data/tok_gpt2'
  shutil.copy(gpt2 / 'encoder.json', tmp_path / 'vocab.json')
  shutil.copy(gpt2 / 'vocab.bpe', tmp_path / 'merges.txt')
  paths = (tmp_path, tmp_path / 'merges.txt', gpt2 / 'encoder.json')
  assert len({tokenizers.load(path).fingerprint() for path in paths}) == 1


WORDS = json.dumps(
  dict.fromkeys(
    ['normalizer', 'pre_tokenizer', 'post_processor', 'decoder', 'padding']
  )
  | dict(version='1.0', truncation=None, added_tokens=[])
  | dict(model=dict(type='WordLevel', vocab={'a': 0}, unk_token='a'))
)
BERT = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'the', 'cat', '##s']


@pytest.mark.parametrize(
  'pieces, settings, case_is_kept',
  [
    (BERT, None, False),
    ([*BERT, 'The'], None, True),
    (BERT, {'do_lower_case': False}, True),
    ([*BERT, 'The'], {'do_lower_case': True, 'cls_token': 'cat'}, False),
  ],
)
def test_case_is_dropped_where_it_is_told_or_no_word_has_capitals(
  tmp_path, pieces, settings, case_is_kept
):
  (tmp_path / 'vocab.txt').write_text('\n'.join(pieces))
  if settings:
    path = tmp_path / 'tokenizer_config.json'
    path.write_text(json.dumps(settings))
  tokenizer = tokenizers.load(tmp_path)
  kept = tokenizer.encode('the').tolist() != tokenizer.encode('THE').tolist()
  assert kept == case_is_kept
  named = settings is not None and 'cls_token' in settings
  assert tokenizer.cls_id == (6 if named else 2)


@pytest.mark.parametrize(
  'files, path, message',
  [
    ({}, 'nothing', 'nothing does not exist'),
    (
      {'README.md': 'x'},
      '',
      'is no tokenizer. Looked for: tokenizer.json; spiece.model; vocab.json'
      ' with merges.txt; encoder.json with vocab.bpe; vocab.txt',
    ),
    ({'vocab.json': '{}'}, 'vocab.json', 'Looked for: .*merges.txt'),
    ({'tokenizer.json': '{"version"'}, '', 'tokenizer.json cannot be read'),
    ({'vocab.txt': '[PAD]\nthe'}, '', r'no \[UNK\] \[CLS\] \[SEP\] \[MASK\]'),
    ({'spiece.model': '\x0a\x20ab'}, '', 'spiece.model cannot .* cut short'),
    ({'spiece.model': ''}, '', 'cannot .* no piece for unknown characters'),
    ({'spiece.model': '\x12\x02\x18\x02'}, '', 'not a Unigram'),
    (
      {'tokenizer.json': WORDS},
      '',
      'of the kind wordlevel, which is none of bpe, ',
    ),
    (
      {'vocab.txt': '\n'.join(BERT), 'tokenizer_config.json': '{'},
      '',
      'tokenizer_config.json cannot be read',
    ),
    ({'vocab.json': '[1]', 'merges.txt': ''}, '', 'vocab.json and .* cannot'),
  ],
)
def test_what_is_no_tokenizer_is_refused(tmp_path, files, path, message):
  for name, content in files.items():
    (tmp_path / name).write_text(content)
  with pytest.raises(UserError, match=message) as error:
    tokenizers.load(tmp_path / path)
  assert 'config.data.tokenizer' in str(error.value)


@pytest.mark.peers
@pytest.mark.parametrize(
  'path, peer',
  [
    ('tok_gpt2', 'GPT2TokenizerFast'),
    ('tok_roberta', 'RobertaTokenizerFast'),
    ('tok_bert_base_uncased/vocab.txt', 'BertTokenizerFast'),
    ('tok_bert_chinese/vocab.txt', 'BertTokenizerFast'),
    ('tok_t5_base/spiece.model', 'T5TokenizerFast'),
  ],
)
def test_ids_are_those_of_transformers_from_the_same_files(
  shared, sentences, tmp_path, path, peer
):
  import transformers

  tokenizer = load(shared / 'data' / path)
  directory = shared / 'data' / path.split('/')[0]
  if path == 'tok_gpt2':  # It knows the files by the later names alone.
    shutil.copy(directory / 'encoder.json', tmp_path / 'vocab.json')
    shutil.copy(directory / 'vocab.bpe', tmp_path / 'merges.txt')
    directory = tmp_path
  theirs = getattr(transformers, peer).from_pretrained(directory)
  for text in (*ODD_TEXTS, *sentences):
    ids = tokenizer.encode(text, special_tokens=True).tolist()
    assert ids == theirs(text)['input_ids'], text
    assert tokenizer.decode(ids) == theirs.decode(ids), text
