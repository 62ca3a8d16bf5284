import { describe, expect, it } from 'vitest';
import type { Node, PersistentVolume, PersistentVolumeClaim, Pod } from '../api/core.ts';
import type { NodeAction } from '../api/fleet.ts';
import { planDeparture, type DepartureInput } from './departure.ts';
import { actionsAnnotation, cardsAnnotation, operationAnnotation } from './node-operations.ts';

function node(name: string, more: { ready?: string; asleep?: boolean; annotations?: object } = {}) {
  const { ready = 'True', asleep = false, annotations = {} } = more;
  const all = { [actionsAnnotation]: 'Reboot,ShutDown,Sleep,Remove', ...annotations };
  const conditions = [{ type: 'Ready', status: ready }];
  if (asleep) conditions.push({ type: 'Asleep', status: 'True' });
  const labels = { 'kubernetes.io/hostname': name };
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels, annotations: all },
    spec: {},
    status: { conditions },
  } as Node;
}

function pod(name: string, owner?: string, more: object = {}): Pod {
  const ownerReferences =
    owner === undefined
      ? []
      : [{ apiVersion: 'apps/v1', kind: owner, name: 'x', uid: 'u', controller: true }];
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { namespace: 'default', name, ownerReferences },
    spec: { containers: [], ...more },
  };
}

const claim = (name: string): PersistentVolumeClaim =>
  ({ metadata: { name }, spec: { volumeName: `pv-${name}` } }) as PersistentVolumeClaim;
const volumeOn = (host: string): PersistentVolume =>
  ({
    spec: {
      nodeAffinity: {
        required: {
          nodeSelectorTerms: [
            {
              matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: [host] }],
            },
          ],
        },
      },
    },
  }) as PersistentVolume;
const withClaim = {
  volumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'films' } }],
};

function plan(action: NodeAction, more: Partial<DepartureInput> = {}) {
  return planDeparture({
    action,
    node: node('pi'),
    nodes: [node('pi'), node('pc')],
    pods: [],
    claim: (_namespace, name) => claim(name),
    volume: () => volumeOn('pi'),
    keepers: new Map([['laptop', true]]),
    ...more,
  });
}

const outcomes = (action: NodeAction, pods: readonly Pod[], more: Partial<DepartureInput> = {}) =>
  plan(action, { pods, ...more }).pods.map(
    ({ name, outcome, why }) => `${name} ${outcome}: ${why}`,
  );

describe('what becomes of the pods of a machine that goes', () => {
  const web = pod('web', 'ReplicaSet');
  const films = pod('films', 'ReplicaSet', withClaim);
  const cases: readonly [string, NodeAction, Pod[], Partial<DepartureInput>, string[]][] = [
    [
      'all wait for one that sleeps',
      'Sleep',
      [web, films],
      {},
      [
        'web Waits: It goes on when the machine wakes',
        'films Waits: It goes on when the machine wakes',
      ],
    ],
    ['an app moves', 'ShutDown', [web], {}, ['web Moves: It starts on another machine']],
    ['its data does not', 'ShutDown', [films], {}, ['films Waits: Its data is here (claim films)']],
    [
      'but from a share it is had anywhere',
      'ShutDown',
      [films],
      { volume: () => ({ spec: {} }) as PersistentVolume },
      ['films Moves: It starts on another machine'],
    ],
    [
      'one that is each machine’s stays',
      'ShutDown',
      [pod('log', 'DaemonSet')],
      {},
      ['log Waits: It belongs to each machine, and to this one only here'],
    ],
    [
      'one that nothing makes again is lost',
      'ShutDown',
      [pod('try')],
      {},
      ['try Ends: It belongs to no app that would start it elsewhere'],
    ],
    [
      'where no other machine is',
      'ShutDown',
      [web],
      { nodes: [node('pi')] },
      ['web Waits: No other machine is there that may run it'],
    ],
    [
      'or none that answers',
      'ShutDown',
      [web],
      { nodes: [node('pi'), node('pc', { ready: 'Unknown' })] },
      ['web Waits: No other machine is there that may run it'],
    ],
    [
      'what is bound to a taken-out machine ends',
      'Remove',
      [web, films],
      {},
      ['web Moves: It starts on another machine', 'films Ends: Its data is here (claim films)'],
    ],
  ];
  it.each(cases)('%s', (_, action, pods, more, want) => {
    expect(outcomes(action, pods, more)).toEqual(want);
  });
});

