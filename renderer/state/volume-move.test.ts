import { describe, expect, it } from 'vitest';
import type { VolumeMove, VolumeMoveStatus } from '#kube/api/volume-move.ts';
import type { App } from './app.ts';
import type { Machine } from './machine.ts';
import { describeMove, destinations, foldersLeft, moveOf } from './volume-move.ts';

const nowMs = Date.parse('2026-03-10T12:00:00Z');

function move(status?: VolumeMoveStatus, spec: Partial<VolumeMove['spec']> = {}): VolumeMove {
  return {
    apiVersion: 'flotilla.dev/v1alpha1',
    kind: 'VolumeMove',
    metadata: { namespace: 'default', name: 'films-1', creationTimestamp: '2026-03-10T11:00:00Z' },
    spec: { claims: ['data'], nodeName: 'nas', ...spec },
    ...(status === undefined ? {} : { status: { fromNode: 'pi', ...status } }),
  };
}

const template = {
  spec: {
    containers: [],
    volumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'data' } }],
  },
};
const pods = [{ spec: { nodeName: 'pi' } }];
const app = { namespace: 'default', object: { spec: { template } }, pods } as unknown as App;

it('leaves the folders of its machine, each once, and no claim', () => {
  const media = { hostPath: { path: '/srv/media' } };
  const volumes = [...template.spec.volumes, { name: 'a', ...media }, { name: 'b', ...media }];
  const object = { spec: { template: { spec: { containers: [], volumes } } } };
  expect(foldersLeft({ object } as unknown as App)).toEqual(['/srv/media']);
  expect(foldersLeft(app)).toEqual([]);
});

describe('an app on its way', () => {
  const keepUntil = '2026-03-13T12:00:00Z';
  const cases: readonly [string, VolumeMove, string, string, string | undefined][] = [
    ['not looked at yet', move(), 'Films is to go to nas', '', undefined],
    [
      'is copied',
      move({ phase: 'Copying', totalBytes: 2 ** 31, copiedBytes: 2 ** 30 }),
      'Copying the data of Films to nas',
      '1 GB of 2 GB. It goes on running on pi meanwhile.',
      'Call it off',
    ],
    [
      'stands still',
      move({ phase: 'Finishing', stopTime: '2026-03-10T11:59:50Z' }),
      'Films pauses while the last changes are copied to nas',
      'Stopped 10 s ago.',
      'Call it off',
    ],
    [
      'is there',
      move({ phase: 'Done', keepUntil }),
      'Films has its data on nas',
      'The old copy stays on pi for 3 more days.',
      'Back to the copy on pi',
    ],
    [
      'is there, and the old copy is not wanted',
      move({ phase: 'Done', keepUntil }, { removeOldCopy: true }),
      'Films has its data on nas',
      'The old copy is removed.',
      undefined,
    ],
    [
      'could not go',
      move({ phase: 'Refused', message: 'nas has no kvm' }),
      'Films was not moved to nas',
      'nas has no kvm',
      undefined,
    ],
  ];
  it.each(cases)('%s', (_name, given, title, detail, goBack) => {
    const view = describeMove('films', given, nowMs);
    expect([view.title, view.detail, view.goBack]).toEqual([title, detail, goBack]);
  });
});

it('shows the newest move of one of its claims', () => {
  const older = {
    ...move(),
    metadata: { ...move().metadata, creationTimestamp: '2026-01-01T00:00:00Z' },
  };
  const other = move(undefined, { claims: ['photos'] });
  const elsewhere = { ...move(), metadata: { ...move().metadata, namespace: 'tv' } };
  expect(moveOf(app, [older, other, move(), elsewhere])).toEqual(move());
  expect(moveOf(app, [other])).toBeUndefined();
});

it('can go to every other machine that is well', () => {
  const machine = (name: string, more: Partial<Machine> = {}) =>
    ({
      name,
      node: { spec: {} },
      tone: 'ok',
      word: 'Well',
      architecture: 'ARM',
      ...more,
    }) as Machine;
  const paused = { node: { spec: { unschedulable: true } } } as Partial<Machine>;
  const machines = [
    machine('pi'),
    machine('nas', { architecture: 'x86' }),
    machine('attic', { tone: 'trouble', word: 'Silent' }),
    machine('shed', paused),
  ];
  expect(destinations(app, machines)).toEqual([
    { name: 'nas', why: '', isOtherProcessor: true },
    { name: 'attic', why: 'silent', isOtherProcessor: false },
    { name: 'shed', why: 'it is paused', isOtherProcessor: false },
  ]);
});
