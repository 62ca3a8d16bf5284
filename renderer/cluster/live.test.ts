import { describe, expect, it } from 'vitest';
import type { Pod } from '#kube/api/core.ts';
import { parseSample } from '../state/samples.ts';
import { appSeries } from './app-usage.ts';
import { sourcesOf } from './app-logs.ts';
import { addSample, noUsage, type NodeStats } from './live-stats.ts';
import { tokenOf } from './session.ts';

describe('addSample', () => {
  const empty: NodeStats = { latest: undefined, node: noUsage, pods: new Map() };
  function sample(second: number, pods: object[]) {
    const parsed = parseSample({
      time: new Date(second * 1000).toISOString(),
      node: { cpuNanoCores: 5 },
      pods,
    });
    if (parsed === undefined) throw new Error('not a sample');
    return parsed;
  }
  const web = {
    namespace: 'default',
    name: 'web',
    containers: [
      { name: 'a', cpuNanoCores: 1 },
      { name: 'b', cpuNanoCores: 2 },
    ],
  };

  it('adds up the containers of a pod', () => {
    const stats = addSample(addSample(empty, sample(1, [web])), sample(2, [web]));
    expect(stats.pods.get('default/web')?.cpu.map(({ value }) => value)).toEqual([3, 3]);
  });

  it('forgets pods that have gone', () => {
    const stats = addSample(addSample(empty, sample(1, [web])), sample(2, []));
    expect([...stats.pods.keys()]).toEqual([]);
  });

  it('draws nothing for what is unknown, rather than zero', () => {
    const stats = addSample(empty, sample(1, [web]));
    expect(stats.pods.get('default/web')?.memory).toEqual([]);
  });
});

describe('appSeries', () => {
  it('sums copies second by second, also of machines that sample a little apart', () => {
    const usage = new Map([
      [
        'a',
        {
          ...noUsage,
          cpu: [
            { timeMs: 1010, value: 1 },
            { timeMs: 2010, value: 2 },
          ],
        },
      ],
      ['b', { ...noUsage, cpu: [{ timeMs: 1990, value: 10 }] }],
    ]);
    expect(appSeries(usage, 'cpu')).toEqual([
      { timeMs: 1000, value: 1 },
      { timeMs: 2000, value: 12 },
    ]);
    expect(appSeries(usage, 'cpu', 1)).toEqual([{ timeMs: 2000, value: 12 }]);
  });
});

describe('sourcesOf', () => {
  function pod(state: object, lastState: object = {}): Pod {
    return {
      metadata: { name: 'web', namespace: 'default' },
      status: { containerStatuses: [{ name: 'main', state, lastState }] },
    } as unknown as Pod;
  }
  it('asks for no log before a container has run', () => {
    expect(sourcesOf([pod({ waiting: { reason: 'ContainerCreating' } })])).toEqual([]);
  });
  it('asks for the log of one that waits to be started again', () => {
    expect(
      sourcesOf([
        pod({ waiting: { reason: 'CrashLoopBackOff' } }, { terminated: { exitCode: 1 } }),
      ]),
    ).toHaveLength(1);
  });
});

describe('tokenOf', () => {
  it.each([
    ['#token=abc-123', 'abc-123'],
    ['#0123456789abcdef0', '0123456789abcdef0'],
    ['#section', undefined],
    ['', undefined],
  ])('%s → %s', (hash, want) => {
    expect(tokenOf(hash)).toBe(want);
  });
});