describe('what stands in the way', () => {
  const under = {
    [operationAnnotation]: JSON.stringify({
      id: '1',
      action: 'Reboot',
      state: 'Due',
      since: 'now',
    }),
  };
  const cases: readonly [string, NodeAction, Partial<DepartureInput>, string[]][] = [
    ['nothing', 'Reboot', {}, []],
    [
      'its engine is broken, which a restart may mend',
      'Reboot',
      { node: node('pi', { ready: 'False' }) },
      [],
    ],
    [
      'it is off',
      'Reboot',
      { node: node('pi', { ready: 'Unknown' }) },
      ['pi does not answer, so nobody there can do it'],
    ],
    [
      'it sleeps',
      'ShutDown',
      { node: node('pi', { ready: 'Unknown', asleep: true }) },
      ['pi is asleep: wake it first'],
    ],
    [
      'its agent may not',
      'Sleep',
      { node: node('pi', { annotations: { [actionsAnnotation]: 'Reboot' } }) },
      ["pi can't sleep: its system or its hardware does not offer it"],
    ],
    [
      'another is under way',
      'Sleep',
      { node: node('pi', { annotations: under }) },
      ['pi is to restart already'],
    ],
    [
      'it alone keeps the state',
      'Remove',
      { keepers: new Map([['pi', true]]) },
      [
        'pi alone keeps what the cluster knows: taken out, nothing would be left of it. Let another machine keep it first',
      ],
    ],
    ['one that is gone can be taken out', 'Remove', { node: node('pi', { ready: 'Unknown' }) }, []],
    ['one that is awake can not be woken', 'Wake', {}, ['pi is awake']],
    [
      'nor one of which no card is known',
      'Wake',
      { node: node('pi', { ready: 'Unknown' }) },
      ['No network card of pi is known: its agent has never told of one'],
    ],
  ];
  it.each(cases)('%s', (_, action, more, want) => {
    expect(plan(action, more).obstacles).toEqual(want);
  });
});

describe('what a person should know before', () => {
  const three = (pc: boolean, laptop: boolean) =>
    new Map([
      ['pi', true],
      ['pc', pc],
      ['laptop', laptop],
    ]);
  const card = { name: 'eth0', address: 'b8:27:eb:12:34:56', network: '192.168.1.20/24' };
  const off = (wakes: object) =>
    node('pi', {
      ready: 'Unknown',
      annotations: { [cardsAnnotation]: JSON.stringify([{ ...card, ...wakes }]) },
    });
  const cases: readonly [string, NodeAction, Partial<DepartureInput>, RegExp[]][] = [
    ['a keeper of three that are there', 'Reboot', { keepers: three(true, true) }, []],
    ['the last but one', 'Reboot', { keepers: three(true, false) }, [/too few of the machines/]],
    [
      'the only one',
      'Sleep',
      { keepers: new Map([['pi', true]]) },
      [/pi alone keeps .* until it wakes/],
    ],
    [
      'data that stays behind',
      'Remove',
      { pods: [pod('films', 'ReplicaSet', withClaim)] },
      [/^films ends for good$/, /^The data of films stays/],
    ],
    [
      'one that does not answer',
      'Remove',
      { node: node('pi', { ready: 'Unknown' }) },
      [/taken out without it/],
    ],
    ['a card that listens', 'Wake', { node: off({ wakes: true }) }, []],
    ['one that does not', 'Wake', { node: off({ wakes: false }) }, [/switched off/]],
    ['one that nobody knows of', 'Wake', { node: off({}) }, [/not known/]],
  ];
  it.each(cases)('%s', (_, action, more, want) => {
    const { warnings } = plan(action, more);
    expect(warnings).toEqual(want.map((pattern) => expect.stringMatching(pattern)));
  });
});
