// Pods that go wrong, as `kubectl` shows them: crash loops, images that vanish, too much memory,
// failing init containers, programs that ignore SIGTERM, deletion by force; what outlives them.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, renameSync, statSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ContainerStatus, Pod } from '#kube/api/core.ts';
import {
  events as eventResource,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
} from '#kube/client/resources.ts';
import { Cluster, eventually } from '../setup/cluster.ts';
import { ensureTestImages, webImage } from '../setup/images.ts';

const cluster = new Cluster();

beforeAll(async () => {
  ensureTestImages();
  await cluster.start();
});
afterAll(() => cluster.destroy());

interface PodSpecText {
  readonly command?: string;
  readonly initCommand?: string;
  readonly image?: string;
  readonly more?: string;
  /** Of the container. */
  readonly resources?: string;
  readonly pullPolicy?: string;
}

function pod(name: string, given: PodSpecText): string {
  const { command, initCommand, image = webImage, more = '', resources = '{}' } = given;
  const { pullPolicy = 'IfNotPresent' } = given;
  const init = `
  initContainers:
    - { name: init, image: "${webImage}", imagePullPolicy: Never, command: [sh, -c, "${initCommand}"] }`;
  return `
apiVersion: v1
kind: Pod
metadata: { name: ${name} }
spec:${initCommand === undefined ? '' : init}
  ${more}
  containers:
    - name: main
      image: ${image}
      imagePullPolicy: ${pullPolicy}
      ${command === undefined ? '' : `command: [sh, -c, "${command}"]`}
      resources: ${resources}
`;
}

async function apply(name: string, given: PodSpecText): Promise<void> {
  await cluster.apply(pod(name, given));
}

/** `kubectl get pod`'s line. */
async function line(name: string): Promise<string> {
  return (await cluster.kubectlOk('get', 'pod', name, '--no-headers')).trim();
}

/** kubectl is asked again only when there is something else to show. */
async function becomes(name: string, pattern: RegExp): Promise<string> {
  let [shown, text]: (string | undefined)[] = [];
  return await eventually(async () => {
    const { resourceVersion } = (await podNamed(name)).metadata;
    if (text === undefined || resourceVersion !== shown) text = await line(name);
    shown = resourceVersion;
    if (!pattern.test(text)) throw new Error(text);
    return text;
  }, `${name} shows ${pattern.source}`);
}

async function podNamed(name: string): Promise<Pod> {
  return (await cluster.client()).get(pods, { namespace: 'default', name });
}

async function statusOf(name: string): Promise<ContainerStatus> {
  const [first] = (await podNamed(name)).status?.containerStatuses ?? [];
  if (first === undefined) throw new Error(`${name} has no container status`);
  return first;
}

/** `reason: message` of each event about a pod, oldest first. */
async function events(name: string): Promise<string[]> {
  const options = { namespace: 'default', fieldSelector: `involvedObject.name=${name}` };
  const { items } = await (await cluster.client()).list(eventResource, options);
  return items.map(({ reason, message }) => `${reason}: ${message}`);
}

function dockerIdsOf(uid: string): string[] {
  const filter = `label=io.kubernetes.pod.uid=${uid}`;
  const out = execFileSync('docker', ['ps', '-aq', '--filter', filter], { encoding: 'utf8' });
  return out.split('\n').filter((id) => id !== '');
}

async function uidOf(name: string): Promise<string> {
  return (await podNamed(name)).metadata.uid ?? '';
}

