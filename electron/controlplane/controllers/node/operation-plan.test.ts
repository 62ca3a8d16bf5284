import { describe, expect, it } from 'vitest';
import type { Node, Pod } from '#kube/api/core.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import type { Operation } from '#kube/machinery/node-operations.ts';
import { nextStep } from './operation-plan.ts';

const nowMs = 1_700_000_000_000;
const ago = (seconds: number): string => rfc3339(nowMs - seconds * 1000);
const node = (ready: string, bootID = 'first'): Node =>
  ({
    metadata: { name: 'pi' },
    spec: {},
    status: { conditions: [{ type: 'Ready', status: ready }], nodeInfo: { bootID } },
  }) as unknown as Node;
const pod = (name: string, isGoing = false): Pod =>
  ({
    metadata: { namespace: 'default', name, ...(isGoing && { deletionTimestamp: ago(1) }) },
    spec: {},
  }) as Pod;
const operation = (more: Partial<Operation>): Operation => ({
  id: 'x',
  action: 'ShutDown',
  state: 'Leaving',
  since: ago(10),
  ...more,
});

describe('the next step with a machine', () => {
  const [web, stays] = [pod('web'), pod('stays')];
  const cases: readonly [string, Node, Partial<Operation>, Pod[], object][] = [
    [
      'its pods go first',
      node('True'),
      {},
      [web, stays],
      { type: 'evict', pods: [web], againMs: 2000 },
    ],
    [
      'those that go already are waited for',
      node('True'),
      {},
      [pod('web', true)],
      { type: 'evict', pods: [], againMs: 2000 },
    ],
    ['then it is its agent’s turn', node('True'), {}, [stays], { type: 'hand-over' }],
    [
      'not when they don’t leave',
      node('True'),
      { since: ago(301) },
      [web],
      {
        type: 'give-up',
        why: expect.stringMatching(
          /^Not all pods left pi .*\(web\).*Nothing was done to the machine$/,
        ),
      },
    ],
    [
      'nor when it falls silent',
      node('Unknown'),
      {},
      [],
      { type: 'give-up', why: 'pi fell silent before it could shut down' },
    ],
    [
      'one that is gone goes without its agent',
      node('Unknown'),
      { action: 'Remove', isWithoutAgent: true },
      [web],
      { type: 'delete', remember: true },
    ],
    [
      'unless it is back',
      node('True'),
      { action: 'Remove', isWithoutAgent: true },
      [],
      { type: 'hand-over' },
    ],
    [
      'an agent has two minutes to begin',
      node('True'),
      { state: 'Due' },
      [],
      { type: 'wait', againMs: 110_000 },
    ],
    [
      'one that is down is waited for',
      node('Unknown'),
      { state: 'Acting', bootId: 'first', since: ago(99_999) },
      [],
      { type: 'wait' },
    ],
    [
      'an agent that was started anew is not the machine',
      node('True'),
      { state: 'Acting', bootId: 'first' },
      [],
      { type: 'wait' },
    ],
    [
      'one that is back is as before',
      node('True', 'second'),
      { state: 'Acting', bootId: 'first' },
      [],
      { type: 'finish' },
    ],
    [
      'a removal has a quarter of an hour',
      node('False'),
      { action: 'Remove', state: 'Acting', since: ago(900) },
      [],
      { type: 'give-up', why: expect.stringMatching(/did not come to its end/) },
    ],
    [
      'its last word',
      node('False'),
      { action: 'Remove', state: 'Removed' },
      [],
      { type: 'delete', remember: false },
    ],
    [
      'what failed stays for people',
      node('True'),
      { state: 'Failed', since: ago(99_999) },
      [web],
      { type: 'wait' },
    ],
  ];
  it.each(cases)('%s', (_, given, more, pods, want) => {
    const outcomes = pods.map(({ metadata }) => ({
      namespace: 'default',
      name: metadata.name,
      outcome: metadata.name === 'stays' ? ('Waits' as const) : ('Moves' as const),
      why: '',
    }));
    expect(nextStep({ node: given, operation: operation(more), pods, outcomes, nowMs })).toEqual(
      want,
    );
  });
});
