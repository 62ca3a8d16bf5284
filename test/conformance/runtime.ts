// What every Runtime has to do, run against the fake one and against Docker. Images are named by
// the caller; the program of `image` has to be a busybox with `sh`.
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  isRuntimeError,
  type ContainerConfig,
  type PodRef,
  type Runtime,
  type SandboxConfig,
} from '../../agent/runtime/runtime.ts';

export interface RuntimeUnderTest {
  readonly runtime: Runtime;
  readonly image: string;
  /** Two names of one image that nothing else uses, made anew for each run. */
  readonly spareImage: readonly [string, string];
  /** A name that can't be pulled. */
  readonly missingImage: string;
  /** A second Runtime over the same engine: what an agent sees after a restart. */
  readonly restarted: () => Runtime;
  /** False: containers have no real program (logs and exec are not looked at). */
  readonly real: boolean;
  /** A file that exists, for the termination message. */
  readonly terminationMessageHostPath: string;
}

export function sandboxConfig(pod: PodRef): SandboxConfig {
  return {
    pod,
    attempt: 0,
    hostname: pod.name,
    domain: '',
    hostNetwork: false,
    hostPid: false,
    hostIpc: false,
    ports: [],
    extraHosts: ['db:10.9.8.7'],
    sysctls: {},
    gracePeriodSeconds: 7,
  };
}

export function containerConfig(
  pod: PodRef,
  sandboxId: string,
  more: Partial<ContainerConfig>,
): ContainerConfig {
  return {
    pod,
    sandboxId,
    name: 'web',
    attempt: 0,
    specHash: 'abc',
    image: '',
    command: ['sh', '-c', 'trap "exit 0" TERM; echo hello; echo oops >&2; sleep 600 & wait'],
    env: ['COLOUR=green'],
    mounts: [],
    devices: [],
    resources: { cpuShares: 2, cpuQuotaMicros: 0, memoryBytes: 0, oomScoreAdj: -997, pidsMax: 100 },
    inPodCgroup: false,
    security: {
      privileged: false,
      readOnlyRootFilesystem: false,
      allowPrivilegeEscalation: true,
      user: '',
      supplementalGroups: [],
      addCapabilities: [],
      dropCapabilities: [],
      unmaskedProc: false,
      seLinuxLabels: [],
    },
    hostNetwork: false,
    hostPid: false,
    hostIpc: false,
    shareProcessNamespace: false,
    stdin: false,
    stdinOnce: false,
    tty: false,
    terminationMessageHostPath: '',
    ...more,
  };
}

