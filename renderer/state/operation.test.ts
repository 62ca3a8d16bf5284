import { describe, expect, it } from 'vitest';
import type { Node } from '#kube/api/core.ts';
import { operationText, type Operation } from '#kube/machinery/node-operations.ts';
import { describeHome, homeNote } from './home.ts';
import { describeMachine } from './machine.ts';
import { describeAgent, describeOperation, fatesOf } from './operation.ts';

function node(annotations: Record<string, string>, ready = 'True'): Node {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'pi', annotations },
    spec: { unschedulable: true },
    status: { conditions: [{ type: 'Ready', status: ready, reason: 'x' }] },
  };
}
const asked = (more: Partial<Operation>): Record<string, string> => ({
  'flotilla.dev/operation': operationText({
    id: 'a',
    action: 'Reboot',
    state: 'Due',
    since: 'then',
    ...more,
  }),
});

describe('what is being done with a machine', () => {
  const cases: readonly [string, Partial<Operation>, string, string][] = [
    ['its apps move', { action: 'ShutDown', state: 'Leaving' }, 'True', 'busy Shutting down'],
    ['it restarts', { state: 'Acting' }, 'Unknown', 'busy Restarting'],
    [
      'it is off as it was asked',
      { action: 'ShutDown', state: 'Acting' },
      'Unknown',
      'gone Shut down',
    ],
    ['it sleeps as it was asked', { action: 'Sleep', state: 'Acting' }, 'Unknown', 'asleep Asleep'],
    ['it is taken out', { action: 'Remove', state: 'Acting' }, 'False', 'busy Being taken out'],
    [
      'what failed leaves it as it is',
      { state: 'Failed', message: 'no' },
      'True',
      'asleep Closed for new copies',
    ],
  ];
  it.each(cases)('%s', (_, operation, ready, want) => {
    const { tone, word } = describeMachine(node(asked(operation), ready), []);
    expect(`${tone} ${word}`).toBe(want);
  });

  it('is no alarm while it is meant, and needs somebody when it failed', () => {
    const titles = (operation: Partial<Operation>, ready: string) =>
      describeHome([], [describeMachine(node(asked(operation), ready), [])]).attention.map(
        ({ title }) => title,
      );
    expect(titles({ state: 'Acting' }, 'Unknown')).toEqual([]);
    expect(titles({ state: 'Failed', message: 'no' }, 'True')).toEqual(['pi did not restart']);
  });

  it('is nothing where nothing was asked, or what is written can not be read', () => {
    expect(describeOperation(node({}))).toBeUndefined();
    expect(describeOperation(node({ 'flotilla.dev/operation': '{' }))).toBeUndefined();
  });

  it('names what ends before what moves', () => {
    const pod = (name: string, outcome: 'Moves' | 'Waits' | 'Ends') => ({
      namespace: 'd',
      name,
      outcome,
      why: 'w',
    });
    const pods = [pod('a', 'Moves'), pod('b', 'Moves'), pod('c', 'Ends')];
    const fates = fatesOf({ phase: 'Planned', pods }, ({ name }) => name.toUpperCase());
    expect(
      fates.map(({ heading, pods: own }) => `${heading}: ${own.map(({ name }) => name).join()}`),
    ).toEqual(['1 copy ends for good: C', '2 copies move to another machine: A,B']);
  });
});

describe('the agent of a machine', () => {
  const [old, fresh] = [`0.1.0+${'a'.repeat(12)}`, `0.2.0+${'b'.repeat(12)}`];
  const at = (version: string, target?: string, upgrade?: string, more = {}) =>
    node({
      'flotilla.dev/agent-version': version,
      ...(target !== undefined && { 'flotilla.dev/agent-target': target }),
      ...(upgrade !== undefined && { 'flotilla.dev/agent-upgrade': upgrade }),
      ...more,
    });
  const cases: readonly [string, Node, string | undefined][] = [
    ['not a package', node({}), undefined],
    ['the present one', at(fresh, fresh), 'ok 0.2.0'],
    [
      'another is under way',
      at(old, fresh),
      'busy 0.1.0 It is getting the agent 0.2.0; apps run on.',
    ],
    [
      'another build of the same',
      at(old, old.replace('aa', 'cc')),
      'busy 0.1.0 It is getting another agent; apps run on.',
    ],
    [
      'it can’t be had',
      at(old, fresh, `${'b'.repeat(12)} Waits: no route`),
      "wait 0.1.0 It is to run the agent 0.2.0, and can't get it yet.",
    ],
    [
      'it went back',
      at(old, fresh, `${'b'.repeat(12)} Failed: ended with code 1`),
      'trouble 0.1.0 The new agent did not get well, and it went back to this one by itself. No other machine gets it meanwhile.',
    ],
    [
      'it tries again',
      at(old, fresh, `${'b'.repeat(12)} Failed: x`, { 'flotilla.dev/agent-retry': 'requested' }),
      'busy 0.1.0 It tries the new agent once more.',
    ],
  ];
  it.each(cases)('%s', (_, given, want) => {
    const agent = describeAgent(given);
    expect(agent && [agent.tone, agent.version, agent.text].filter(Boolean).join(' ')).toBe(want);
  });

  it('that went back needs somebody, in the machine’s words', () => {
    const failed = at(old, fresh, `${'b'.repeat(12)} Failed: ended with code 1`);
    const [attention] = describeHome([], [describeMachine(failed, [])]).attention;
    expect([attention?.title, attention?.original]).toEqual([
      'pi went back to its former agent',
      'ended with code 1',
    ]);
  });
});

it('a machine is called what people call it', () => {
  const given = node({ 'flotilla.dev/display-name': ' Kitchen\n Pi ' }, 'Unknown');
  const machine = describeMachine(given, []);
  expect([machine.title, machine.name]).toEqual(['Kitchen Pi', 'pi']);
});

it('a home without machines says what to do, not where an agent is started', () => {
  expect(homeNote([], [], () => undefined)).toBe('Add one, and it keeps your apps.');
});
