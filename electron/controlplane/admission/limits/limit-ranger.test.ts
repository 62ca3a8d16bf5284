import { describe, expect, it } from 'vitest';
import type { Pod } from '#kube/api/core.ts';
import type { KubeObject } from '#kube/api/object.ts';
import { containerOf, podOf, refusal } from '../../../../test/setup/kinds.ts';
import { readerOf, run, type Given } from '../testing/attributes.ts';
import { limitRanger } from './limit-ranger.ts';

function pluginOf(...limits: readonly object[]) {
  return limitRanger(readerOf({ 'limitranges/default/range': { spec: { limits } } }));
}

function resources(requests: object, limits: object = {}): object {
  return containerOf({ resources: { requests, limits } });
}

describe('what containers leave open', () => {
  const defaults = {
    type: 'Container',
    default: { cpu: '500m', memory: '1Gi' },
    defaultRequest: { cpu: '100m', memory: '1Gi' },
  };

  it('is filled in, and the pod says so', async () => {
    const containers = [resources({ cpu: '200m' }), containerOf({ name: 'side' })];
    const pod = podOf({ containers, initContainers: [containerOf({ name: 'first' })] });
    await run(pluginOf(defaults), { object: pod as KubeObject });
    const { spec, metadata } = pod as Pod;
    const all = { limits: defaults.default, requests: defaults.defaultRequest };
    expect(
      [...spec.containers, ...(spec.initContainers ?? [])].map((one) => one.resources),
    ).toEqual([{ limits: defaults.default, requests: { cpu: '200m', memory: '1Gi' } }, all, all]);
    expect(metadata.annotations).toEqual({
      'kubernetes.io/limit-ranger':
        'LimitRanger plugin set: memory request for container web; cpu, memory limit for container web; ' +
        'cpu, memory request for container side; cpu, memory limit for container side; ' +
        'cpu, memory request for init container first; cpu, memory limit for init container first',
    });
  });

  it('stays open without a LimitRange', async () => {
    const object = podOf() as KubeObject;
    await run(limitRanger(readerOf({})), { object });
    expect(object).toEqual(podOf());
  });
});

describe('a pod', () => {
  const container = {
    type: 'Container',
    min: { memory: '64Mi' },
    max: { memory: '1Gi' },
    maxLimitRequestRatio: { memory: '2' },
  };
  const whole = { type: 'Pod', max: { cpu: '1' } };
  const cases: readonly { name: string; limit: object; containers: object[]; want: string }[] = [
    {
      name: 'within its limits is allowed',
      limit: container,
      containers: [resources({ memory: '512Mi' }, { memory: '1024Mi' })],
      want: '',
    },
    {
      name: 'that asks for too little',
      limit: container,
      containers: [resources({ memory: '32Mi' }, { memory: '64Mi' })],
      want: 'minimum memory usage per Container is 64Mi, but request is 32Mi',
    },
    {
      name: 'that may use too much',
      limit: container,
      containers: [resources({ memory: '1Gi' }, { memory: '2Gi' })],
      want: 'maximum memory usage per Container is 1Gi, but limit is 2Gi',
    },
    {
      name: 'that may use much more than it asks for',
      limit: container,
      containers: [resources({ memory: '256Mi' }, { memory: '768Mi' })],
      want: 'memory max limit to request ratio per Container is 2, but provided ratio is 3.000000',
    },
    {
      name: 'that says nothing',
      limit: container,
      containers: [containerOf({})],
      want:
        '[minimum memory usage per Container is 64Mi.  No request is specified, ' +
        'maximum memory usage per Container is 1Gi.  No limit is specified, ' +
        'memory max limit to request ratio per Container is 2, but no request is specified or request is 0]',
    },
    {
      name: 'whose containers are too much together',
      limit: whole,
      containers: [resources({ cpu: '600m' }, { cpu: '600m' }), resources({}, { cpu: '600m' })],
      want: 'maximum cpu usage per Pod is 1, but limit is 1200m',
    },
  ];
  it.each(cases)('$name', async ({ limit, containers, want }) => {
    const object = podOf({ containers }) as KubeObject;
    const text = await refusal(run(pluginOf(limit), { object }));
    expect(text).toBe(want === '' ? '' : `pods "web" is forbidden: ${want}`);
  });

  it('that exists is not looked at again', async () => {
    const object = podOf() as KubeObject;
    const given: Given = { operation: 'UPDATE', object, oldObject: object };
    expect(await refusal(run(pluginOf(container), given))).toBe('');
  });
});

describe('a claim', () => {
  const limit = { type: 'PersistentVolumeClaim', min: { storage: '1Gi' }, max: { storage: '5Gi' } };
  const cases = [
    { storage: '2Gi', want: '' },
    {
      storage: '512Mi',
      want: 'minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 512Mi',
    },
    {
      storage: '6Gi',
      want: 'maximum storage usage per PersistentVolumeClaim is 5Gi, but request is 6Gi',
    },
  ];
  it.each(cases)('of $storage', async ({ storage, want }) => {
    const spec = { resources: { requests: { storage } } };
    const object = { metadata: {}, spec } as unknown as KubeObject;
    const asked = { resource: 'persistentvolumeclaims', object };
    const text = await refusal(run(pluginOf(limit), asked));
    expect(text).toBe(want === '' ? '' : `persistentvolumeclaims "web" is forbidden: ${want}`);
  });
});
