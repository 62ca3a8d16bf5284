// Adding a machine as the page does it, without its pixels: the page's own state over real HTTP and
// WebSockets, against a fake cluster that knows one machine.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createApp, effectScope, type EffectScope } from 'vue';
import type { EnrolmentPhase, EnrolmentStatus, Machine } from '#kube/api/fleet.ts';
import { systemClock } from '#kube/base/clock.ts';
import { jsonLogger } from '#kube/base/logger.ts';
import { systemRandom } from '#kube/base/random.ts';
import { InformerFactory } from '#kube/client/informer.ts';
import { machines } from '#kube/client/resources.ts';
import { RestClient } from '#kube/client/rest-client.ts';
import { clusterKey, type Cluster } from '../../renderer/cluster/cluster.ts';
import { Connection } from '../../renderer/cluster/connection.ts';
import { useEnrolment, type EnrolmentRun } from '../../renderer/cluster/enrolment.ts';
import { sweepNetworks, tellOfMachine } from '../../renderer/cluster/fleet-data.ts';
import { useResources, type LiveList } from '../../renderer/cluster/resources.ts';
import { FakeCluster, type FakeObject } from '../fake-cluster.ts';
import { FakeEnrolment, fakePi, fakeProgress, fakeSearch } from '../fake-cluster-fleet.ts';
import { fakeKinds } from '../fake-cluster-objects.ts';

const frames = { requestAnimationFrame: globalThis.requestAnimationFrame };
let fake: FakeCluster;
let pi: FakeEnrolment;
let client: RestClient;
let run: EnrolmentRun;
/** What the page knows of machines. */
let known: LiveList<Machine>;
let users: string[];
let stop: AbortController;
let scope: EffectScope;

beforeEach(async () => {
  globalThis.requestAnimationFrame = (callback) => {
    queueMicrotask(() => callback(0));
    return 0;
  };
  pi = new FakeEnrolment();
  users = [];
  await visit([fakePi, fakeSearch()]);
});
afterEach(() => {
  scope.stop();
  stop.abort();
  fake.close();
  Object.assign(globalThis, frames);
});

async function visit(objects: FakeObject[]): Promise<void> {
  fake = new FakeCluster({
    kinds: fakeKinds,
    objects,
    root: '',
    stats: () => ({}),
    log: () => [],
    enrol: pi.answer,
  });
  const transport = new Connection({
    fetch,
    openSocket: (url) => new WebSocket(url),
    origin: await fake.listen(),
    clock: systemClock,
    onStateChange: () => undefined,
  });
  client = new RestClient({ transport });
  const logger = jsonLogger({ clock: systemClock, level: 'error', write: () => undefined });
  const informers = new InformerFactory({
    client,
    clock: systemClock,
    random: systemRandom,
    logger,
  });
  stop = new AbortController();
  informers.start(stop.signal);
  scope = effectScope();
  const page = createApp({});
  page.provide(clusterKey, { client, informers } as Partial<Cluster> as Cluster);
  scope.run(() =>
    page.runWithContext(() => {
      known = useResources(machines);
      run = useEnrolment({
        lastUser: () => users.at(-1) ?? '',
        noteUser: (one) => users.push(one),
      });
    }),
  );
  await soon(() => known.isLoaded.value).toBe(true);
}

/** Whatever comes over the wire comes within milliseconds. */
function soon<T>(value: () => T) {
  return expect.poll(value, { interval: 5, timeout: 10_000 });
}

/** The page has heard of it. */
async function heard(phase: EnrolmentPhase): Promise<void> {
  await soon(() => known.items.value[0]?.status?.enrolment?.phase).toBe(phase);
}

function tell(enrolment: EnrolmentStatus): void {
  fake.put({ ...fakePi, status: { ...(fakePi['status'] as object), enrolment } });
}

const stage = (wanted: string) => soon(() => run.stage.value).toBe(wanted);

async function logIn(password = pi.password): Promise<void> {
  run.begin('raspberrypi');
  await stage('login');
  run.login.value.password = password;
  await run.inspect();
}