export function runtimeConformance(name: string, make: () => Promise<RuntimeUnderTest>): void {
  describe(`a Runtime: ${name}`, () => {
    const pod: PodRef = { uid: 'uid-1', name: 'pod-1', namespace: 'default' };
    const other: PodRef = { uid: 'uid-2', name: 'pod-2', namespace: 'default' };
    let test: RuntimeUnderTest;
    let runtime: Runtime;

    beforeAll(async () => {
      test = await make();
      runtime = test.runtime;
    });
    afterAll(async () => {
      for (const observed of await runtime.listPods()) {
        for (const { id } of observed.containers) await runtime.removeContainer(id);
        for (const { id } of observed.sandboxes) await runtime.removeSandbox(id);
      }
      expect(await runtime.listPods()).toEqual([]);
    });

    async function start(ref: PodRef, more: Partial<ContainerConfig> = {}) {
      const sandbox = await runtime.runSandbox(sandboxConfig(ref));
      const { image, terminationMessageHostPath } = test;
      const config = containerConfig(ref, sandbox, { image, terminationMessageHostPath, ...more });
      const container = await runtime.createContainer(config);
      await runtime.startContainer(container);
      return { sandbox, container };
    }

    it('starts the first sandboxes all at once', async () => {
      // Nobody has found out yet what this machine refuses (negative OOM scores, say).
      const refs = ['a', 'b', 'c'].map((uid) => ({ uid, name: uid, namespace: 'default' }));
      const ids = await Promise.all(refs.map((ref) => runtime.runSandbox(sandboxConfig(ref))));
      expect(new Set(ids).size).toBe(3);
      for (const id of ids) await runtime.removeSandbox(id);
    });

    it('knows nothing of a pod that has not been started', async () => {
      const observed = await runtime.getPod({ uid: 'none', name: 'none', namespace: 'x' });
      expect([observed.sandboxes, observed.containers]).toEqual([[], []]);
    });

    it('tells after a restart what runs, from labels alone', async () => {
      const { sandbox, container } = await start(pod);
      const observed = await test.restarted().getPod(pod);
      expect(observed.pod).toEqual(pod);
      expect(observed.gracePeriodSeconds).toBe(7);
      expect(observed.sandboxes.map(({ id, ready, attempt }) => ({ id, ready, attempt }))).toEqual([
        { id: sandbox, ready: true, attempt: 0 },
      ]);
      expect(observed.sandboxes[0]?.ip).toMatch(/^10\.244\.\d+\.\d+$/);
      expect(observed.containers).toMatchObject([
        {
          id: container,
          name: 'web',
          sandboxId: sandbox,
          attempt: 0,
          specHash: 'abc',
          state: 'running',
        },
      ]);
      expect(observed.containers[0]?.pid).toBeGreaterThan(0);
      const listed = await test.restarted().listPods();
      expect(listed.map((entry) => entry.pod)).toEqual([pod]);
    });

    it('changes the limits of what runs, and remembers what it was created with', async () => {
      const [before] = (await runtime.getPod(pod)).containers;
      const limits = { cpuShares: 512, cpuQuotaMicros: 50_000, memoryBytes: 64 * 1024 * 1024 };
      await runtime.updateLimits(before?.id ?? '', limits);
      const [after] = (await test.restarted().getPod(pod)).containers;
      expect(after).toMatchObject({
        limits,
        askedLimits: { cpuShares: 2, cpuQuotaMicros: 0, memoryBytes: 0 },
        state: 'running',
      });
    });

    it('keeps pods apart', async () => {
      await start(other);
      const one = await runtime.getPod(pod);
      expect(one.containers).toHaveLength(1);
      expect(await runtime.listPods()).toHaveLength(2);
    });

    it('reports each change of a container as an event of its pod', async () => {
      const abort = new AbortController();
      const events = runtime.events(abort.signal)[Symbol.asyncIterator]();
      const next = events.next();
      const [container] = (await runtime.getPod(other)).containers;
      await runtime.stopContainer(container?.id ?? '', 5);
      const event = await next;
      expect(event.value).toEqual({ podUid: other.uid, containerId: container?.id });
      abort.abort();
      const [after] = (await runtime.getPod(other)).containers;
      expect(after?.state).toBe('exited');
      expect(after?.finishedAtMs).toBeGreaterThanOrEqual(after?.startedAtMs ?? Infinity);
    });

    it('shows the newest attempt first', async () => {
      const { sandboxes } = await runtime.getPod(other);
      const { image, terminationMessageHostPath } = test;
      const more = { image, attempt: 1, terminationMessageHostPath };
      await runtime.createContainer(containerConfig(other, sandboxes[0]?.id ?? '', more));
      const { containers } = await runtime.getPod(other);
      expect(containers.map(({ attempt, state }) => [attempt, state])).toEqual([
        [1, 'created'],
        [0, 'exited'],
      ]);
    });

    it('stops and removes twice without complaint', async () => {
      const { sandboxes, containers } = await runtime.getPod(other);
      for (const { id } of [...containers, ...containers]) {
        await runtime.stopContainer(id, 0);
        await runtime.removeContainer(id);
      }
      for (const { id } of [...sandboxes, ...sandboxes]) {
        await runtime.stopSandbox(id);
        await runtime.removeSandbox(id);
      }
      const observed = await runtime.getPod(other);
      expect([observed.sandboxes, observed.containers]).toEqual([[], []]);
    });

    it('makes a container like one that ended, and remembers what the pod was', async () => {
      const ref = { uid: 'uid-again', name: 'again', namespace: 'default' };
      const sandboxId = await runtime.runSandbox({ ...sandboxConfig(ref), memo: '{"a":"b"}' });
      const { image, terminationMessageHostPath } = test;
      const more = {
        image,
        terminationMessageHostPath,
        command: ['sh', '-c', 'echo $COLOUR; sleep 600'],
      };
      const first = await runtime.createContainer(containerConfig(ref, sandboxId, more));
      await runtime.startContainer(first);
      await runtime.stopContainer(first, 0);
      const change = { sandboxId, attempt: 1, terminationMessageHostPath };
      const second = await test.restarted().recreateContainer(first, change);
      await runtime.startContainer(second);
      const { containers, memo } = await test.restarted().getPod(ref);
      expect(memo).toBe('{"a":"b"}');
      const [newest, before] = containers;
      expect(newest).toMatchObject({ id: second, state: 'running', attempt: 1, sandboxId });
      for (const key of ['name', 'specHash', 'image', 'askedLimits'] as const)
        expect(newest?.[key]).toEqual(before?.[key]);
      if (test.real) {
        const { output } = await runtime.exec(second, ['sh', '-c', 'echo $COLOUR'], 5_000);
        expect(output.trim()).toBe('green');
      }
      for (const { id } of containers) await runtime.removeContainer(id);
      await runtime.removeSandbox(sandboxId);
    });

    it('says notFound for a container that does not exist', async () => {
      await expect(runtime.startContainer('nosuch')).rejects.toSatisfy((error) =>
        isRuntimeError(error, 'notFound'),
      );
    });

    it('has no status for an image that is not here, and a reason when it can not be pulled', async () => {
      expect(await runtime.imageStatus(test.missingImage)).toBeUndefined();
      await expect(runtime.pullImage(test.missingImage)).rejects.toThrow(/.{10}/);
      expect(await runtime.imageStatus(test.image)).toMatchObject({
        sizeBytes: expect.any(Number),
      });
    });

    it('hands an image over as an archive without its names, and takes it in', async () => {
      const [spareName] = test.spareImage;
      const image = await runtime.imageStatus(spareName);
      if (image === undefined) throw new Error(`${spareName} is not there`);
      const parts: Uint8Array[] = [];
      const { signal } = new AbortController();
      for await (const part of await runtime.saveImage(image.id, signal)) parts.push(part);
      await runtime.removeImage(image);
      const whole = Buffer.concat(parts);
      const load = (...pieces: readonly Buffer[]) =>
        runtime.loadImages(Readable.from(pieces), { onLoaded: (text) => void loaded.push(text) });
      const loaded: string[] = [];
      await expect(load(whole.subarray(0, whole.length / 2))).rejects.toThrow(/unexpected EOF/);
      const broken = (async function* () {
        yield whole.subarray(0, 1024);
        throw new Error('the line broke');
      })();
      await expect(runtime.loadImages(broken)).rejects.toThrow('the line broke');
      expect(await runtime.imageStatus(image.id)).toBeUndefined();
      await load(whole);
      expect(loaded).toEqual([image.id]);
      for (const tag of test.spareImage) await runtime.tagImage(image.id, tag);
      for (const tag of test.spareImage)
        expect((await runtime.imageStatus(tag))?.id).toBe(image.id);
    });

    it('removes an image by all its names, but not while a container is made of it', async () => {
      const [spareName] = test.spareImage;
      const spare = await runtime.imageStatus(spareName);
      if (spare === undefined) throw new Error(`${spareName} is not there`);
      expect(spare.names).toEqual(expect.arrayContaining([...test.spareImage]));
      expect(spare.isPulled).toBe(false);
      const owner = { ...pod, uid: `${pod.uid}-images`, name: 'pod-images' };
      const more = { name: 'user', image: spareName };
      const sandboxId = await runtime.runSandbox(sandboxConfig(owner));
      const id = await runtime.createContainer(containerConfig(owner, sandboxId, more));
      await expect(runtime.removeImage(spare)).rejects.toSatisfy((error) =>
        isRuntimeError(error, 'conflict'),
      );
      expect(await runtime.imageStatus(spareName)).toBeDefined();
      await runtime.removeContainer(id);
      await runtime.removeSandbox(sandboxId);
      await runtime.removeImage(spare);
      for (const gone of test.spareImage) expect(await runtime.imageStatus(gone)).toBeUndefined();
      await runtime.removeImage(spare);
    });

    it('mounts what holds the directory of the engine itself', async () => {
      const owner = { ...pod, uid: `${pod.uid}-root`, name: 'pod-root' };
      const propagation = 'rprivate';
      const mounts = [
        { hostPath: '/', containerPath: '/host', readOnly: true, propagation },
      ] as const;
      const sandboxId = await runtime.runSandbox(sandboxConfig(owner));
      const more = { name: 'root', image: test.image, mounts };
      const id = await runtime.createContainer(containerConfig(owner, sandboxId, more));
      await runtime.startContainer(id);
      const [container] = (await runtime.getPod(owner)).containers;
      expect(container?.state).toBe('running');
      await runtime.removeContainer(id);
      await runtime.removeSandbox(sandboxId);
    });

    it('tells the directory where images lie', async () => {
      expect(await runtime.storageDirectory()).toMatch(/^\//);
    });

    it('makes no more processes for a container than it may have', async () => {
      if (!test.real) return;
      const [container] = (await runtime.getPod(pod)).containers;
      const script = 'for n in $(busybox seq 200); do sleep 2 > /dev/null 2>&1 & done';
      const { exitCode, output } = await runtime.exec(
        container?.id ?? '',
        ['sh', '-c', script],
        10_000,
      );
      expect([exitCode, output]).toEqual([2, expect.stringContaining("can't fork")]);
    });

    it('tells the time once before each line of a log, however long', async () => {
      if (!test.real) return;
      const ref = { uid: 'uid-long', name: 'long', namespace: 'default' };
      const script = 'yes | head -c 50000 | busybox tr -d "\\n"; echo; echo end';
      const { container } = await start(ref, { command: ['sh', '-c', script] });
      const { signal } = new AbortController();
      let text = '';
      for await (const part of runtime.logs(container, { follow: true, timestamps: true, signal }))
        text += Buffer.from(part).toString();
      const time = String.raw`\d{4}-\d\d-\d\dT\S+Z`;
      expect(text).toMatch(new RegExp(`^${time} y{25000}\n${time} end\n$`));
    });

    it('runs commands in a container and returns output and exit code', async () => {
      if (!test.real) return;
      const [container] = (await runtime.getPod(pod)).containers;
      const result = await runtime.exec(
        container?.id ?? '',
        ['sh', '-c', 'echo $COLOUR; hostname; cat /etc/hosts; exit 3'],
        5000,
      );
      expect(result.exitCode).toBe(3);
      expect(result.output).toMatch(/^green\npod-1\n[^]*10\.9\.8\.7\s+db/);
    });

    it('talks to a process: input, both outputs, exit code', async () => {
      if (!test.real) return;
      const [container] = (await runtime.getPod(pod)).containers;
      const talk = await runtime.startProcess(container?.id ?? '', {
        command: ['sh', '-c', 'cat; echo oops >&2; exit 4'],
        stdin: true,
        stdout: true,
        stderr: true,
        tty: false,
      });
      talk.stdin.end('hello');
      const said = { stdout: '', stderr: '' };
      for await (const { stream, bytes } of talk.output) said[stream] += String(bytes);
      expect([said, await talk.exitCode()]).toEqual([{ stdout: 'hello', stderr: 'oops\n' }, 4]);
      await talk.close();
    });

    it('attaches to nothing that has ended', async () => {
      const ref = { uid: 'uid-ended', name: 'ended', namespace: 'default' };
      const { container } = await start(ref, { command: ['true'] });
      await runtime.stopContainer(container, 0);
      const wanted = { stdin: true, stdout: true, stderr: true, tty: false };
      await expect(runtime.attach(container, wanted)).rejects.toSatisfy((error) =>
        isRuntimeError(error, 'conflict'),
      );
    });

    it('ends a command that takes too long with a timeout, and its process', async () => {
      if (!test.real) return;
      const [{ id } = { id: '' }] = (await runtime.getPod(pod)).containers;
      await expect(runtime.exec(id, ['sleep', '987'], 300)).rejects.toSatisfy((error) =>
        isRuntimeError(error, 'timeout'),
      );
      const processes = await runtime.exec(id, ['ps'], 10_000);
      expect(processes.output).toContain('ps');
      expect(processes.output).not.toContain('sleep 987');
    });

    it('reads the log of both streams', async () => {
      if (!test.real) return;
      const [container] = (await runtime.getPod(pod)).containers;
      const options = { follow: false, timestamps: false, signal: new AbortController().signal };
      let text = '';
      for await (const chunk of runtime.logs(container?.id ?? '', options))
        text += new TextDecoder().decode(chunk);
      expect(text.split('\n').sort()).toEqual(['', 'hello', 'oops']);
    });
  });
}
