import { describe, expect, it } from 'vitest';
import type { ReplicaSet } from '#kube/api/apps.ts';
import type { Table } from '#kube/api/object.ts';
import { dayOf } from './calendar.ts';
import {
  displayName,
  formatAgo,
  formatBytes,
  formatCpu,
  formatShare,
  joinWords,
} from './format.ts';
import { appCommands, machineCommands, objectCommands } from './kubectl.ts';
import { filterLogLines, type LogLine, mergeLogLines, parseLogLine } from './log-lines.ts';
import { logoHue, monogram } from './logo.ts';
import { findEntries } from './palette.ts';
import { revisionsOf, rollbackPatch } from './revisions.ts';
import { parseSample } from './samples.ts';
import { alignSeries, appendPoint, sparkPath } from './series.ts';
import { applyTableEvents, rowWindow, sortedRows, tableOf } from './table-rows.ts';
import type { Workload } from './workload.ts';

describe('numbers and times', () => {
  const cases: readonly (readonly [string, string])[] = [
    [formatBytes(0), '0 B'],
    [formatBytes(64 * 2 ** 20), '64 MB'],
    [formatBytes(1.5 * 2 ** 30), '1.5 GB'],
    [formatBytes(1023.9 * 2 ** 20), '1 GB'],
    [formatCpu(120_000_000), '12 %'],
    [formatCpu(1_000_000_000), '1 core'],
    [formatCpu(1_540_000_000), '1.5 cores'],
    [formatShare(0.001), '< 1 %'],
    [formatShare(0), '0 %'],
    [formatAgo('2026-01-01T00:00:00Z', Date.parse('2026-01-01T00:00:02Z')), 'just now'],
    [formatAgo('2026-01-01T00:00:00Z', Date.parse('2026-01-01T00:03:20Z')), '3 min ago'],
    [formatAgo('2026-01-02T00:00:00Z', Date.parse('2026-01-01T00:00:00Z')), 'just now'],
    [joinWords(['a', 'b', 'c']), 'a, b and c'],
    [displayName('my-web_app'), 'My web app'],
  ];
  it.each(cases)('%s', (got, want) => {
    expect(got).toBe(want);
  });

  it('names days by the calendar, not by hours gone', () => {
    const now = new Date(2026, 0, 2, 0, 5).getTime();
    const timestamps = [
      new Date(2026, 0, 2, 0, 1),
      new Date(2026, 0, 1, 23, 59),
      new Date(2025, 11, 31, 12),
    ];
    expect(timestamps.map((one) => dayOf(one.toISOString(), now))).toEqual([
      'Today',
      'Yesterday',
      '31 December',
    ]);
  });
});

describe('series', () => {
  it('keeps only the newest points, in order', () => {
    let series = appendPoint([], { timeMs: 1, value: 1 }, 2);
    for (const timeMs of [2, 3, 3]) series = appendPoint(series, { timeMs, value: timeMs }, 2);
    expect(series.map(({ timeMs }) => timeMs)).toEqual([2, 3]);
  });

  it('joins series at all their times, with gaps where one has none', () => {
    const aligned = alignSeries([[{ timeMs: 1, value: 5 }], [{ timeMs: 2, value: 6 }]]);
    expect(aligned).toEqual({
      times: [1, 2],
      values: [
        [5, null],
        [null, 6],
      ],
    });
  });

  it('draws a level line at the bottom for zero, and nothing for one point', () => {
    const size = { width: 10, height: 10 };
    expect(
      sparkPath(
        [
          { timeMs: 0, value: 0 },
          { timeMs: 1, value: 0 },
        ],
        size,
      ),
    ).toBe('M0.0 9.0L10.0 9.0');
    expect(sparkPath([{ timeMs: 0, value: 0 }], size)).toBe('');
  });
});

describe('parseSample', () => {
  it.each([undefined, 1, 'x', {}, { time: 'never' }])('refuses %j', (value) => {
    expect(parseSample(value)).toBeUndefined();
  });

  it('leaves out what is not a number', () => {
    const sample = parseSample({
      time: 1,
      node: { cpuNanoCores: 'many' },
      pods: [null, { name: 'a' }],
    });
    expect([
      sample?.node,
      sample?.pods.map(({ name, containers }) => [name, containers.length]),
    ]).toEqual([{}, [['a', 0]]]);
  });
});