describe('adding a machine', () => {
  it('asks for the key before anything secret goes out, and sends the one that was seen', async () => {
    await logIn();
    expect(pi.asked).toEqual([
      { phase: 'Inspect', user: 'pi' },
      { phase: 'Inspect', user: 'pi', password: 'raspberry', hostKey: pi.key },
    ]);
    expect([run.stage.value, run.status.value?.steps?.length]).toEqual(['plan', 5]);
  });

  it('follows the object from then on, remembers who logged in and forgets the password', async () => {
    await logIn();
    await run.apply();
    await stage('going');
    tell(fakeProgress(2, { step: { percent: 41 } }));
    await soon(() => run.status.value?.steps?.[2]?.percent).toBe(41);
    tell({ ...fakeProgress(3), phase: 'Rebooting' });
    await soon(() => run.status.value?.phase).toBe('Rebooting');
    expect(run.login.value.password).toBe('raspberry');
    tell({ ...fakeProgress(5), phase: 'Done' });
    await stage('done');
    await soon(() => run.login.value.password).toBe('');
    expect(users).toEqual(['pi']);
  });

  it('keeps what was entered when the login is refused', async () => {
    await logIn('wrong');
    expect([run.stage.value, run.refusal.value, run.login.value.password]).toEqual([
      'login',
      'The machine refused the password of pi.',
      'wrong',
    ]);
    run.login.value.password = pi.password;
    await run.inspect();
    await stage('plan');
  });

  it('says so when the machine shows another key than the one that was seen', async () => {
    await logIn();
    pi.key = 'SHA256:another';
    await run.apply();
    expect([run.stage.value, run.isKeyChanged.value, run.hostKey.value?.fingerprint]).toEqual([
      'login',
      true,
      'SHA256:another',
    ]);
    expect(pi.asked.at(-1)?.hostKey).not.toBe('SHA256:another');
  });

  it('agrees to warnings only by the button that shows them', async () => {
    pi.warnings = ['Its card is slow.'];
    await logIn();
    await run.apply();
    expect(pi.asked.map(({ acceptWarnings }) => acceptWarnings)).toEqual([
      undefined,
      undefined,
      true,
    ]);
  });

  it('looks again at what stood in the way', async () => {
    pi.obstacles = ['Its disk is full.'];
    await logIn();
    await stage('obstructed');
    pi.obstacles = [];
    await run.inspect();
    await stage('plan');
  });

  it('tries again with what was entered, and is not misled by the failure before', async () => {
    await logIn();
    await run.apply();
    const failed = { ...fakeProgress(2), phase: 'Failed', message: 'the cable' } as const;
    tell(failed);
    await stage('failed');
    run.leave();
    run.begin('raspberrypi');
    await stage('failed');
    await run.tryAgain();
    await stage('going');
    expect(pi.asked.at(-1)).toEqual({
      phase: 'Apply',
      user: 'pi',
      password: 'raspberry',
      hostKey: pi.key,
    });
    tell(fakeProgress(3));
    await soon(() => run.status.value?.steps?.[2]?.state).toBe('Done');
    tell({ ...failed, message: 'the cable again' });
    await stage('failed');
  });

  it('shows what another page began, and asks for what it does not know before it tries again', async () => {
    tell(fakeProgress(1));
    await heard('Running');
    run.begin('raspberrypi');
    await soon(() => run.status.value?.steps?.[0]?.state).toBe('Done');
    expect(pi.asked).toEqual([]);
    tell({ ...fakeProgress(1), phase: 'Failed' });
    await stage('failed');
    await run.tryAgain();
    await stage('login');
    expect(pi.asked).toEqual([{ phase: 'Inspect', user: 'pi' }]);
  });

  it('follows what somebody else began in the meantime', async () => {
    await logIn();
    pi.isTaken = true;
    tell(fakeProgress(1));
    await heard('Running');
    await run.apply();
    await stage('going');
    expect([run.status.value?.steps?.[0]?.state, run.failure.value]).toEqual(['Done', '']);
  });

  it('begins anew with a machine that was added before and is not there any more', async () => {
    tell({ ...fakeProgress(5), phase: 'Done' });
    await heard('Done');
    run.begin('raspberrypi');
    await stage('login');
    run.login.value.password = pi.password;
    await run.inspect();
    await run.apply();
    await stage('going');
  });

  it('tells that a machine can not be reached, and begins nothing when it is tried again', async () => {
    pi.isUnreachable = true;
    run.begin('raspberrypi');
    await stage('failed');
    expect([run.hasBegun.value, run.status.value?.message]).toEqual([
      false,
      'No SSH at port 22 of 192.168.1.50: no answer',
    ]);
    pi.isUnreachable = false;
    await run.tryAgain();
    await stage('login');
    run.login.value.password = pi.password;
    pi.isUnreachable = true;
    await run.inspect();
    await stage('failed');
    pi.isUnreachable = false;
    await run.tryAgain();
    await stage('plan');
    expect(pi.asked.map(({ phase }) => phase)).not.toContain('Apply');
  });

  it('goes back to what the attempt ended with: a login that is refused, a plan with new warnings', async () => {
    await logIn();
    await run.apply();
    await stage('going');
    const hostKey = { type: 'ssh-ed25519', fingerprint: pi.key, isPinned: false };
    tell({ phase: 'LoginRefused', message: 'The password has ended', hostKey });
    await stage('login');
    expect(run.refusal.value).toBe('The password has ended');
    await run.inspect();
    await stage('plan');
    await run.apply();
    await stage('going');
    tell({ ...fakeProgress(0), phase: 'Planned', warnings: ['Its clock is wrong.'] });
    await stage('plan');
    await run.apply();
    expect(pi.asked.at(-1)?.acceptWarnings).toBe(true);
  });

  it('refuses a key that is not the one that was accepted before, until that is forgotten', async () => {
    pi.acceptedKey = 'SHA256:old';
    fake.put({ ...fakePi, spec: { hostKey: 'SHA256:old' } });
    await soon(() => known.items.value[0]?.spec?.hostKey).toBe('SHA256:old');
    run.begin('raspberrypi');
    await soon(() => run.isKeyRefused.value).toBe(true);
    expect(run.refusal.value).toBe('Another key was accepted before');
    pi.acceptedKey = undefined;
    await run.forgetKey();
    await soon(() => run.isKeyRefused.value).toBe(false);
    expect([run.stage.value, run.refusal.value]).toEqual(['login', '']);
  });

  it('forgets a password when the sheet is closed before anything began', async () => {
    await logIn();
    run.leave();
    expect([run.login.value.password, run.stage.value]).toEqual(['', 'knocking']);
  });

  it('tells what the server refuses, and can be asked again', async () => {
    run.begin('nobody-knows');
    fake.close();
    await soon(() => run.failure.value).toContain('could not be reached');
    expect([run.stage.value, run.isBusy.value]).toEqual(['knocking', false]);
  });
});

