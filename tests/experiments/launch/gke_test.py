"""The manifest is one that Kubernetes and JobSet take, and starts what it should."""

import json
import pathlib
import shlex

import jsonschema
import pytest
import referencing
import yaml

from experiments.launch import given, gke, job as jobs, start
from lm.types import UserError

SCHEMAS = pathlib.Path(__file__).parents[2] / 'fixtures/schemas'
IMAGE = 'europe-docker.pkg.dev/p/r/lm:1'
GPU = {'image': IMAGE, 'accelerator': 'nvidia-h100-80gb'}
SIXTEEN = {'batch_size': '16'}  # Rows, for as many devices.
XPK = {'image': IMAGE, 'xpk': 'mine', 'device': 'h100-80gb-8'}
TPU = {
  'image': IMAGE,
  'accelerator': 'tpu-v5-lite-podslice',
  'topology': '4x4',
}


@pytest.fixture(scope='module')
def validator():
  """Checks against the schema of a JobSet, and those that it refers to."""
  schemas = [json.loads(path.read_text()) for path in SCHEMAS.glob('*.json')]
  for schema in schemas:
    jsonschema.Draft202012Validator.check_schema(schema)
  resources = [
    (schema['$id'], referencing.Resource.from_contents(schema))
    for schema in schemas
  ]
  registry = referencing.Registry().with_resources(resources)
  [jobset] = [schema for schema in schemas if schema['$id'] == 'jobset.json']
  return jsonschema.Draft202012Validator(jobset, registry=registry)


@pytest.fixture
def job(make_job):
  return make_job(
    workdir='gs://bucket/run', hosts=4, devices=4, overrides=SIXTEEN
  )


def complaints(validator, manifest):
  return [error.json_path for error in validator.iter_errors(manifest)]


def written(job, options):
  made = gke.render(job, options)
  [text] = made.files.values()
  return yaml.safe_load(text)


def pods(manifest):
  [workers] = manifest['spec']['replicatedJobs']
  return workers['template']['spec']


def env(manifest):
  [container] = pods(manifest)['template']['spec']['containers']
  return {each['name']: each.get('value') for each in container['env']}


@pytest.mark.parametrize('options', [GPU, TPU], ids=['gpu', 'tpu'])
@pytest.mark.parametrize(
  'fields',
  [
    {},
    {
      'time_limit': '1:00:00',
      'env': ['A=1'],
      'overrides': {'log.sample_prompt': 'a: "b" # {c}'},
      'name': 'x' * jobs.LONGEST_NAME,
    },
  ],
)
def test_what_is_written_is_a_jobset(validator, make_job, options, fields):
  job = make_job(workdir='gs://bucket/run', hosts=4, devices=4, **fields)
  more = (
    {'queue': 'lm', 'service_account': 'lm', 'spot': True} if fields else {}
  )
  manifest = written(job, gke.Options(**options, **more))
  assert complaints(validator, manifest) == []
  spec = pods(manifest)
  assert spec['parallelism'] == spec['completions'] == 4
  [container] = spec['template']['spec']['containers']
  kind = 'tpu' if options == TPU else 'gpu'
  assert container['command'] == [*jobs.argv(job, kind=kind)]
  assert f'--config.hosts.expected_kind={kind}' in container['command']
  assert container['image'] == IMAGE
  pod = f'{manifest["metadata"]["name"]}-workers-0-3-abcde'
  assert len(pod) <= 63
  if fields:
    assert spec['activeDeadlineSeconds'] == 3600
    assert env(manifest)['A'] == '1'


def test_the_schemas_find_mistakes(validator, job):
  for change in (
    lambda m: m['spec'].update(replicatedJob=[]),
    lambda m: m['spec']['failurePolicy'].update(maxRestarts='9'),
    lambda m: m.update(apiVersion='v1'),
    lambda m: m['metadata'].update(name='Big'),
    lambda m: pods(m).update(backofLimit=0),
    lambda m: pods(m)['template']['spec'].update(restartPolicy='OnFailure'),
    lambda m: pods(m)['template']['spec']['containers'][0].pop('image'),
    lambda m: pods(m)['template']['spec']['containers'][0]['env'].append(
      {'name': 'A', 'value': 1}
    ),
  ):
    manifest = written(job, gke.Options(**GPU))
    change(manifest)
    assert len(complaints(validator, manifest)) == 1


