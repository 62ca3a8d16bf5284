import { describe, expect, it } from 'vitest';
import type { Node } from '#kube/api/core.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import {
  cardsAnnotation,
  operationAnnotation,
  operationOf,
  operationText,
  wakeAnnotation,
  type Operation,
} from '#kube/machinery/node-operations.ts';
import { NodeOperator } from './node-operator.ts';
import { Waker } from './waker.ts';

function nodeWith(annotations: Record<string, string>, name = 'pi', ready = 'Unknown'): Node {
  const status = { conditions: [{ type: 'Ready', status: ready }] };
  return { apiVersion: 'v1', kind: 'Node', metadata: { name, annotations }, spec: {}, status };
}

const asked = (more: Partial<Operation> = {}): Node => {
  const operation: Operation = { id: 'a', action: 'Reboot', state: 'Due', since: 'then', ...more };
  return nodeWith({ [operationAnnotation]: operationText(operation) });
};

/** What it wrote and did, in order. */
function operator(problem: { write?: Error; act?: Error } = {}) {
  const done: string[] = [];
  const act = (what: string) => async () => {
    done.push(what);
    if (problem.act !== undefined) throw problem.act;
  };
  const made = new NodeOperator({
    actions: { Reboot: act('reboots'), Sleep: act('sleeps'), Remove: act('removes') },
    bootId: () => 'now',
    annotate: async (annotations) => {
      if (problem.write !== undefined) throw problem.write;
      const { state, message = '' } = operationOf(nodeWith(annotations as Record<string, string>))!;
      done.push(`writes ${state}${message && `: ${message}`}`);
    },
    events: { event: () => {} },
    clock: new ManualClock(),
    logger: silentLogger,
  });
  return { made, done };
}

describe('what is asked of this machine', () => {
  const cases: readonly [string, Partial<Operation>, string[]][] = [
    ['waits while others move', { state: 'Leaving' }, []],
    ['is written down, then done', {}, ['writes Acting', 'reboots']],
    [
      'is said to be impossible where it is',
      { action: 'ShutDown' },
      ['writes Failed: This machine can not do it'],
    ],
    [
      'is over when the machine is here again',
      { state: 'Acting', bootId: 'before' },
      ['writes Done'],
    ],
    [
      'was not done when only the agent is',
      { state: 'Acting', bootId: 'now' },
      ['writes Failed: The agent was started anew, and the machine did not go down'],
    ],
    [
      'is over when who slept is awake',
      { action: 'Sleep', state: 'Acting', bootId: 'now' },
      ['writes Done'],
    ],
    [
      'failed when a removal left the agent',
      { action: 'Remove', state: 'Acting', bootId: 'now' },
      [
        'writes Failed: The removal ended early, and the agent runs again: journalctl -u flotilla-removal',
      ],
    ],
    ['that failed is for people', { state: 'Failed' }, []],
  ];
  it.each(cases)('%s', async (_, given, want) => {
    const { made, done } = operator();
    await made.onNode(asked(given));
    expect(done).toEqual(want);
  });

  it('is not done when it can’t be written down first: it would be done again and again', async () => {
    const { made, done } = operator({ write: new Error('no API server') });
    await made.onNode(asked());
    expect(done).toEqual([]);
  });

  it('is done once, though its own mark comes back', async () => {
    const { made, done } = operator();
    await made.onNode(asked());
    await made.onNode(asked({ state: 'Acting', bootId: 'now' }));
    await made.onNode(asked());
    expect(done).toEqual(['writes Acting', 'reboots']);
  });

  it('and refused by the system is said in its words', async () => {
    const { made, done } = operator({ act: new Error('Access denied') });
    await made.onNode(asked());
    expect(done).toEqual(['writes Acting', 'reboots', 'writes Failed: Access denied']);
  });

  it('ends with waking up', async () => {
    const { made, done } = operator();
    await made.onNode(asked({ action: 'Sleep' }));
    await made.onResume();
    expect(done).toEqual(['writes Acting', 'sleeps', 'writes Done']);
  });
});

describe('others that are to be woken', () => {
  const card = { name: 'eth0', address: 'b8:27:eb:12:34:56', network: '192.168.1.20/24' };
  const request = (id: string, at: string) => ({
    [wakeAnnotation]: JSON.stringify({ id, at }),
    [cardsAnnotation]: JSON.stringify([card]),
  });
  const fresh = '1970-01-01T00:00:00Z';
  it.each([
    [
      'once for each request',
      [nodeWith(request('a', fresh)), nodeWith(request('a', fresh)), nodeWith(request('b', fresh))],
      2,
    ],
    ['not when they are awake', [nodeWith(request('a', fresh), 'pi', 'True')], 0],
    ['not this machine', [nodeWith(request('a', fresh), 'pc')], 0],
    ['not for an old request', [nodeWith(request('a', '1969-12-31T23:00:00Z'))], 0],
  ])('are sent a packet %s', (_, nodes, want) => {
    const sent: unknown[] = [];
    const clock = new ManualClock(Date.parse(fresh));
    const waker = new Waker({
      nodeName: 'pc',
      clock,
      wake: async (cards) => void sent.push(cards),
    });
    for (const node of nodes) waker.onNode(node);
    expect(sent.length).toBe(want);
  });
});
