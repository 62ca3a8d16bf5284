import { describe, expect, it } from 'vitest';
import type { Node } from '#kube/api/core.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { EngineKeeper, installEngineAnnotation } from './engine-keeper.ts';

interface Given {
  readonly mayInstall?: boolean;
  readonly obstacle?: string;
  readonly failure?: string;
  readonly clearFailure?: string;
}

function keeperWith({ mayInstall = true, obstacle, failure, clearFailure }: Given) {
  const did: string[] = [];
  const shown: string[] = [];
  const keeper = new EngineKeeper({
    environment: { variables: {}, isRoot: true },
    installer: {
      obstacle: () => obstacle,
      async ensure() {
        did.push('ensure');
        shown.push(keeper.problem()?.message ?? '');
        if (failure !== undefined) throw new Error(failure);
      },
    },
    mayInstall,
    events: {
      event: (_about, type, reason, message) => void did.push(`${type} ${reason}: ${message}`),
    },
    logger: silentLogger,
    onChange: () => {},
    async clearRequest() {
      did.push('clear');
      if (clearFailure !== undefined) throw new Error(clearFailure);
    },
  });
  keeper.onState({ kind: 'down', why: 'ENOENT' });
  return { keeper, did, shown };
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
const busy = 'Docker Engine is being installed and started on this machine';

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
    expect(shown).toEqual([busy]);
    expect(keeper.problem()?.message).toMatch(/\. Installing it failed: no network$/);
    keeper.onState({ kind: 'running', version: { name: 'docker', version: '27.0' } });
    expect([keeper.problem(), keeper.runtimeVersion()]).toEqual([undefined, 'docker://27.0']);
    keeper.onState({ kind: 'down', why: 'ENOENT' });
    expect(keeper.problem()?.message).not.toContain('no network');
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
      name: '--no-install forbids it to anybody',
      asked: 'requested',
      given: { mayInstall: false },
      want: ['Warning EngineInstallFailed: this agent was started with --no-install', 'clear'],
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
});