def test_a_pod_of_gpus_gets_them_and_meets_the_others(job):
  manifest = written(job, gke.Options(**GPU))
  name = manifest['metadata']['name']
  spec = pods(manifest)['template']['spec']
  assert spec['nodeSelector'] == {
    'cloud.google.com/gke-accelerator': 'nvidia-h100-80gb'
  }
  assert spec['containers'][0]['resources'] == {'limits': {'nvidia.com/gpu': 4}}
  assert spec['volumes'] == [
    {'name': 'shared', 'emptyDir': {'medium': 'Memory'}}
  ]
  told = env(manifest)
  # As JobSet calls its pods: JOBSET-REPLICATEDJOB-JOB-POD.JOBSET
  assert told['JAX_COORDINATOR_ADDRESS'] == f'{name}-workers-0-0.{name}:8476'
  assert told['JAX_NUM_PROCESSES'] == '4'
  assert told['JAX_LOCAL_DEVICE_IDS'] == '0,1,2,3'
  [index] = [
    e for e in spec['containers'][0]['env'] if e['name'] == 'JAX_PROCESS_ID'
  ]
  assert index['valueFrom']['fieldRef']['fieldPath'] == (
    "metadata.annotations['batch.kubernetes.io/job-completion-index']"
  )


def test_what_was_typed_is_not_expanded(make_job):
  job = make_job(
    workdir='gs://b/r', devices=1, overrides={'x': '$(A) $B'}, env=['C=$(D)']
  )
  manifest = written(job, gke.Options(**GPU))
  [container] = pods(manifest)['template']['spec']['containers']
  assert container['command'][-1] == '--config.x=$$(A) $B'
  assert env(manifest)['C'] == '$$(D)'


@pytest.mark.parametrize('options', [GPU, TPU], ids=['gpu', 'tpu'])
def test_a_pod_on_spot_nodes_tolerates_their_taint(job, options):
  spec = pods(written(job, gke.Options(**options, spot=True)))['template']
  [_, taint] = spec['spec']['tolerations']
  assert taint == {'key': 'cloud.google.com/gke-spot', 'operator': 'Exists'}
  assert spec['spec']['nodeSelector'][taint['key']] == 'true'
  spec = pods(written(job, gke.Options(**options)))['template']
  assert 'gke-spot' not in str(spec)


def test_a_pod_of_tpus_is_on_one_slice(job):
  manifest = written(job, gke.Options(**TPU))
  spec = pods(manifest)['template']['spec']
  assert spec['nodeSelector'] == {
    'cloud.google.com/gke-tpu-accelerator': 'tpu-v5-lite-podslice',
    'cloud.google.com/gke-tpu-topology': '4x4',
  }
  assert spec['containers'][0]['resources'] == {'limits': {'google.com/tpu': 4}}
  assert 'volumes' not in spec
  assert manifest['metadata']['annotations'] == {
    'alpha.jobset.sigs.k8s.io/exclusive-topology': (
      'cloud.google.com/gke-nodepool'
    )
  }
  assert 'XLA_PYTHON_CLIENT_MEM_FRACTION' not in env(manifest)


