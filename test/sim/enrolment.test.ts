// Adding machines against the real API server: what a person asks, what the Machine tells, and what a cut cable leaves.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Enrolment, EnrolmentSpec, EnrolmentStatus } from '#kube/api/fleet.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { InformerFactory } from '#kube/client/informer.ts';
import { configMaps, machines, nodes } from '#kube/client/resources.ts';
import { removedMachinesRef, withRemoved } from '#kube/machinery/removed-machines.ts';
import { serviceAccountGroups } from '../../electron/controlplane/apiserver/identity/authentication.ts';
import { watchAbandoned } from '../../electron/controlplane/fleet/enrolment/abandoned.ts';
import { Enrolments } from '../../electron/controlplane/fleet/enrolment/enrolments.ts';
import { placement } from '../../electron/controlplane/fleet/package/placement.ts';
import { seededRandom } from '#kube/base/random.ts';
import { FakeMachine, type FakeMachineOptions } from '../setup/fake-machine.ts';
import { startControlPlane, type SimulatedControlPlane } from './control-plane.ts';

let sim: SimulatedControlPlane;
let enrolments: Enrolments;
/** By the address in its Machine. */
const home = new Map<string, FakeMachine>();
const stop = new AbortController();
const clusterCa = 'c'.repeat(64);
let count = 0;

beforeAll(async () => {
  sim = await startControlPlane({
    withoutControllers: true,
    enrol: (...asked) => enrolments.enrol(...asked),
  });
  const account = 'system:serviceaccount:kube-system:machine-enrolment';
  const part = (name: string, letter: string, bytes: number) => ({
    file: `/packages/${name}`,
    sha256: letter.repeat(64),
    bytes,
  });
  enrolments = new Enrolments({
    client: sim.clientAs(account, serviceAccountGroups(account)),
    open: (target, ...more) => home.get(target.addresses[0] ?? '')!.open(target, ...more),
    placement,
    makePackage: (architecture) =>
      Promise.resolve({
        version: '1',
        runtime: part(`runtime-${architecture}`, 'a', 30e6),
        agent: part('agent', 'b', 1e6),
      }),
    server: (address) => ({ address, port: 7443 }),
    clusterCa,
    makeBootstrapKubeconfig: (server) => Promise.resolve(`the way to ${server} and a token`),
    isDiscovering: false,
    clock: sim.clock,
    logger: silentLogger,
    signal: stop.signal,
  });
});
afterAll(async () => {
  stop.abort();
  await sim.stop();
});

interface Made {
  readonly name: string;
  readonly machine: FakeMachine;
}

async function newMachine(more: Partial<FakeMachineOptions> = {}): Promise<Made> {
  count += 1;
  const name = `pi${count}`;
  const machineId = `id-of-${name}`;
  const machine = new FakeMachine({
    hostName: name,
    machineId,
    clusterCa,
    nowMs: () => sim.clock.now(),
    onJoined: (nodeName) => void join(nodeName, machineId),
    ...more,
  });
  const address = `10.0.${count >> 8}.${count & 255}`;
  home.set(address, machine);
  const metadata = { name };
  const head = { apiVersion: 'flotilla.dev/v1alpha1', kind: 'Machine' } as const;
  await sim.client.create(machines, { ...head, metadata, spec: { address } });
  return { name, machine };
}

/** What its agent does once it has its certificates. */
async function join(name: string, machineId: string): Promise<void> {
  const found = await sim.client.get(nodes, { name }).catch(() => undefined);
  if (found !== undefined) return;
  await sim.addNode(name);
  const node = await sim.client.get(nodes, { name });
  await sim.client.updateStatus(nodes, {
    ...node,
    status: { ...node.status, nodeInfo: { machineID: machineId } as never },
  });
}

async function ask(name: string, spec: Partial<EnrolmentSpec>): Promise<EnrolmentStatus> {
  const full = { user: 'pi', password: 'raspberry', ...spec };
  const asked = sim.client.createSubresource(machines, { name }, 'enrolment', { spec: full });
  await sim.settle();
  const answer = (await asked) as Enrolment;
  expect(answer.spec).toBeUndefined();
  return answer.status!;
}

async function told(name: string): Promise<EnrolmentStatus | undefined> {
  return (await sim.client.get(machines, { name })).status?.enrolment;
}

