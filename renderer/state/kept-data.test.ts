import { describe, expect, it } from 'vitest';
import type { PersistentVolume, PersistentVolumeClaim } from '#kube/api/core.ts';
import type { App } from './app.ts';
import {
  claimNameFor,
  dataToTakeUp,
  freeName,
  type KeptData,
  listKeptData,
  removalCommands,
} from './kept-data.ts';

const films: KeptData = {
  namespace: 'default',
  name: 'films-data',
  node: 'nas',
  volume: 'pvc-1',
  users: ['films'],
  isGoing: false,
};

describe('claimNameFor', () => {
  const cases = [
    { path: '/data', want: 'web-data' },
    { path: '/var/lib/Web_2/', want: 'web-var-lib-web-2' },
    { path: '/', want: 'web-data' },
    { path: '', want: 'web-data' },
  ];
  it.each(cases)('$path is $want', ({ path, want }) => {
    expect(claimNameFor('web', path)).toBe(want);
  });

  it.each([195, 196, 197])(
    'is a name that a server takes, however long the folder (%i)',
    (length) => {
      const name = claimNameFor('web', `/${'a'.repeat(length)}/b`);
      expect(name.length).toBeLessThanOrEqual(200);
      expect(name).toMatch(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/);
    },
  );
});

it('counts up to a name that is free', () => {
  expect(freeName('web-data', [])).toBe('web-data');
  expect(freeName('web-data', ['web-data', 'web-data-2'])).toBe('web-data-3');
});

describe('listKeptData', () => {
  const claim = (namespace: string, volumeName?: string): PersistentVolumeClaim => ({
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name: 'films-data', namespace },
    spec: { ...(volumeName !== undefined && { volumeName }) },
  });
  const volume = {
    metadata: { name: 'pvc-1', labels: { 'flotilla.dev/volume-node': 'nas' } },
    spec: {},
  } as unknown as PersistentVolume;
  const app = {
    name: 'films',
    namespace: 'default',
    object: {
      spec: {
        template: {
          spec: { volumes: [{ name: 'a', persistentVolumeClaim: { claimName: 'films-data' } }] },
        },
      },
    },
  } as unknown as App;

  it('knows the machine by the volume, and who keeps theirs in it', () => {
    expect(listKeptData([claim('default', 'pvc-1')], [volume], [app])).toEqual([films]);
  });

  it('knows no machine before there is a volume, and no app of another namespace', () => {
    expect(listKeptData([claim('other')], [volume], [app])).toMatchObject([
      { node: undefined, users: [] },
    ]);
  });
});

describe('dataToTakeUp', () => {
  const cases: { name: string; one: Partial<KeptData>; isOffered: boolean }[] = [
    { name: "an app's own", one: {}, isOffered: true },
    { name: "nobody's", one: { users: [] }, isOffered: true },
    { name: "another's", one: { users: ['films', 'shop'] }, isOffered: false },
    { name: "another namespace's", one: { namespace: 'other' }, isOffered: false },
    { name: 'what is on its way out', one: { isGoing: true }, isOffered: false },
  ];
  it.each(cases)('$name: $isOffered', ({ one, isOffered }) => {
    expect(dataToTakeUp([{ ...films, ...one }], 'default', 'films')).toHaveLength(
      isOffered ? 1 : 0,
    );
  });
});

it('removes a volume with its claim, or the claim alone when nothing was written yet', () => {
  expect(removalCommands(films)).toBe(
    `kubectl patch pv pvc-1 -p '{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}'\n` +
      'kubectl delete pvc films-data -n default',
  );
  expect(removalCommands({ ...films, volume: undefined })).toBe(
    'kubectl delete pvc films-data -n default',
  );
});