def test_who_has_made_a_mistake_is_not_started_again(job):
  manifest = written(job, gke.Options(**GPU, restarts=7, save_seconds=33))
  policy = manifest['spec']['failurePolicy']
  assert policy['maxRestarts'] == 7
  [rule] = policy['rules']
  assert rule['action'] == 'FailJobSet'
  assert {*rule['onJobFailureReasons']} == {
    'DeadlineExceeded',
    'PodFailurePolicy',
  }
  [exits] = pods(manifest)['podFailurePolicy']['rules']
  assert exits['onExitCodes']['values'] == [2]  # Of a user's mistake.
  # xpk is told the others: "1,3-5" are 1, 3, 4 and 5, beside 42 and 127-255.
  [command] = gke.render(job, gke.Options(**XPK)).commands
  [flag] = [w for w in command.argv if w.startswith('--restart-on-exit-codes=')]
  named = {42, *range(127, 256)}
  for part in flag.partition('=')[2].split(','):
    first, _, last = part.partition('-')
    named |= {*range(int(first), int(last or first) + 1)}
  assert named == {*range(1, 256)} - {2}
  assert len(named) <= 255  # As many as Kubernetes takes.
  assert (
    pods(manifest)['template']['spec']['terminationGracePeriodSeconds'] == 33
  )


def test_xpk_is_called_with_what_it_knows(make_job):
  job = make_job(
    workdir='gs://b/run', hosts=2, devices=8, env=['A=1', 'B=$(HOME)']
  )
  options = gke.Options(image=IMAGE, xpk='mine', device='h100-80gb-8')
  [command] = gke.render(job, options).commands
  assert command.argv[:3] == ('xpk', 'workload', 'create')
  flags = [word.partition('=') for word in command.argv[3:]]
  given = {(k if k != '--env' else v.partition('=')[0]): v for k, _, v in flags}
  assert given['--cluster'] == 'mine' and given['--num-nodes'] == '2'
  assert given['--device-type'] == 'h100-80gb-8'
  assert given['--docker-image'] == IMAGE
  assert shlex.split(given['--command']) == [*jobs.argv(job, kind='gpu')]
  assert given['A'] == 'A=1' and given['B'] == 'B=$$(HOME)'
  assert '--spot' not in given
  [command] = gke.render(job, gke.Options(**XPK, spot=True)).commands
  assert command.argv.count('--spot') == 1
  assert given['JAX_PROCESS_ID'] == 'JAX_PROCESS_ID=$(NODE_RANK)'
  for device in ('v5litepod-16', 'tpu7x-8'):
    options = gke.Options(image=IMAGE, xpk='mine', device=device)
    [command] = gke.render(job, options).commands
    assert f'--tpu-type={device}' in command.argv
    assert not any('num-nodes' in w or 'JAX' in w for w in command.argv)


KUBECTL = """
[[ $1 == --namespace=default ]] || exit 9
case $2 in
  get) cat "$STATE" ;;
  create) [[ -f ${3#--filename=} ]] || exit 8 ;;
  delete) [[ "$3 $5" == "jobset --cascade=foreground" ]] || exit 7 ;;
  *) exit 6 ;;
esac
"""


@pytest.fixture
def job_elsewhere(make_job, elsewhere, tmp_path, monkeypatch):
  """A job whose workdir, at a URL, is on this machine."""
  monkeypatch.setenv('LM_CACHE', str(tmp_path / 'cache'))
  bucket = (tmp_path / 'bucket').as_uri()
  return make_job(workdir=bucket, hosts=4, devices=4, overrides=SIXTEEN)


@pytest.fixture
def state(tmp_path, monkeypatch):
  """What the cluster has: a JobSet as JSON, or nothing."""
  path = tmp_path / 'state'
  monkeypatch.setenv('STATE', str(path))
  path.write_text('')
  return path


def test_a_jobset_is_created_unless_one_is_there(
  job_elsewhere, programs, state, monkeypatch
):
  job = job_elsewhere
  calls = programs('kubectl', KUBECTL)
  told = start.start('gke', job, gke.Options(**GPU))
  assert told == {'to': 'gke', 'id': jobs.name_of(job), 'namespace': 'default'}
  assert calls.read_text().count('--filename') == 1
  state.write_text(json.dumps({'status': {'restarts': 1}}))
  with pytest.raises(UserError, match='which is still there'):
    start.start('gke', job, gke.Options(**GPU))
  monkeypatch.setattr(given, 'read', lambda workdir: None)  # The note is lost.
  with pytest.raises(UserError, match='that has not ended'):
    start.start('gke', job, gke.Options(**GPU))
  words = calls.read_text().split()
  assert 'delete' not in words  # It would be another's, created meanwhile.
  assert calls.read_text().count('--filename') == 1
  state.write_text(json.dumps({'status': {'terminalState': 'Failed'}}))
  start.start('gke', job, gke.Options(**GPU))
  assert calls.read_text().count('--filename') == 2
  words = calls.read_text().split()
  assert words.count('delete') == 1


