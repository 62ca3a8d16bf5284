import { EventEmitter } from 'node:events';
import { mkdtempSync, renameSync, rmSync, watch, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Pod } from '#kube/api/core.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { StaticFolder, type StaticFolderDeps } from './static-folder.ts';
import { isStatic, mirroredUid, mirrorOf, staticPod } from './static-pod.ts';

const manifest = (more: object = {}, spec: object = {}) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'dns', labels: { a: 'b' } },
  spec: { containers: [{ name: 'dns', image: 'dns:1' }], ...spec },
  ...more,
});

describe('a manifest', () => {
  it('is a pod of the node’s, told apart by file and content', () => {
    const pod = staticPod(manifest(), 'dns.yaml', 'pi');
    expect(pod.metadata).toMatchObject({ name: 'dns-pi', namespace: 'default' });
    expect(pod.spec).toMatchObject({ nodeName: 'pi' });
    const uids = [
      pod,
      staticPod(manifest(), 'other.yaml', 'pi'),
      staticPod(manifest(), 'dns.yaml', 'nas'),
      staticPod(manifest({}, { hostNetwork: true }), 'dns.yaml', 'pi'),
    ].map(({ metadata }) => metadata.uid);
    expect(new Set(uids).size).toBe(4);
    expect(staticPod(manifest(), 'dns.yaml', 'pi').metadata.uid).toBe(uids[0]);
    expect([isStatic(pod), mirroredUid(pod)]).toEqual([true, undefined]);
    const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'pi', uid: 'n' }, spec: {} };
    const mirror = mirrorOf(pod, node as Parameters<typeof mirrorOf>[1]);
    expect([isStatic(mirror), mirroredUid(mirror)]).toEqual([false, uids[0]]);
  });

  it.each(['0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0', undefined])(
    'is not what a pod of the API says of itself: uid %s',
    (uid = '') => {
      const { metadata, ...rest } = staticPod(manifest(), 'dns.yaml', 'pi');
      const annotations = { ...metadata.annotations, 'kubernetes.io/config.hash': uid };
      expect(isStatic({ ...rest, metadata: { ...metadata, uid, annotations } })).toBe(false);
      expect(isStatic({ ...rest, metadata: { ...metadata, uid: '0'.repeat(32) } })).toBe(false);
    },
  );

  it('asks for what it limits, as the API server would have it', () => {
    const resources = { limits: { memory: '1Gi', cpu: '1' }, requests: { cpu: '100m' } };
    const spec = { containers: [{ name: 'a', image: 'i', resources }] };
    const [container] = staticPod(manifest({}, spec), 'a.yaml', 'pi').spec.containers;
    expect(container?.resources?.requests).toEqual({ memory: '1Gi', cpu: '100m' });
  });

  const sortOf = (source: string) => (source.startsWith('secret') ? 'secrets' : 'configmaps');
  const image = { name: 'a', image: 'i' };
  const fromAll = (source: string) => ({
    containers: [{ ...image, envFrom: [{ [source]: { name: 'n' } }] }],
  });
  const fromOne = (key: string) => ({
    containers: [image],
    initContainers: [{ ...image, env: [{ name: 'e', valueFrom: { [key]: { name: 'n' } } }] }],
  });
  const bad: { name: string; given: unknown; want: string }[] = [
    { name: 'no object', given: 'text', want: 'it is no Pod of apiVersion v1' },
    { name: 'another kind', given: manifest({ kind: 'Service' }), want: 'it is no Pod' },
    { name: 'no name', given: manifest({ metadata: {} }), want: 'metadata.name' },
    { name: 'no containers', given: manifest({ spec: {} }), want: 'spec.containers' },
    {
      name: 'a container that is none',
      given: manifest({}, { containers: [null] }),
      want: 'spec.containers[0].name',
    },
    {
      name: 'no image',
      given: manifest({}, { containers: [{ name: 'a' }] }),
      want: 'spec.containers[0].image',
    },
    ...[
      ['configmaps', { volumes: [{ name: 'a', configMap: { name: 'c' } }] }] as const,
      ['secrets', { volumes: [{ name: 'a', secret: { secretName: 's' } }] }] as const,
      ['secrets', { volumes: [{ name: 'a', projected: { sources: [] } }] }] as const,
      ['persistentvolumeclaims', { volumes: [{ name: 'a', persistentVolumeClaim: {} }] }] as const,
      ['secrets', { imagePullSecrets: [{ name: 's' }] }] as const,
      ['a service account', { serviceAccountName: 'a' }] as const,
      ...['configMapRef', 'secretRef'].map((source) => [sortOf(source), fromAll(source)] as const),
      ...['configMapKeyRef', 'secretKeyRef'].map((key) => [sortOf(key), fromOne(key)] as const),
    ].map(([what, spec]) => ({
      name: `what only the API server knows: ${JSON.stringify(spec)}`,
      given: manifest({}, spec),
      want: `it refers to ${what}: a static pod can't ask the API server`,
    })),
  ];
  it.each(bad)('is refused with $name', ({ given, want }) => {
    expect(() => staticPod(given, 'f.yaml', 'pi')).toThrow(want);
  });
});