/** To its end. */
async function apply({ name, machine }: Made, more: Partial<EnrolmentSpec> = {}) {
  const { fingerprint: hostKey } = machine.hostKey;
  const first = await ask(name, { phase: 'Apply', hostKey, acceptWarnings: true, ...more });
  expect(first.phase).toBe('Running');
  for (let round = 0; round < 40; round++) {
    const status = await told(name);
    if (status !== undefined && !['Running', 'Rebooting'].includes(status.phase)) return status;
    await sim.advance(10_000);
  }
  throw new Error(`${name} came to no end: ${JSON.stringify(await told(name))}`);
}

function needsEverything({ machine }: Made): void {
  machine.clockAheadMs = -365 * 86_400_000;
  machine.limitsMemory = false;
  machine.hasEngine = false;
}

describe('looking', () => {
  it('first shows the host key, and has sent nothing until a person knows it', async () => {
    const { name, machine } = await newMachine();
    const unknown = await ask(name, { phase: 'Inspect' });
    expect([unknown.phase, unknown.hostKey, machine.seen]).toEqual([
      'HostKeyUnknown',
      { ...machine.hostKey, isPinned: false },
      [],
    ]);
    const hostKey = machine.hostKey.fingerprint;
    const planned = await ask(name, { phase: 'Inspect', hostKey });
    expect(planned).toMatchObject({
      phase: 'Planned',
      nodeName: name,
      machine: { model: 'Raspberry Pi 4 Model B Rev 1.4', architecture: 'aarch64', hostName: name },
    });
    expect(planned.steps?.map((step) => step.name)).toEqual(['runtime', 'agent', 'join', 'ready']);
    expect([machine.done, await told(name), machine.openConnections]).toEqual([[], undefined, 0]);
  });

  it('another key than the one that was seen, or accepted before, is refused by name', async () => {
    const made = await newMachine();
    const { name, machine } = made;
    const seen = `SHA256:${'s'.repeat(43)}`;
    const other = await ask(name, { phase: 'Inspect', hostKey: seen });
    expect([other.phase, other.message]).toEqual([
      'HostKeyUnknown',
      `${name} shows the host key ${machine.hostKey.fingerprint} now, not ${seen}: nothing was sent to it`,
    ]);
    expect((await apply(made)).phase).toBe('Done');
    const accepted = machine.hostKey.fingerprint;
    machine.hostKey = { type: 'ssh-ed25519', fingerprint: seen };
    machine.seen.length = 0;
    const changed = await ask(name, { phase: 'Inspect', hostKey: seen });
    expect(changed).toMatchObject({
      phase: 'LoginRefused',
      hostKey: { fingerprint: seen, isPinned: false },
    });
    expect(changed.message).toContain(`The host key of ${name} is ${seen}, and ${accepted} was`);
    expect(machine.seen).toEqual([]);
  });

  it('what is asked wrongly is refused, and no answer repeats a secret', async () => {
    const { name } = await newMachine();
    const refused = async (spec: object) => {
      const body = { spec };
      const asked = sim.client.createSubresource(machines, { name }, 'enrolment', body);
      const answer = asked.then(
        () => 'accepted',
        (error: Error) => error.message,
      );
      await sim.settle();
      return answer;
    };
    expect(await refused({ phase: 'Apply', user: 'pi', password: 'secret' })).toContain(
      'spec.hostKey is needed',
    );
    const bad = { phase: 'Look', user: '', password: 'sec\nret', hostKey: 'ab:cd', nodeName: 'A_' };
    const message = await refused(bad);
    for (const part of [
      'spec.phase',
      'spec.user',
      'spec.password',
      'spec.hostKey',
      'spec.nodeName',
    ])
      expect(message).toContain(part);
    expect(message).not.toContain('ret"');
  });

  it('only who may create machines/enrolment is heard', async () => {
    const { name } = await newMachine();
    const bob = sim.clientAs('bob');
    const body = { spec: { phase: 'Inspect', user: 'pi' } };
    await expect(bob.createSubresource(machines, { name }, 'enrolment', body)).rejects.toThrow(
      /cannot create resource "machines\/enrolment"/,
    );
  });
});

