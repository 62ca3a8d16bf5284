import { describe, expect, it } from 'vitest';
import type { Node } from '#kube/api/core.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { EngineKeeper, installEngineAnnotation } from './engine-keeper.ts';

interface Given {
  readonly mayInstall?: boolean;
  readonly obstacle?: string;
  readonly failure?: string;
  readonly clearFailure?: string;
  /** Whether the engine is followed at once when it runs. */
  readonly isFollowed?: boolean;
}

const missing = { reason: 'ContainerEngineMissing', message: 'install it' };
const version = { name: 'docker', version: '27.0' };

function keeperWith(given: Given) {
  const { mayInstall = true, obstacle, failure, clearFailure, isFollowed = true } = given;
  const did: string[] = [];
  const shown: string[] = [];
  const clock = new ManualClock();
  const keeper = new EngineKeeper({
    diagnose: () => missing,
    installer: {
      obstacle: () => obstacle,
      async ensure() {
        did.push('ensure');
        shown.push(keeper.problem()?.reason ?? '');
        if (failure !== undefined) throw new Error(failure);
        if (isFollowed) keeper.onState({ kind: 'running', version });
      },
    },
    mayInstall,
    events: {
      event: (_about, type, reason, message) => void did.push(`${type} ${reason}: ${message}`),
    },
    clock,
    logger: silentLogger,
    onChange: () => {},
    async clearRequest() {
      did.push('clear');
      if (clearFailure !== undefined) throw new Error(clearFailure);
    },
  });
  keeper.onState({ kind: 'down', why: 'ENOENT' });
  return { keeper, did, shown, clock };
}

const node = (value?: string): Node => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: {
    name: 'n',
    ...(value === undefined ? {} : { annotations: { [installEngineAnnotation]: value } }),
  },
  spec: {},
});

const begins = 'Normal InstallingEngine: Installing and starting Docker Engine';
const byHand =
  'Flotilla was started with --no-install, so install and start Docker Engine yourself; Flotilla then uses it by itself';

describe('at the start of the agent an engine', () => {
  const cases: { name: string; given: Given; want: string[] }[] = [
    { name: 'is installed unasked where that is possible', given: {}, want: ['ensure'] },
    { name: 'is not with --no-install', given: { mayInstall: false }, want: [] },
    { name: 'is not without root or apt', given: { obstacle: 'needs root' }, want: [] },
    { name: 'may fail to install', given: { failure: 'no network' }, want: ['ensure'] },
  ];
  it.each(cases)('$name', async ({ given, want }) => {
    const { keeper, did } = keeperWith(given);
    await keeper.installAtStart();
    expect(did).toEqual(want);
  });

  it('is said to be installed meanwhile, and why it failed afterwards, until one runs', async () => {
    const { keeper, shown } = keeperWith({ failure: 'no network' });
    await keeper.installAtStart();
    expect(shown).toEqual(['ContainerEngineInstalling']);
    expect(keeper.problem()).toEqual({
      reason: 'ContainerEngineInstallFailed',
      message: 'Installing and starting Docker Engine failed: no network',
    });
    keeper.onState({ kind: 'running', version });
    expect([keeper.problem(), keeper.runtimeVersion()]).toEqual([undefined, 'docker://27.0']);
    keeper.onState({ kind: 'down', why: 'ENOENT' });
    expect(keeper.problem()).toEqual(missing);
  });

  it.each([
    { name: 'with --no-install', given: { mayInstall: false }, why: byHand },
    { name: 'without apt', given: { obstacle: 'no apt-get' }, why: 'no apt-get' },
  ])('is not offered $name, and why', ({ given, why }) => {
    expect(keeperWith(given).keeper.problem()).toEqual({
      reason: 'ContainerEngineNotInstallable',
      message: `There is no container engine on this machine: ${why}`,
    });
  });
});

describe('an engine that somebody asks for by the annotation', () => {
  const cases: { name: string; asked?: string; given?: Given; want: string[] }[] = [
    { name: 'no annotation: nothing', want: [] },
    { name: 'another value: nothing', asked: 'done', want: [] },
    {
      name: 'requested: installed, told by events, the request cleared',
      asked: 'requested',
      want: [begins, 'ensure', 'Normal InstalledEngine: Docker Engine runs', 'clear'],
    },
    {
      name: 'a failure is an event with its reason',
      asked: 'requested',
      given: { failure: 'installing Docker Engine needs root' },
      want: [
        begins,
        'ensure',
        'Warning EngineInstallFailed: installing Docker Engine needs root',
        'clear',
      ],
    },
    {
      name: 'what can not be done is not begun',
      asked: 'requested',
      given: { obstacle: 'no apt-get' },
      want: ['Warning EngineInstallFailed: no apt-get', 'clear'],
    },
    {
      name: '--no-install forbids it to anybody',
      asked: 'requested',
      given: { mayInstall: false },
      want: [`Warning EngineInstallFailed: ${byHand}`, 'clear'],
    },
    {
      name: 'a request that can not be cleared harms nothing',
      asked: 'requested',
      given: { clearFailure: 'the API server is away' },
      want: [begins, 'ensure', 'Normal InstalledEngine: Docker Engine runs', 'clear'],
    },
  ];
  it.each(cases)('$name', async ({ asked, given = {}, want }) => {
    const { keeper, did } = keeperWith(given);
    await keeper.onNode(node(asked));
    expect(did).toEqual(want);
  });

  it('is installed once, however often the node changes meanwhile', async () => {
    const { keeper, did } = keeperWith({});
    await Promise.all([keeper.onNode(node('requested')), keeper.onNode(node('requested'))]);
    expect(did.filter((call) => call === 'ensure')).toHaveLength(1);
  });

  it('is being installed until its containers are followed: it is not called stopped meanwhile', async () => {
    const { keeper, did } = keeperWith({ isFollowed: false });
    const done = keeper.onNode(node('requested'));
    await turns();
    expect([keeper.problem()?.reason, did]).toEqual([
      'ContainerEngineInstalling',
      [begins, 'ensure'],
    ]);
    keeper.onState({ kind: 'running', version });
    await done;
    expect([keeper.problem(), did.at(-1)]).toEqual([undefined, 'clear']);
  });

  it('is not waited for longer than a quarter of a minute', async () => {
    const { keeper, did, clock } = keeperWith({ isFollowed: false });
    const done = keeper.onNode(node('requested'));
    await turns();
    clock.advance(15_000);
    await done;
    expect([keeper.problem(), did.at(-1)]).toEqual([missing, 'clear']);
  });
});

function turns(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
