// What the built-in admission plugins do to somebody with an unmodified kubectl 1.35: quotas, limit
// ranges, pod security, priorities. No node: nothing has to run.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Cluster, eventually } from '../setup/cluster.ts';

const cluster = new Cluster(['--no-agent']);
beforeAll(async () => {
  await cluster.start();
  await cluster.kubectlOk('create', 'namespace', 'lab');
});
afterAll(() => cluster.destroy());

const lab = ['-n', 'lab'];
const run = (name: string, ...more: string[]) =>
  cluster.kubectl(...lab, 'run', name, '--image=busybox:1', ...more);

it('a quota holds, says why, and gives back', async () => {
  await cluster.kubectlOk(...lab, 'create', 'quota', 'team', '--hard=pods=1,requests.cpu=1');
  const counted = '--for=jsonpath={.status.used.pods}=0';
  await cluster.kubectlOk(...lab, 'wait', counted, 'quota/team', '--timeout=60s');
  expect((await run('a')).stderr).toBe(
    'Error from server (Forbidden): pods "a" is forbidden: failed quota: team: must specify requests.cpu for: a\n',
  );
  await cluster.apply(`
apiVersion: v1
kind: LimitRange
metadata: { name: range, namespace: lab }
spec:
  limits: [{ type: Container, defaultRequest: { cpu: 250m }, max: { cpu: "1" } }]
`);
  expect((await run('a')).stderr).toBe('');
  const pod = await cluster.kubectlOk(...lab, 'get', 'pod', 'a', '-o', 'json');
  const { metadata, spec } = JSON.parse(pod);
  expect([metadata.annotations, spec.containers[0].resources, spec.priority]).toEqual([
    {
      'kubernetes.io/limit-ranger':
        'LimitRanger plugin set: cpu request for container a; cpu limit for container a',
    },
    { limits: { cpu: '1' }, requests: { cpu: '250m' } },
    0,
  ]);
  expect((await run('b')).stderr).toBe(
    'Error from server (Forbidden): pods "b" is forbidden: exceeded quota: team, requested: pods=1, used: pods=1, limited: pods=1\n',
  );
  const described = await cluster.kubectlOk(...lab, 'describe', 'quota', 'team');
  expect(described.replaceAll(/ +/g, ' ')).toContain('pods 1 1\nrequests.cpu 250m 1\n');
  await cluster.kubectlOk(...lab, 'delete', 'pod', 'a', '--now');
  await eventually(async () => (await run('b')).code === 0, 'a pod in the place of another');
  await cluster.kubectlOk(...lab, 'delete', 'quota', 'team');
});

it('a limit range refuses what is too much', async () => {
  const resources = { requests: { cpu: '1' }, limits: { cpu: '2' } };
  const overrides = { spec: { containers: [{ name: 'big', image: 'busybox:1', resources }] } };
  expect((await run('big', `--overrides=${JSON.stringify(overrides)}`)).stderr).toBe(
    'Error from server (Forbidden): pods "big" is forbidden: maximum cpu usage per Container is 1, but limit is 2\n',
  );
});

it('a namespace is tightened, and pods keep to it', async () => {
  const label = 'pod-security.kubernetes.io';
  const labels = [`${label}/enforce=restricted`, `${label}/warn=restricted`];
  const tightened = await cluster.kubectl('label', 'namespace', 'lab', ...labels);
  expect(tightened.stderr).toBe(
    'Warning: existing pods in namespace "lab" violate the new PodSecurity enforce level "restricted:latest"\n' +
      'Warning: b: allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile\n',
  );
  const why = (name: string) =>
    `allowPrivilegeEscalation != false (container "${name}" must set securityContext.allowPrivilegeEscalation=false), ` +
    `unrestricted capabilities (container "${name}" must set securityContext.capabilities.drop=["ALL"]), ` +
    `runAsNonRoot != true (pod or container "${name}" must set securityContext.runAsNonRoot=true), ` +
    `seccompProfile (pod or container "${name}" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")\n`;
  expect((await run('c')).stderr).toBe(
    `Error from server (Forbidden): pods "c" is forbidden: violates PodSecurity "restricted:latest": ${why('c')}`,
  );
  const deployed = await cluster.kubectl(
    ...lab,
    'create',
    'deployment',
    'web',
    '--image=nginx:1.29',
  );
  expect(deployed).toMatchObject({
    code: 0,
    stderr: `Warning: would violate PodSecurity "restricted:latest": ${why('nginx')}`,
  });
  const wrong = await cluster.kubectl('label', 'namespace', 'lab', `${label}/audit=high`);
  expect(wrong.stderr).toContain(
    `metadata.labels[${label}/audit]: Invalid value: "high": must be one of privileged, baseline, restricted`,
  );
});

it('a priority class is one that exists, and one of them the default', async () => {
  const names = await cluster.kubectlOk('get', 'priorityclass', '-o', 'name');
  expect(names.split('\n')).toContain('priorityclass.scheduling.k8s.io/system-node-critical');
  const made = (name: string) =>
    cluster.kubectl('create', 'priorityclass', name, '--value=7', '--global-default');
  expect((await made('usual')).code).toBe(0);
  expect((await made('other')).stderr).toContain(
    'PriorityClass usual is already marked as default. Only one default can exist',
  );
  const shown = ['-o', 'jsonpath={.spec.priorityClassName} {.spec.priority}'];
  await cluster.kubectlOk('run', 'plain', '--image=busybox:1');
  expect(await cluster.kubectlOk('get', 'pod', 'plain', ...shown)).toBe('usual 7');
  const overrides = JSON.stringify({ spec: { priorityClassName: 'gold' } });
  const refused = await cluster.kubectl('run', 'x', '--image=a:1', `--overrides=${overrides}`);
  expect(refused.stderr).toContain('no PriorityClass with name gold was found');
});
