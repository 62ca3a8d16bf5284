import { describe, expect, it } from 'vitest';
import type { Node } from '#kube/api/core.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { nextUpgrade } from './plan.ts';

const nowMs = 1_700_000_000_000;
const old = `0.1.0+${'a'.repeat(12)}`;
const older = `0.0.9+${'c'.repeat(12)}`;
const fresh = `0.2.0+${'b'.repeat(12)}`;

interface Given {
  readonly runs?: string;
  readonly told?: string;
  readonly report?: string;
  readonly isReady?: boolean;
  readonly architecture?: string;
  /** Minutes ago. */
  readonly toldAgo?: number;
}

function node(name: string, given: Given = {}): Node {
  const { runs, told, report, isReady = true, architecture = 'amd64', toldAgo } = given;
  const since = toldAgo === undefined ? undefined : rfc3339(nowMs - toldAgo * 60_000);
  const annotations = Object.entries({
    version: runs,
    target: told,
    upgrade: report,
    'target-since': since,
  })
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => [`flotilla.dev/agent-${key}`, value]);
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, annotations: Object.fromEntries(annotations) },
    spec: {},
    status: {
      conditions: [{ type: 'Ready', status: isReady ? 'True' : 'False' }],
      nodeInfo: { architecture },
    },
  } as Node;
}

const wanted = (architecture: string) => (architecture === 'amd64' ? fresh : undefined);
const failed = (version: string) => `${version.slice(-12)} Failed: ended with code 1`;

describe('the next machine that gets the new agent', () => {
  const cases: readonly [string, Node[], object][] = [
    ['none in an empty cluster', [], { type: 'done' }],
    [
      'the first by name',
      [node('b', { runs: old }), node('a', { runs: old })],
      { type: 'tell', nodeName: 'a', version: fresh },
    ],
    [
      'none while one is at it',
      [node('a', { runs: old }), node('b', { runs: old, told: fresh })],
      { type: 'wait', nodeName: 'b' },
    ],
    [
      'none before the last one is ready again',
      [node('a', { runs: fresh, told: fresh, isReady: false }), node('b', { runs: old })],
      { type: 'wait', nodeName: 'a' },
    ],
    [
      'the second when the first is ready',
      [node('a', { runs: fresh, told: fresh }), node('b', { runs: old })],
      { type: 'tell', nodeName: 'b', version: fresh },
    ],
    [
      'none while one is at it for some minutes, though it is silent',
      [
        node('a', { runs: old, told: fresh, isReady: false, toldAgo: 14 }),
        node('b', { runs: old }),
      ],
      { type: 'wait', nodeName: 'a' },
    ],
    [
      'the next one when one does not come back for long',
      [
        node('a', { runs: old, told: fresh, isReady: false, toldAgo: 16 }),
        node('b', { runs: old }),
      ],
      { type: 'tell', nodeName: 'b', version: fresh },
    ],
    [
      'or can not get it for long',
      [node('a', { runs: old, told: fresh, toldAgo: 16 }), node('b', { runs: old })],
      { type: 'tell', nodeName: 'b', version: fresh },
    ],
    [
      'none any more when two do not come back',
      [
        node('a', { runs: old, told: fresh, isReady: false, toldAgo: 60 }),
        node('b', { runs: old, told: fresh, isReady: false, toldAgo: 16 }),
        node('c', { runs: old }),
      ],
      { type: 'stop', nodeName: 'b', why: 'neither it nor a came back from the upgrade' },
    ],
    [
      'none once it failed on one',
      [node('a', { runs: old, told: fresh, report: failed(fresh) }), node('b', { runs: old })],
      { type: 'stop', nodeName: 'a', why: 'ended with code 1' },
    ],
    [
      'one on which an earlier release failed',
      [node('a', { runs: older, told: old, report: failed(old) })],
      { type: 'tell', nodeName: 'a', version: fresh },
    ],
    [
      'one that is on the way to an earlier release, before all others',
      [node('a', { runs: older }), node('b', { runs: older, told: old })],
      { type: 'tell', nodeName: 'b', version: fresh },
    ],
    [
      'none of those that are off',
      [node('a', { runs: old, isReady: false }), node('b', { runs: old })],
      { type: 'tell', nodeName: 'b', version: fresh },
    ],
    [
      'none that is upgraded by its own supervisor, or has no package',
      [node('a'), node('b', { runs: old, architecture: 'arm64' })],
      { type: 'done' },
    ],
  ];
  it.each(cases)('%s', (_, nodes, want) => {
    expect(nextUpgrade(nodes, wanted, nowMs)).toEqual(want);
  });
});