@pytest.mark.parametrize(
  ('fields', 'options', 'message'),
  [
    ({}, {}, '--image and --accelerator cannot be left out'),
    ({'devices': 0}, GPU, '--devices cannot be left out'),
    ({}, GPU | {'topology': '4x4'}, 'is no TPU'),
    ({}, TPU | {'topology': ''}, '--topology cannot be left out'),
    ({}, TPU | {'topology': '4by4'}, 'is to be as 4x4'),
    ({'hosts': 2}, TPU, '4x4 is of 16 chips, but --hosts=2 with --devices=4'),
    ({'workdir': 'runs/a'}, GPU, 'which is gone with the pod'),
    ({}, {'image': IMAGE, 'xpk': 'mine'}, '--device cannot be left out'),
    ({}, XPK | {'queue': 'lm'}, '--queue cannot be given with --xpk'),
    (
      {'time_limit': '1:00:00'},
      XPK | {'namespace': 'a'},
      '--namespace and --time_limit cannot be given',
    ),
    (
      {'overrides': SIXTEEN | {'data.source': 'text', 'data.path': "it's"}},
      XPK,
      'xpk puts .* the command .*--config.data.path=it',
    ),
    ({'env': ['A="b"']}, XPK, 'xpk puts variables.*: A="b"'),
    ({'env': ['A="b"']}, XPK | {'device': 'v5litepod-16'}, ': A="b"'),
    ({'env': ['A=b\\']}, XPK | {'device': 'v5litepod-16'}, 'xpk puts'),
    ({}, GPU | {'save_seconds': 0}, '--save_seconds is 0, but .* at least 1'),
  ],
)
def test_what_a_cluster_cannot_do_is_said(make_job, fields, options, message):
  defaults = {'workdir': 'gs://bucket/run', 'hosts': 4, 'devices': 4}
  defaults['overrides'] = SIXTEEN
  job = make_job(**defaults | fields)
  with pytest.raises(UserError, match=message):
    start.show('gke', job, gke.Options(**options))


@pytest.mark.parametrize('options', [GPU, XPK], ids=['kubectl', 'xpk'])
def test_a_machine_without_kubectl_is_told(job, programs, options):
  programs('xpk')
  with pytest.raises(UserError, match=r'^kubectl, which --to=gke needs'):
    start.start('gke', job, gke.Options(**options))


# Whether there is a JobSet of that name it finds out itself, and asks.
XPK_STUB = """
[[ "$1 $2" == 'workload create' ]] || exit 9
[[ -s $STATE ]] && read -r -p 'overwrite it? '
echo '{"status": {}}' >"$STATE"
"""


def test_xpk_is_started_once_what_has_ended_is_out_of_its_way(
  job_elsewhere, programs, state
):
  deleted = programs('kubectl', KUBECTL + '[[ $2 != delete ]] || : >"$STATE"')
  with pytest.raises(UserError, match=r'^xpk, which --to=gke needs'):
    start.start('gke', job_elsewhere, gke.Options(**XPK))
  created = programs('xpk', XPK_STUB)
  told = start.start('gke', job_elsewhere, gke.Options(**XPK))
  assert told['id'] == jobs.name_of(job_elsewhere)
  with pytest.raises(UserError, match='which is still there'):
    start.start('gke', job_elsewhere, gke.Options(**XPK))
  assert 'delete' not in deleted.read_text().split()
  state.write_text(json.dumps({'status': {'terminalState': 'Failed'}}))
  start.start('gke', job_elsewhere, gke.Options(**XPK))
  assert deleted.read_text().split().count('delete') == 1
  assert created.read_text().split().count('create') == 2