describe('a container that crashes again and again', () => {
  it('goes into CrashLoopBackOff, tells it by events, and keeps its last log', async () => {
    await apply('crashes', { command: 'cat /proc/sys/kernel/random/uuid; exit 3' });
    await becomes('crashes', /CrashLoopBackOff +1 \(/);
    const status = await statusOf('crashes');
    const uid = await uidOf('crashes');
    expect(status.state).toEqual({
      waiting: {
        reason: 'CrashLoopBackOff',
        message: `back-off 10s restarting failed container=main pod=crashes_default(${uid})`,
      },
    });
    expect(status.lastState?.terminated).toMatchObject({ exitCode: 3, reason: 'Error' });
    const told = await eventually(async () => {
      const all = await events('crashes');
      return all.some((text) => text.startsWith('BackOff')) && all;
    }, 'an event about the back-off');
    expect(told).toContain(
      `BackOff: Back-off restarting failed container main in pod crashes_default(${uid})`,
    );
    // While it waits, both are the log of the round that ended last.
    const first = await cluster.kubectlOk('logs', 'crashes', '--previous');
    expect(first).toMatch(/^[0-9a-f-]{36}\n$/);
    expect(await cluster.kubectlOk('logs', 'crashes')).toBe(first);
    await becomes('crashes', /CrashLoopBackOff +2 \(/);
    const second = await cluster.kubectlOk('logs', 'crashes', '--previous');
    expect(second).toMatch(/^[0-9a-f-]{36}\n$/);
    expect(second).not.toBe(first);
  });
});

describe('an image', () => {
  it('that vanishes under a running container harms it only once it has to start again', async () => {
    const image = 'flotilla-test/vanishes:1';
    execFileSync('docker', ['tag', webImage, image]);
    await apply('vanishes', { image, command: 'sleep 600', pullPolicy: 'Never' });
    await becomes('vanishes', /1\/1 +Running/);
    execFileSync('docker', ['rmi', '-f', image], { stdio: 'ignore' });
    expect(await line('vanishes')).toMatch(/1\/1 +Running +0/);
    const [id = ''] =
      /[0-9a-f]{64}/.exec(await cluster.kubectlOk('get', 'pod', 'vanishes', '-o', 'yaml')) ?? [];
    execFileSync('docker', ['kill', id], { stdio: 'ignore' });
    await becomes('vanishes', /ErrImageNeverPull/);
    expect(await events('vanishes')).toContain(
      `ErrImageNeverPull: Container image "${image}" is not present with pull policy of Never`,
    );
    execFileSync('docker', ['tag', webImage, image]);
    await becomes('vanishes', /1\/1 +Running/);
    execFileSync('docker', ['rmi', image], { stdio: 'ignore' });
  });
});

describe('a container that takes more memory than it may', () => {
  it('is ended as OOMKilled with 137, and started again', async () => {
    const command = 'sleep 1; head -c 200000000 /dev/zero | tail -c 190000000';
    await apply('greedy', { command, resources: '{ limits: { memory: 16Mi } }' });
    await becomes('greedy', /(OOMKilled|CrashLoopBackOff) +\d/);
    const { state, lastState } = await statusOf('greedy');
    const ended = state?.terminated ?? lastState?.terminated;
    expect(ended).toMatchObject({ reason: 'OOMKilled', exitCode: 137 });
  });
});

describe('an init container that fails', () => {
  it('is tried again with back-off; the main container does not start', async () => {
    await apply('unprepared', { initCommand: 'exit 5', command: 'sleep 600' });
    await becomes('unprepared', /0\/1 +Init:(Error|CrashLoopBackOff) +[1-9]/);
    expect((await statusOf('unprepared')).state).toEqual({
      waiting: { reason: 'PodInitializing' },
    });
  });

  it('fails a pod that is never restarted', async () => {
    await apply('hopeless', {
      initCommand: 'exit 5',
      command: 'true',
      more: 'restartPolicy: Never',
    });
    await becomes('hopeless', /0\/1 +Init:Error +0/);
    const phase = await cluster.kubectlOk(
      'get',
      'pod',
      'hopeless',
      '-o',
      'jsonpath={.status.phase}',
    );
    expect(phase).toBe('Failed');
  });
});

describe('a pod that ignores SIGTERM', () => {
  const command = "trap '' TERM; while true; do sleep 1; done";

  it('is killed after its grace period, not before', async () => {
    await apply('deaf', { command, more: 'terminationGracePeriodSeconds: 3' });
    await becomes('deaf', /1\/1 +Running/);
    const uid = await uidOf('deaf');
    const startedMs = performance.now();
    await cluster.kubectlOk('delete', 'pod', 'deaf');
    const tookMs = performance.now() - startedMs;
    expect(tookMs).toBeGreaterThan(2_900);
    expect(tookMs, 'not the default of 30 s').toBeLessThan(20_000);
    expect(dockerIdsOf(uid)).toEqual([]);
  });

  it('leaves the API at once when deleted by force, and the machine soon after', async () => {
    await apply('forced', { command, more: 'terminationGracePeriodSeconds: 60' });
    await becomes('forced', /1\/1 +Running/);
    const uid = await uidOf('forced');
    const startedMs = performance.now();
    const result = await cluster.kubectl('delete', 'pod', 'forced', '--force', '--grace-period=0');
    expect(performance.now() - startedMs).toBeLessThan(20_000);
    expect(result.stdout).toMatch(/^pod "forced" force deleted/);
    expect((await cluster.kubectl('get', 'pod', 'forced')).stderr).toContain('NotFound');
    await eventually(() => dockerIdsOf(uid).length === 0, 'its containers are gone', 10_000);
  });
});

/** The whole way of a claim: scheduler, binder, provisioner, agent and Docker. */
describe('what a pod writes to a claim', () => {
  const ref = { namespace: 'default', name: 'kept' };
  const phaseOf = async (name: string) =>
    (await cluster.kubectl('get', 'pv', name, '-o', 'jsonpath={.status.phase}')).stdout;

  async function applyObject(kind: string, name: string, spec: object): Promise<void> {
    await cluster.apply(JSON.stringify({ apiVersion: 'v1', kind, metadata: { name }, spec }));
  }

  async function run(name: string, script: string, more: object = {}): Promise<void> {
    const mount = { name: 'data', mountPath: '/data', ...more };
    const command = ['sh', '-c', script];
    await applyObject('Pod', name, {
      terminationGracePeriodSeconds: 1,
      securityContext: { runAsUser: 1000, runAsGroup: 1000, fsGroup: 2000 },
      containers: [
        { name: 'main', image: webImage, imagePullPolicy: 'Never', command, volumeMounts: [mount] },
      ],
      volumes: [{ name: 'data', persistentVolumeClaim: { claimName: ref.name } }],
    });
  }

  async function says(name: string, text: string): Promise<void> {
    await eventually(async () => (await cluster.kubectlOk('logs', name)) === text, text);
  }

  async function isReady(name: string): Promise<void> {
    await cluster.kubectlOk('wait', '--for=condition=Ready', `pod/${name}`, '--timeout=60s');
  }

  it('outlives pods, a killed agent and the claim, until its volume is to be deleted', async () => {
    await applyObject('PersistentVolumeClaim', ref.name, {
      accessModes: ['ReadWriteOnce'],
      resources: { requests: { storage: '10Mi' } },
    });
    await run('writer', 'echo first > /data/notes; exec sleep 600', { subPath: 'app' });
    await isReady('writer');
    const client = await cluster.client();
    const { volumeName: name = '' } = (await client.get(persistentVolumeClaims, ref)).spec;
    const { spec } = await client.get(persistentVolumes, { name });
    const directory = spec.local?.path ?? '';
    const file = path.join(directory, 'app/notes');
    // Ready is what runs, if it has written yet or not.
    await eventually(() => readFileSync(file, 'utf8') !== '', 'it has written');
    expect([spec.storageClassName, readFileSync(file, 'utf8'), statSync(file).gid]).toEqual([
      'local-path',
      'first\n',
      2000,
    ]);

    const before = cluster.killChild('agent');
    await cluster.kubectlOk('delete', 'pod', 'writer', '--now');
    await eventually(
      async () => ![before, undefined].includes(cluster.childPids('agent')[0]),
      'an agent',
    );
    await run('reader', 'cat /data/notes; exec sleep 600', { subPath: 'app' });
    await isReady('reader');
    await says('reader', 'first\n');

    // Gone meanwhile: nobody begins anew, and the pod says why until it is back.
    await cluster.kubectlOk('delete', 'pod', 'reader', '--now');
    renameSync(directory, `${directory}.away`);
    await run('patient', 'cat /data/app/notes; exec sleep 600');
    await becomes('patient', /ContainerCreating/);
    await eventually(
      async () =>
        (await events('patient')).some((text) =>
          text.includes(`directory ${directory} is missing`),
        ),
      'why',
    );
    renameSync(`${directory}.away`, directory);
    await isReady('patient');
    await says('patient', 'first\n');

    await cluster.kubectlOk('delete', 'pod', 'patient', '--now');
    await cluster.kubectlOk('delete', 'pvc', ref.name);
    await eventually(async () => (await phaseOf(name)) === 'Released', 'a released volume');
    expect(readFileSync(file, 'utf8')).toBe('first\n');
    const policy = { persistentVolumeReclaimPolicy: 'Delete' };
    await client.patch(persistentVolumes, { name }, { spec: policy });
    await eventually(async () => (await phaseOf(name)) === '', 'no volume any more');
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
    const left = mounts.filter(
      (entry) => entry.includes(cluster.dataDirectory) && entry.includes('/subpaths/main/'),
    );
    expect([existsSync(directory), left]).toEqual([false, []]);
  });
});

describe('a pod whose containers somebody else lays hands on', () => {
  const command = "trap 'exit 0' TERM; sleep 600 & wait";
  const docker = (...args: string[]) => execFileSync('docker', args, { encoding: 'utf8' });

  /** The sandbox and the container, running; dead ones are not told. */
  function runningOf(uid: string): { readonly sandbox: string; readonly main: string } {
    const filters = ['--filter', `label=io.kubernetes.pod.uid=${uid}`, '--no-trunc'];
    const format = '{{.Label "io.kubernetes.container.name"}} {{.ID}}';
    const lines = docker('ps', ...filters, '--format', format)
      .trim()
      .split('\n')
      .toSorted();
    const [sandbox = '', main = '', ...more] = lines;
    if (more.length > 0 || !sandbox.startsWith('POD ') || !main.startsWith('main '))
      throw new Error(lines.join('; '));
    return { sandbox: sandbox.slice(4), main: main.slice(5) };
  }

  it('gets a removed container, and a removed sandbox with all that was in it, once again', async () => {
    await apply('robbed', { command });
    await becomes('robbed', /1\/1 +Running +0/);
    const uid = await uidOf('robbed');
    const first = runningOf(uid);
    docker('rm', '-f', first.main);
    await becomes('robbed', /1\/1 +Running +1/);
    const second = runningOf(uid);
    expect([second.sandbox, second.main !== first.main]).toEqual([first.sandbox, true]);
    docker('rm', '-f', second.sandbox);
    await becomes('robbed', /1\/1 +Running +2/);
    const third = runningOf(uid);
    expect([third.sandbox !== second.sandbox, third.main !== second.main]).toEqual([true, true]);
    // Of what was before, the last dead container stays: its log is still wanted.
    expect(dockerIdsOf(uid)).toHaveLength(3);
  });

  it('runs on while one is paused, and can be ended all the same', async () => {
    await apply('frozen', { command, more: 'terminationGracePeriodSeconds: 1' });
    await becomes('frozen', /1\/1 +Running/);
    const uid = await uidOf('frozen');
    docker('pause', runningOf(uid).main);
    await cluster.kubectlOk('annotate', 'pod', 'frozen', 'looked=at');
    expect(await line('frozen')).toMatch(/1\/1 +Running +0/);
    await cluster.kubectlOk('delete', 'pod', 'frozen');
    expect(dockerIdsOf(uid)).toEqual([]);
  });
});
