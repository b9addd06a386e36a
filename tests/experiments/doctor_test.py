"""The doctor sees what is plugged in, and says what is missing."""

import json

import pytest

from experiments import doctor

TPU = {'vendor': '0x1ae0\n', 'device': '0x0063\n'}
NETWORK_CARD = {'vendor': '0x1ae0\n', 'device': '0x0042\n'}


@pytest.mark.parametrize(
  ('platforms', 'files', 'pci', 'expected'),
  [
    ('', [], [], 'none'),
    ('', ['dev/nvidia0'], [], 'gpu'),
    ('', ['dev/dxg'], [], 'gpu'),
    ('', [], [NETWORK_CARD, TPU], 'tpu'),
    ('', [], [NETWORK_CARD], 'none'),
    ('cpu', ['dev/nvidia0'], [], 'none'),
    ('cuda', [], [], 'gpu'),
    ('tpu,cpu', [], [], 'tpu'),
  ],
)
def test_what_is_asked_for_or_plugged_in_is_expected(
  tmp_path, platforms, files, pci, expected
):
  bus = tmp_path / 'sys/bus/pci/devices'
  for number, card in enumerate(pci):
    (bus / str(number)).mkdir(parents=True)
    for name, text in card.items():
      (bus / str(number) / name).write_text(text)
  (tmp_path / 'dev').mkdir()
  for name in files:
    (tmp_path / name).touch()
  assert doctor.expected(platforms, tmp_path) == expected


def test_a_machine_in_order_gets_a_zero_and_a_report(capsys):
  assert doctor.main(expect='none') == 0
  report = json.loads(capsys.readouterr().out.splitlines()[-1])
  assert report['missing'] is None
  assert len(report['devices']) == 8  # As tests/conftest.py asks for.
  assert report['versions']['jax'].startswith('0.1')
  assert report['matmul_teraflops'] > 0
  assert report['free_disk_gigabytes'] > 0


def test_a_missing_accelerator_gets_a_one_and_what_to_install(
  capsys, monkeypatch
):
  monkeypatch.setattr(doctor, 'matmul_teraflops', lambda: 0.0)
  assert doctor.main(expect='tpu') == 1
  printed = capsys.readouterr()
  assert 'pip install "jax[tpu]"' in printed.err
  assert json.loads(printed.out.splitlines()[-1])['missing'] == 'tpu'


def test_free_memory_is_what_can_be_had_in_gigabytes(tmp_path):
  meminfo = tmp_path / 'meminfo'
  assert doctor.free_memory(meminfo) is None
  meminfo.write_text('MemTotal: 900 kB\nMemAvailable:    2000000 kB\n')
  assert doctor.free_memory(meminfo) == 2.0
