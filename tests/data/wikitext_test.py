"""WikiText reads as it did before it was cut into words."""

import pytest

from lm.data import corpora, wikitext
from lm.types import UserError


@pytest.mark.parametrize(
  'line, expected',
  [
    (' The 10 @,@ 000 people . \n', 'The 10,000 people.'),
    (' well @-@ known , and 3 @.@ 5 % \n', 'well-known, and 3.5%'),
    (' = Tower Building = \n', 'Tower Building'),
    (' = = Civil War = = \n', 'Civil War'),
    (
      ' He said : " No ; never ! " and left . \n',
      'He said: "No; never!" and left.',
    ),
    (
      " the dog 's bone , the dogs ' bones \n",
      "the dog's bone, the dogs' bones",
    ),
    (" they don 't ( or won 't ) \n", "they don't (or won't)"),
    (' The <unk> of <unk> , 1912 – 1913 \n', 'The of, 1912–1913'),
    (' $ 14 @,@ 000 in [ sic ] \n', '$14,000 in [sic]'),
    (' \n', ''),
  ],
)
def test_a_line_is_as_people_write_it(line, expected):
  assert wikitext.detokenize(line) == expected


ARTICLES = ' \n = One = \n \n Text a . \n \n = = Part = = \n \n b \n \n = Two = \n \n c \n'


def write(directory, names=('train.txt', 'valid.txt')):
  for name in names:
    (directory / name).write_text(f'{ARTICLES} {name[:5]}\n')
  return corpora.build('wikitext', f'{directory}/*.txt')


def test_a_document_is_an_article_and_the_files_are_the_sides(tmp_path):
  corpus = write(tmp_path, ('wiki.train.tokens.txt', 'wiki.valid.tokens.txt'))
  first = 'One\nText a.\nPart\nb'
  assert list(corpus.documents('train')) == [first, 'Two\nc\nwiki.']
  assert list(corpus.documents('validation')) == [first, 'Two\nc\nwiki.']


def test_a_side_without_a_file_is_refused(tmp_path):
  with pytest.raises(UserError, match=r'for validation.*"valid" in its name'):
    write(tmp_path, ('train.txt', 'other.txt'))


def test_wikitext_has_the_articles_that_its_authors_count(shared, tmp_path):
  import zipfile

  with zipfile.ZipFile(
    shared / 'data/wikitext2/wikitext2_train_valid.zip'
  ) as archive:
    archive.extractall(tmp_path)
  corpus = corpora.build('wikitext', f'{tmp_path}/wikitext2/*.txt')
  assert len(list(corpus.documents('validation'))) == 60
  train = list(corpus.documents('train'))
  assert len(train) == 600
  assert not any('@-@' in text or '<unk>' in text for text in train)