describe('finding a machine', () => {
  it('makes a Machine of a typed address once, and knows one that is seen already', async () => {
    const typed = [
      { address: '192.168.1.50', sshPort: undefined },
      { address: 'raspberrypi.local', sshPort: undefined },
      { address: '192.168.1.77', sshPort: undefined },
      { address: '192.168.1.77', sshPort: undefined },
      { address: '192.168.1.50', sshPort: 2222 },
    ];
    const names: string[] = [];
    for (const one of typed) names.push(await tellOfMachine(client, one));
    expect(names).toEqual([
      'raspberrypi',
      'raspberrypi',
      'at-192-168-1-77',
      'at-192-168-1-77',
      'at-192-168-1-50-2222',
    ]);
    const made = await client.get(machines, { name: 'at-192-168-1-50-2222' });
    expect(made.spec).toEqual({ address: '192.168.1.50', sshPort: 2222 });
  });

  it('asks a network again by taking the consent back first, since each change is asked once', async () => {
    const generations: number[] = [];
    for (const isAgain of [false, true]) {
      await sweepNetworks(client, ['192.168.1.0/24'], isAgain);
      const path = '/apis/flotilla.dev/v1alpha1/discoveries/home';
      const search = await client.json<FakeObject>({ method: 'PATCH', path, body: '{}' });
      generations.push(Number(search.metadata['generation']));
    }
    expect(generations).toEqual([3, 6]);
  });
});
