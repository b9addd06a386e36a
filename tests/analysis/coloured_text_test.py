"""A page shows all tokens as text, whatever they are, and how each was lost."""

import html.parser

import jax.numpy as jnp
import numpy as np
import pytest

from lm.analysis import coloured_text
from lm.data import tokenizers
from lm.types import UserError
from tests.analysis import families
from tests.models import tiny

NASTY = ['<script>alert(1)</script>', '&amp;', '"', "' onload='x", ' a\n', '你']


class Tokens(html.parser.HTMLParser):
  """Reads a page as a browser does.

  Attributes:
    tags: All that were opened.
    tokens: Text, style and title of each token.
  """

  def __init__(self, page):
    super().__init__()
    self.tags, self.tokens, self.title, self._open = [], [], '', []
    self.links = []
    self.feed(page)
    self.close()

  def handle_starttag(self, tag, attributes):
    attributes = dict(attributes)
    self.tags.append(tag)
    self.links += [attributes[k] for k in ('src', 'href') if k in attributes]
    if tag == 'meta':
      return
    self._open.append((tag, attributes.get('class')))
    if attributes.get('class') == 'token':
      self.tokens.append(['', attributes.get('style'), attributes.get('title')])

  def handle_endtag(self, tag):
    assert self._open.pop()[0] == tag

  def handle_data(self, data):
    if self._open and self._open[-1] == ('span', 'token'):
      self.tokens[-1][0] += data
    if self._open and self._open[-1][0] == 'title':
      self.title += data


def test_what_tokens_hold_is_text_and_nothing_else():
  page = coloured_text.page(NASTY, np.linspace(0, 5, 6), 'a <b> & "c"')
  read = Tokens(page)
  expected = [*NASTY[:4], ' a↵\n', '你']
  assert [text for text, _, _ in read.tokens] == expected
  assert read.title == 'a <b> & "c"'
  assert set(read.tags) == {
    *('html', 'head', 'meta', 'title', 'style', 'body', 'main', 'h1', 'p'),
    *('div', 'span'),
  }
  assert not read.links and 'url(' not in page and 'http' not in page


def test_each_token_tells_its_loss_and_is_the_redder_the_higher_it_is():
  losses = [0.0, 2.5, 5.0, 99.0, float('nan')]
  read = Tokens(coloured_text.page(list('abcde'), losses, 'x', most=5.0))
  styles = [style for _, style, _ in read.tokens]
  shares = [float(s.rpartition('/ ')[2].rstrip(')')) for s in styles[:4]]
  assert shares == [0.0, 0.3, 0.6, 0.6]
  assert styles[4] is None
  titles = [title for _, _, title in read.tokens]
  assert titles[1] == '2.50 nats, probability 0.082'  # exp(-2.5)
  assert titles[4] is None


def test_the_mean_is_over_what_was_asked_for():
  page = coloured_text.page(['a', 'b', 'c'], [1.0, float('nan'), 2.0], 'x')
  assert '1.500 nats per token, over 2 tokens.' in page
  page = coloured_text.page(['a'], [float('nan')], 'x')
  assert 'Nothing was asked for.' in page and 'nan' not in page


def test_it_is_shown_in_light_and_dark_and_printed_with_its_colours():
  page = coloured_text.page(['a'], [1.0], 'x')
  assert '<meta name="color-scheme" content="light dark">' in page
  assert 'print-color-adjust: exact' in page


def test_a_loss_that_is_missing_is_an_error():
  with pytest.raises(UserError, match='2 pieces and 1 losses'):
    coloured_text.page(['a', 'b'], [1.0], 'x')


@pytest.mark.parametrize('name', ['gpt', 'bert', 't5'])
def test_losses_are_of_the_targets(name):
  model, params, inputs, _ = families.family(name)
  logits = families.logits(model, params, inputs).astype(np.float64)
  targets = np.random.default_rng(0).integers(0, 13, logits.shape[:2])
  got = coloured_text.token_losses(
    model, params, inputs, jnp.asarray(targets, jnp.int32)
  )
  exponentials = np.exp(logits)
  shares = exponentials / exponentials.sum(-1, keepdims=True)
  expected = -np.log(np.take_along_axis(shares, targets[..., None], -1))[..., 0]
  np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_a_model_that_scores_no_tokens_has_no_losses():
  model = tiny.gpt(heads=('label',))
  inputs = {'tokens': jnp.asarray(tiny.tokens())}
  params = tiny.params_for(model, **inputs)
  with pytest.raises(UserError, match='answers label and no tokens'):
    coloured_text.token_losses(model, params, inputs, inputs['tokens'])


TEXT = 'A cat sat on a mat, and the other cat sat there too. ' * 4


@pytest.mark.parametrize(
  ('kind', 'size'),
  [('bytes', None), ('bpe', 280), ('roberta', 280), ('characters', None)],
)
def test_pieces_are_the_text(kind, size):
  tokenizer = tokenizers.train(kind, [TEXT], size)
  tokens = tokenizer.encode('the cat sat')
  assert ''.join(coloured_text.pieces(tokenizer, tokens)) == 'the cat sat'


def test_words_of_wordpiece_and_unigram_are_told_apart():
  wordpiece = tokenizers.train('wordpiece', [TEXT], 40)
  pieces = coloured_text.pieces(wordpiece, wordpiece.encode('the cot'))
  joined = ''.join(p[2:] if p.startswith('##') else f' {p}' for p in pieces)
  assert joined == ' the cot'
  unigram = tokenizers.train('unigram', [TEXT], 120)
  pieces = coloured_text.pieces(unigram, unigram.encode('the cat'))
  assert ''.join(pieces) == 'the cat'


def test_a_part_of_a_character_is_written_as_the_vocabulary_has_it():
  tokenizer = tokenizers.train('bytes', [TEXT])
  pieces = coloured_text.pieces(tokenizer, tokenizer.encode('你'))
  # GPT-2's characters for the bytes E4 BD A0.
  assert pieces == ['ä', '½', 'ł']
  assert coloured_text.pieces(tokenizer, [100_000]) == ['<100000>']
