import { describe, expect, it } from 'vitest';
import type { PersistentVolume, PersistentVolumeClaim } from '#kube/api/core.ts';
import { findVolume, mismatch, volumeAnnotations } from '#kube/machinery/volume-binding.ts';
import { planClaim, planVolume } from './plan.ts';

function volume(
  name: string,
  spec: Partial<PersistentVolume['spec']> = {},
  labels: Record<string, string> = {},
): PersistentVolume {
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name, labels },
    spec: { capacity: { storage: '1Gi' }, accessModes: ['ReadWriteOnce'], ...spec },
    status: { phase: 'Available' },
  };
}

function claim(
  spec: Partial<PersistentVolumeClaim['spec']> = {},
  annotations: Record<string, string> = {},
): PersistentVolumeClaim {
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { namespace: 'ns', name: 'data', uid: 'u1', annotations },
    spec: {
      accessModes: ['ReadWriteOnce'],
      resources: { requests: { storage: '1Gi' } },
      ...spec,
    },
  };
}

const storageClass = () => undefined;
const mine = { namespace: 'ns', name: 'data', uid: 'u1' };

describe('a volume serves a claim', () => {
  const cases: readonly (readonly [string, PersistentVolume, PersistentVolumeClaim, unknown])[] = [
    ['of its own size', volume('v'), claim(), undefined],
    [
      'unless it is smaller',
      volume('v', { capacity: { storage: '900Mi' } }),
      claim(),
      'requested PV is too small',
    ],
    [
      'unless it is of another class',
      volume('v', { storageClassName: 'ssd' }),
      claim(),
      'storageClassName does not match',
    ],
    [
      'unless it lacks one of the modes',
      volume('v'),
      claim({ accessModes: ['ReadWriteOnce', 'ReadOnlyMany'] }),
      'incompatible accessMode',
    ],
    [
      'unless one is a device',
      volume('v', { volumeMode: 'Block' }),
      claim(),
      'incompatible volumeMode',
    ],
  ];
  it.each(cases)('%s', (_name, given, wanted, want) => {
    expect(mismatch(given, wanted)).toBe(want);
  });
});

describe('the volume that is found', () => {
  const find = (volumes: PersistentVolume[], wanted = claim(), options = {}) =>
    findVolume(wanted, volumes, options)?.metadata.name;

  it('is the smallest of those that are free and match the selector', () => {
    const big = volume('big', { capacity: { storage: '9Gi' } }, { disk: 'ssd' });
    const taken = volume('taken', { claimRef: { ...mine, uid: 'other' } }, { disk: 'ssd' });
    const fits = volume('fits', { capacity: { storage: '2Gi' } }, { disk: 'ssd' });
    const slow = volume('slow', {}, { disk: 'hdd' });
    const selector = { matchLabels: { disk: 'ssd' } };
    expect(find([big, taken, slow, fits], claim({ selector }))).toBe('fits');
  });

  it('is the one that was promised, whatever else there is', () => {
    const promised = volume('promised', { capacity: { storage: '9Gi' }, claimRef: mine });
    expect(find([volume('free'), promised], claim(), { isPromisedOnly: true })).toBe('promised');
  });

  it('is none that is going, assumed to be taken, or not Available', () => {
    const going = volume('going');
    going.metadata.deletionTimestamp = 'now';
    const released = { ...volume('released'), status: { phase: 'Released' } };
    const isTaken = (name: string) => name === 'assumed';
    expect(find([going, released, volume('assumed')], claim(), { isTaken })).toBeUndefined();
  });
});

describe('plans', () => {
  const bound = claim({ volumeName: 'v' }, { [volumeAnnotations.bindCompleted]: 'yes' });

  it('call a bound claim Lost when its volume is another one’s', () => {
    const volumes = [volume('v', { claimRef: { ...mine, uid: 'other' } })];
    expect(planClaim(bound, { volumes, storageClass })).toMatchObject({
      type: 'lost',
      event: { reason: 'ClaimMisbound' },
    });
  });

  it('free a volume that was promised to a claim that took another', () => {
    expect(planVolume(volume('w', { claimRef: mine }), bound)).toEqual({ type: 'unbind' });
  });

  it('never free a volume because its claim is there again with another uid', () => {
    expect(planVolume(volume('v', { claimRef: { ...mine, uid: 'old' } }), undefined)).toEqual({
      type: 'phase',
      phase: 'Released',
    });
  });
});