describe('a folder of manifests', () => {
  let directory = '';
  let stopping: AbortController;
  let clock: ManualClock;
  let problems: string[];
  let names: string[];
  let onPods: (() => void) | undefined;

  beforeEach(() => {
    directory = mkdtempSync(path.join(tmpdir(), 'flotilla-static-'));
    stopping = new AbortController();
    clock = new ManualClock();
    problems = [];
    names = [];
    onPods = undefined;
  });
  afterEach(() => {
    stopping.abort();
    rmSync(directory, { recursive: true });
  });

  const write = (name: string, text: string) => {
    // As editors do: whoever looks sees all of it or nothing.
    writeFileSync(path.join(directory, `.${name}`), text);
    renameSync(path.join(directory, `.${name}`), path.join(directory, name));
  };
  const yaml = (name: string) =>
    `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}}\nspec: {containers: [{name: a, image: i}]}\n`;

  async function start(more: Partial<StaticFolderDeps> = {}): Promise<void> {
    const folder = new StaticFolder({
      directory,
      nodeName: 'pi',
      clock,
      onPods(pods: readonly Pod[]) {
        names = pods.map(({ metadata }) => metadata.name);
        onPods?.();
      },
      onProblem: (_file, sentence) => void problems.push(sentence),
      signal: stopping.signal,
      ...more,
    });
    await folder.start();
  }

  async function changed(act: () => void): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    onPods = resolve;
    act();
    const ticking = setInterval(() => clock.advance(300), 5);
    await promise;
    clearInterval(ticking);
  }

  it('is all its documents, and nothing that is no manifest', async () => {
    write('b.yaml', `${yaml('one')}---\n${yaml('two')}---\n`);
    write('a.json', JSON.stringify(manifest()));
    write('notes.txt', 'remember');
    await start();
    expect([names, problems]).toEqual([['dns-pi', 'one-pi', 'two-pi'], []]);
  });

  it('is run where the kernel has no watch left, and followed when it has', async () => {
    let free = 0;
    const scarce = ((...given: Parameters<typeof watch>) => {
      if (free-- > 0) return watch(...given);
      throw new Error('ENOSPC: System limit for number of file watchers reached');
    }) as typeof watch;
    write('a.yaml', yaml('one'));
    await start({ watch: scarce });
    expect([names, problems]).toEqual([
      ['one-pi'],
      [expect.stringContaining(`Changes of ${directory} are noticed late: ENOSPC`)],
    ]);
    const passes = (ms: number, act: () => void) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      onPods = resolve;
      act();
      clock.advance(ms);
      return promise;
    };
    await passes(60_000, () => write('b.yaml', yaml('two')));
    expect(names).toEqual(['one-pi', 'two-pi']);
    free = 1;
    await passes(60_000, () => rmSync(path.join(directory, 'b.yaml')));
    await changed(() => write('c.yaml', yaml('three')));
    expect([names, problems.length]).toEqual([['one-pi', 'three-pi'], 1]);
  });

  it('that can not be made is tried again, and told once', async () => {
    const blocked = path.join(directory, 'no');
    writeFileSync(blocked, 'a file is in the way');
    const folder = path.join(blocked, 'manifests');
    await start({ directory: folder });
    const told = [`${folder} can't be read: ENOTDIR: not a directory, mkdir '${folder}'`];
    expect([names, problems]).toEqual([[], told]);
    clock.advance(60_000);
    await new Promise((resolve) => setTimeout(resolve, 0));
    rmSync(blocked);
    const { promise, resolve } = Promise.withResolvers<void>();
    onPods = resolve;
    const ticking = setInterval(() => clock.advance(60_000), 5);
    await promise;
    clearInterval(ticking);
    expect(problems).toEqual(told);
    await changed(() => writeFileSync(path.join(folder, 'a.yaml'), yaml('one')));
    expect(names).toEqual(['one-pi']);
  });

  it('is looked at and followed anew after its watch broke', async () => {
    const broken = Object.assign(new EventEmitter(), { close: () => {} });
    let isFirst = true;
    const breaking = ((...given: Parameters<typeof watch>) => {
      const watcher = isFirst ? broken : watch(...given);
      isFirst = false;
      return watcher;
    }) as typeof watch;
    await start({ watch: breaking });
    broken.emit('error', new Error('EIO'));
    expect(problems).toEqual([`Changes of ${directory} are noticed late: EIO`]);
    write('a.yaml', yaml('one'));
    const { promise, resolve } = Promise.withResolvers<void>();
    onPods = resolve;
    clock.advance(60_000);
    await promise;
    await changed(() => write('b.yaml', yaml('two')));
    expect(names).toEqual(['one-pi', 'two-pi']);
  });

  it('is followed; what a file said before stays while it says nothing that can be run', async () => {
    await start();
    await changed(() => write('a.yaml', yaml('one')));
    expect(names).toEqual(['one-pi']);
    await changed(() => write('a.yaml', 'kind: [Pod'));
    await changed(() => write('b.yaml', yaml('two')));
    expect(names).toEqual(['one-pi', 'two-pi']);
    expect(problems).toEqual([expect.stringContaining(`${directory}/a.yaml is not run: `)]);
    await changed(() => rmSync(path.join(directory, 'a.yaml')));
    expect(names).toEqual(['two-pi']);
  });
});