describe('adding', () => {
  it('lets a machine come again that was taken out while it was gone', async () => {
    const made = await newMachine();
    const gone = { machineId: `id-of-${made.name}`, at: 'then' };
    await sim.client.create(configMaps, withRemoved(undefined, made.name, gone));
    expect((await apply(made)).phase).toBe('Done');
    const { data = {} } = await sim.client.get(configMaps, removedMachinesRef);
    expect(data).toEqual({});
    await sim.client.delete(configMaps, removedMachinesRef);
  });

  it('puts new hardware in an old one’s place, and remembers that one', async () => {
    const made = await newMachine();
    const old = `old-${made.name}`;
    await sim.addNode(old);
    const node = await sim.client.get(nodes, { name: old });
    const conditions = [{ type: 'Ready', status: 'Unknown' }];
    const nodeInfo = { machineID: 'id-of-old' } as never;
    await sim.client.updateStatus(nodes, { ...node, status: { conditions, nodeInfo } });
    const asked = {
      nodeName: old,
      phase: 'Inspect',
      hostKey: made.machine.hostKey.fingerprint,
    } as const;
    expect((await ask(made.name, asked)).phase).toBe('Obstructed');
    const planned = await ask(made.name, { ...asked, replaceNode: true });
    expect([planned.phase, planned.warnings?.[0]]).toEqual([
      'Planned',
      expect.stringContaining(`It takes the place of the node ${old}`),
    ]);
  });

  it('does all that is missing, tells it step by step, and keeps no secret', async () => {
    const made = await newMachine();
    needsEverything(made);
    const { name, machine } = made;
    machine.lingers = 2;
    const status = await apply(made);
    expect([status.message, machine.openConnections]).toEqual([`It is the node ${name}`, 0]);
    expect(status.steps?.map(({ name: step, state }) => `${step} ${state}`)).toEqual([
      'clock Done',
      'memory-limits Done',
      'engine Done',
      'runtime Done',
      'agent Done',
      'join Done',
      'ready Done',
    ]);
    expect(machine.done).toEqual([
      'setClockText',
      'bootLineText',
      'rebootText',
      'engineText',
      'placeRuntime',
      'placeAgent',
      'use',
      'placeUnit',
      'join',
      'start',
    ]);
    expect(machine.received).toContain('the way to https://10.0.0.1:7443 and a token');
    const object = await sim.client.get(machines, { name });
    expect([object.spec?.hostKey, object.status?.nodeName]).toEqual([
      machine.hostKey.fingerprint,
      name,
    ]);
    expect(JSON.stringify([object, machine.received])).not.toContain('raspberry"');
  });

  it('a second time finds everything done', async () => {
    const made = await newMachine();
    await apply(made);
    made.machine.done.length = 0;
    const status = await apply(made);
    expect([status.phase, made.machine.done]).toEqual(['Done', []]);
    expect(new Set(status.steps?.map(({ state }) => state))).toEqual(new Set(['Skipped']));
  });

  it('is not begun twice at once', async () => {
    const made = await newMachine();
    const { fingerprint: hostKey } = made.machine.hostKey;
    const spec = { phase: 'Apply', user: 'pi', password: 'raspberry', hostKey };
    const post = () =>
      sim.client.createSubresource(machines, { name: made.name }, 'enrolment', { spec });
    const [first, second] = [post(), post()];
    await expect(second).rejects.toThrow(/it is being added now/);
    await first;
    await sim.advance(10_000);
    await enrolments.whenIdle();
  });

  it('stops at obstacles, and at warnings that nobody accepted', async () => {
    const [full, slow] = [await newMachine(), await newMachine()];
    full.machine.facts.set('free-kb', '100000');
    slow.machine.rootFacts.set('sync-seconds', '1.6');
    const obstructed = await apply(full);
    expect([obstructed.phase, obstructed.obstacles?.[0]]).toEqual([
      'Obstructed',
      'Only 97 MB are free on its disk below /var/lib: 400 MB are needed',
    ]);
    const unaccepted = await apply(slow, { acceptWarnings: false });
    expect([unaccepted.phase, unaccepted.warnings?.[0]]).toMatchObject([
      'Planned',
      expect.stringContaining('takes 100 ms to keep a small write'),
    ]);
    expect([full.machine.done, slow.machine.done]).toEqual([[], []]);
    expect([full.machine.openConnections, slow.machine.openConnections]).toEqual([0, 0]);
    expect((await apply(slow)).phase).toBe('Done');
  });

  it('a step that fails says what the machine said', async () => {
    const made = await newMachine();
    made.machine.failing.set('placeAgent', 'the package arrived damaged');
    const status = await apply(made);
    expect(status).toMatchObject({
      phase: 'Failed',
      message:
        'Copy the agent to /var/lib/flotilla and make it a service of systemd: the package arrived damaged. ' +
        'What is done stays done: add it again to go on',
    });
    expect(status.steps?.map(({ state }) => state)).toEqual([
      'Done',
      'Failed',
      'Waiting',
      'Waiting',
    ]);
    made.machine.failing.clear();
    expect((await apply(made)).phase).toBe('Done');
  });

  it('what was done and yet is not so is no success', async () => {
    const made = await newMachine();
    made.machine.limitsMemory = false;
    made.machine.ignoresBootLine = true;
    expect((await apply(made)).message).toContain('the kernel goes without them although');
  });

  it('whoever looks after the answer sees nothing of an earlier time', async () => {
    const made = await newMachine();
    made.machine.failing.set('placeAgent', 'no');
    expect((await apply(made)).phase).toBe('Failed');
    const { fingerprint: hostKey } = made.machine.hostKey;
    const spec = { phase: 'Apply', user: 'pi', password: 'raspberry', hostKey };
    const { name } = made;
    await sim.client.createSubresource(machines, { name }, 'enrolment', { spec });
    expect((await told(name))?.phase).toBe('Running');
    await sim.advance(10_000);
    await enrolments.whenIdle();
  });

  it('is given up when its object is gone, and leaves one of the same name alone', async () => {
    const made = await newMachine();
    made.machine.limitsMemory = false;
    made.machine.comesBack = false;
    const { name } = made;
    const { fingerprint: hostKey } = made.machine.hostKey;
    await ask(name, { phase: 'Apply', hostKey });
    await sim.advance(1000);
    const { spec } = await sim.client.get(machines, { name });
    await sim.client.delete(machines, { name });
    const head = { apiVersion: 'flotilla.dev/v1alpha1', kind: 'Machine' } as const;
    await sim.client.create(machines, { ...head, metadata: { name }, spec: spec! });
    await sim.advance(60_000);
    await enrolments.whenIdle();
    expect(await told(name)).toBeUndefined();
  });

  it('one that does not come back from its restart is given up after minutes', async () => {
    const made = await newMachine();
    made.machine.limitsMemory = false;
    made.machine.comesBack = false;
    const status = await apply(made);
    expect(status.message).toContain('it did not come back within 6 minutes');
  });

  it('wherever the cable is cut, it says so, and once more converges with nothing done twice', async () => {
    const whole = await newMachine();
    needsEverything(whole);
    await apply(whole);
    const { calls } = whole.machine;
    expect(calls).toBeGreaterThan(25);
    for (let at = 1; at <= calls; at++)
      for (const when of ['before', 'after'] as const) {
        const made = await newMachine();
        needsEverything(made);
        made.machine.cut = { at, when };
        const first = await apply(made);
        const where = `cut ${when} ${at}`;
        // While it starts anew it is away anyway, and when all is done it is not missed.
        if (first.phase !== 'Done')
          expect([where, first.phase, first.message]).toEqual([
            where,
            'Failed',
            expect.stringMatching(/the connection was cut\. .*[Aa]dd it again to go on$/),
          ]);
        made.machine.cut = undefined;
        let last = first;
        // One that starts anew just now is not there for a moment.
        for (let more = 0; last.phase !== 'Done' && more < 2; more++) last = await apply(made);
        const once = made.machine.done.filter((name) => name !== 'join' && name !== 'start');
        expect([where, last.phase, once]).toEqual([
          where,
          'Done',
          ['setClockText', 'bootLineText', 'rebootText', 'engineText', 'placeRuntime'].concat(
            'placeAgent',
            'use',
            'placeUnit',
          ),
        ]);
      }
  });
});

describe('one that nobody tells of any more', () => {
  it('is said to have failed after a minute, and no sooner while somebody does', async () => {
    const { name } = await newMachine();
    const client = sim.clientAs('system:serviceaccount:kube-system:home-search', [
      'system:serviceaccounts',
    ]);
    const random = seededRandom(1);
    const deps = { client, clock: sim.clock, logger: silentLogger, random };
    const informers = new InformerFactory(deps);
    const abort = new AbortController();
    watchAbandoned({ ...deps, machines: informers.informer(machines) }, abort.signal);
    informers.start(abort.signal);
    const tell = async () => {
      const machine = await sim.client.get(machines, { name });
      const lastUpdateTime = new Date(sim.clock.now()).toISOString();
      const enrolment = { phase: 'Running' as const, lastUpdateTime };
      await sim.client.updateStatus(machines, { ...machine, status: { enrolment } });
    };
    await tell();
    await sim.advance(50_000);
    await tell();
    await sim.advance(50_000);
    expect((await told(name))?.phase).toBe('Running');
    await sim.advance(15_000);
    expect(await told(name)).toMatchObject({
      phase: 'Failed',
      message: expect.stringContaining('The control plane that added it was stopped'),
    });
    abort.abort();
  });
});