describe('log lines', () => {
  function line(id: number, source: string, time: string): LogLine {
    return { id, source, time, text: `text ${id}` };
  }

  it('takes the timestamp off, and colours of terminals', () => {
    expect(parseLogLine('2026-01-01T00:00:00.5Z \u001B[31mred\u001B[0m alert')).toEqual({
      time: '2026-01-01T00:00:00.5Z',
      text: 'red alert',
    });
    expect(parseLogLine('no stamp')).toEqual({ time: '', text: 'no stamp' });
  });

  it('orders copies by time, but never the lines of one copy', () => {
    const known = [line(1, 'a', '03'), line(2, 'b', '05')];
    const merged = mergeLogLines(known, [line(3, 'a', '04'), line(4, 'b', '01')]);
    expect(merged.map(({ id }) => id)).toEqual([1, 3, 2, 4]);
  });

  it('forgets the oldest past its bound', () => {
    expect(
      mergeLogLines([line(1, 'a', '1'), line(2, 'a', '2')], [line(3, 'a', '3')], 2).map(
        ({ id }) => id,
      ),
    ).toEqual([2, 3]);
  });

  it('finds text whatever its case', () => {
    expect(
      filterLogLines([line(1, 'a', ''), line(2, 'a', '')], ' TEXT 2').map(({ id }) => id),
    ).toEqual([2]);
  });
});

describe('tables', () => {
  function table(name: string, resourceVersion: string): Table {
    return {
      kind: 'Table',
      apiVersion: 'meta.k8s.io/v1',
      metadata: { resourceVersion },
      columnDefinitions: [],
      rows: [{ cells: [name, 'Running'], object: { metadata: { name, namespace: 'default' } } }],
    };
  }
  const first = tableOf(table('web-10', '5'));

  it('takes rows over from events and remembers where it is', () => {
    const added = applyTableEvents(first, [{ type: 'ADDED', object: table('web-2', '6') }]);
    const gone =
      added && applyTableEvents(added, [{ type: 'DELETED', object: table('web-10', '7') }]);
    expect(added && sortedRows(added, '').map(({ name }) => name)).toEqual(['web-2', 'web-10']);
    expect([gone?.resourceVersion, gone && sortedRows(gone, '').length]).toEqual(['7', 1]);
  });

  it('adds nothing for a bookmark but its version', () => {
    const marked = applyTableEvents(first, [{ type: 'BOOKMARK', object: table('', '9') }]);
    expect([marked?.resourceVersion, marked?.rows.size]).toEqual(['9', 1]);
  });

  it('asks for a new list when the history is gone', () => {
    expect(
      applyTableEvents(first, [{ type: 'ERROR', object: { kind: 'Status', code: 410 } }]),
    ).toBeUndefined();
  });

  it('searches all cells', () => {
    expect([sortedRows(first, 'RUNN').length, sortedRows(first, 'failed').length]).toEqual([1, 0]);
  });
});

describe('findEntries', () => {
  const entries = ['Jellyfin', 'Logs of Jellyfin', 'Project', 'Web'].map(
    (label) => ({ kind: 'app', label, note: '' }) as const,
  );
  it('puts beginnings before words, words before what is inside', () => {
    expect(findEntries(entries, 'j').map(({ label }) => label)).toEqual([
      'Jellyfin',
      'Logs of Jellyfin',
      'Project',
    ]);
  });
  it('forgives left-out letters', () => {
    expect(findEntries(entries, 'jlf').map(({ label }) => label)).toEqual([
      'Jellyfin',
      'Logs of Jellyfin',
    ]);
  });
  it('shows everything but kinds before one types', () => {
    expect(findEntries([...entries, { kind: 'kind', label: 'Pod', note: '' }], '')).toHaveLength(4);
  });
});

