import { describe, expect, it } from 'vitest';
import type { PersistentVolume } from '#kube/api/core.ts';
import type { ObjectMeta } from '#kube/api/meta.ts';
import { diskAnnotation, localPath } from '#kube/machinery/volume-binding.ts';
import { problemOfVolumeWrite } from './node-volumes.ts';

function volume(
  metadata: Partial<ObjectMeta> = {},
  spec: PersistentVolume['spec'] = {},
): PersistentVolume {
  const labels = { [localPath.nodeLabel]: 'pi' };
  const finalizers = ['kubernetes.io/pv-protection', localPath.finalizer];
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name: 'v', labels, finalizers, ...metadata },
    spec: { local: { path: '/a' }, ...spec },
  };
}

const rest = ['kubernetes.io/pv-protection'];
const deletionTimestamp = '2026-11-28T19:00:00Z';
const onlyAnnotations =
  'node "pi" can only update annotations flotilla.dev/disk, flotilla.dev/volume-made, flotilla.dev/volume-copy-state of persistent volumes';
const onlyFinalizer =
  'node "pi" can only remove finalizer flotilla.dev/local-path from its own persistent volumes that are being deleted';

describe('an agent writes to a volume', () => {
  const cases: readonly (readonly [string, PersistentVolume, PersistentVolume, unknown])[] = [
    [
      'what it tells of disk and directory',
      volume(),
      volume({ annotations: { [diskAnnotation]: '{}', [localPath.madeAnnotation]: 'x' } }),
      undefined,
    ],
    [
      'that its directory is done with',
      volume({ deletionTimestamp }),
      volume({ deletionTimestamp, finalizers: rest }),
      undefined,
    ],
    [
      'no other annotation',
      volume(),
      volume({ annotations: { 'pv.kubernetes.io/provisioned-by': 'me' } }),
      onlyAnnotations,
    ],
    ['no label', volume(), volume({ labels: {} }), onlyAnnotations],
    [
      'nothing of its spec',
      volume(),
      volume({}, { persistentVolumeReclaimPolicy: 'Delete' }),
      onlyAnnotations,
    ],
    ['no finalizer while it lives', volume(), volume({ finalizers: rest }), onlyFinalizer],
    [
      'no finalizer of another machine’s',
      volume({ deletionTimestamp, labels: { [localPath.nodeLabel]: 'nas' } }),
      volume({ deletionTimestamp, labels: { [localPath.nodeLabel]: 'nas' }, finalizers: rest }),
      onlyFinalizer,
    ],
    [
      'not the other finalizers',
      volume({ deletionTimestamp }),
      volume({ deletionTimestamp, finalizers: [] }),
      onlyFinalizer,
    ],
  ];
  it.each(cases)('%s', (_name, old, next, want) => {
    expect(problemOfVolumeWrite('pi', old, next)).toBe(want);
  });
});