describe('kubectl commands', () => {
  it('name the space only where it is not the default one', () => {
    const target = { kind: 'deployment', namespace: 'media', name: 'web' };
    expect(appCommands(target, 2).map(({ line }) => line)).toContain(
      'kubectl scale deployment/web --replicas=2 -n media',
    );
    expect(
      appCommands({ ...target, namespace: 'default' }, 2).some(({ line }) => line.includes('-n ')),
    ).toBe(false);
  });
  it('neither scale a DaemonSet nor roll out a ReplicationController', () => {
    const lines = (kind: string): string =>
      appCommands({ kind, namespace: 'default', name: 'x' }, 1)
        .map(({ line }) => line)
        .join();
    expect([
      lines('daemonset').includes('scale'),
      lines('replicationcontroller').includes('rollout'),
    ]).toEqual([false, false]);
  });
  it('quote what a shell would take apart', () => {
    expect(objectCommands({ kind: 'pod', namespace: '', name: "a'b" })[0]?.line).toBe(
      String.raw`kubectl get pod 'a'\''b' -o yaml`,
    );
    expect(machineCommands('pi', true).at(-1)?.line).toBe('kubectl uncordon pi');
  });
});

describe('revisionsOf', () => {
  it('tells versions newest first and marks the current one', () => {
    const annotations = (revision: string) => ({ 'deployment.kubernetes.io/revision': revision });
    const sets = ['1', '3', '2'].map((revision) => ({
      metadata: {
        name: revision,
        uid: revision,
        annotations: annotations(revision),
        ownerReferences: [{ uid: 'd' }],
      },
    })) as unknown as ReplicaSet[];
    const stranger = { metadata: { name: 'x' } } as unknown as ReplicaSet;
    const workload = {
      metadata: { uid: 'd', annotations: annotations('3') },
    } as unknown as Workload;
    expect(
      revisionsOf(workload, [...sets, stranger]).map(({ number, isCurrent }) => [
        number,
        isCurrent,
      ]),
    ).toEqual([
      [3, true],
      [2, false],
      [1, false],
    ]);
  });
});

describe('logos', () => {
  it('are the same every time', () => {
    expect([
      monogram('home-assistant'),
      monogram('jellyfin'),
      monogram('x'),
      logoHue('web') === logoHue('web'),
    ]).toEqual(['HA', 'Je', 'X', true]);
  });
});

describe('rowWindow', () => {
  const screen = { count: 5000, rowHeight: 40, screenHeight: 800 };
  it.each([
    ['the first rows before any scrolling', { ...screen, top: 200 }, { first: 0, end: 40 }],
    ['rows round the screen in the middle', { ...screen, top: -40_000 }, { first: 980, end: 1040 }],
    ['no more rows than there are', { ...screen, top: -199_500 }, { first: 4960, end: 5000 }],
    ['all of a short list', { ...screen, count: 3, top: 0 }, { first: 0, end: 3 }],
    ['nothing of an empty one', { ...screen, count: 0, top: 0 }, { first: 0, end: 0 }],
  ])('%s', (_name, given, want) => {
    expect(rowWindow(given)).toEqual(want);
  });
});

describe('rollbackPatch', () => {
  it('writes the old template without the label of its ReplicaSet, on top of what is shown', () => {
    const workload = {
      kind: 'Deployment',
      metadata: {
        name: 'web',
        uid: 'u1',
        resourceVersion: '9',
        annotations: { 'deployment.kubernetes.io/revision': '3' },
      },
    } as unknown as Workload;
    const sets = ['1', '2', '3'].map((revision) => ({
      metadata: {
        name: `web-${revision}`,
        annotations: { 'deployment.kubernetes.io/revision': revision },
        ownerReferences: [{ uid: 'u1' }],
      },
      spec: {
        template: {
          metadata: { labels: { app: 'web', 'pod-template-hash': revision } },
          spec: { containers: [{ name: 'web', image: `web:${revision}` }] },
        },
      },
    })) as unknown as ReplicaSet[];
    const previous = revisionsOf(workload, sets).find(({ isPrevious }) => isPrevious);
    expect(previous && rollbackPatch(workload, previous)).toEqual([
      { op: 'replace', path: '/metadata/resourceVersion', value: '9' },
      {
        op: 'replace',
        path: '/spec/template',
        value: {
          metadata: { labels: { app: 'web' } },
          spec: { containers: [{ name: 'web', image: 'web:2' }] },
        },
      },
    ]);
  });
});
