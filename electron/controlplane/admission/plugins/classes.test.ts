// Plugins that look up a class: of priority, of storage, of Ingresses, of runtimes.
import { describe, expect, it } from 'vitest';
import type { KubeObject } from '#kube/api/object.ts';
import { podOf, refusal } from '../../../../test/setup/kinds.ts';
import { readerOf, run, type Given } from '../testing/attributes.ts';
import { defaultIngressClass, defaultStorageClass } from './default-class.ts';
import { priority } from './priority.ts';
import { runtimeClass } from './runtime-class.ts';
import { taintNodesByCondition } from './taint-nodes.ts';
import { persistentVolumeClaimResize, storageObjectInUseProtection } from './volume-protection.ts';

const forbidden = 'pods "web" is forbidden: ';

describe('Priority', () => {
  const gold = { value: 1000, preemptionPolicy: 'Never' };
  const classes = {
    'priorityclasses//gold': gold,
    'priorityclasses//usual': { value: 5, globalDefault: true },
    'priorityclasses//raced': { value: 7, globalDefault: true },
    'priorityclasses//system-node-critical': { value: 2_000_001_000 },
  };
  const admitted = async (spec: object, objects: Record<string, object> = {}) => {
    const object = podOf(spec) as KubeObject;
    await run(priority(readerOf(objects)), { object });
    const { priorityClassName, priority: value, preemptionPolicy } = (object as never)['spec'];
    return [priorityClassName, value, preemptionPolicy];
  };

  it('is zero where nothing says otherwise', async () => {
    expect(await admitted({})).toEqual([undefined, 0, 'PreemptLowerPriority']);
  });

  it('is that of the default class, of two the lower', async () => {
    expect(await admitted({}, classes)).toEqual(['usual', 5, 'PreemptLowerPriority']);
  });

  it("is the class's, with its way of preempting", async () => {
    expect(await admitted({ priorityClassName: 'gold' }, classes)).toEqual(['gold', 1000, 'Never']);
  });

  const cases: readonly { spec: object; want: string }[] = [
    {
      spec: { priorityClassName: 'tin' },
      want: `${forbidden}no PriorityClass with name tin was found`,
    },
    {
      spec: { priority: 7 },
      want: `${forbidden}the integer value of priority (7) must not be provided in pod spec; priority admission controller computed 5 from the given PriorityClass name`,
    },
    {
      spec: { priorityClassName: 'gold', preemptionPolicy: 'PreemptLowerPriority' },
      want: `${forbidden}the string value of PreemptionPolicy (PreemptLowerPriority) must not be provided in pod spec; priority admission controller computed Never from the given PriorityClass name`,
    },
    { spec: { priorityClassName: 'system-node-critical' }, want: '' },
    { spec: { priorityClassName: 'gold', priority: 1000 }, want: '' },
  ];
  it.each(cases)('judges $spec', async ({ spec, want }) => {
    const object = podOf(spec) as KubeObject;
    expect(await refusal(run(priority(readerOf(classes)), { object }))).toBe(want);
  });

  it('stays when an update leaves it out', async () => {
    const object = podOf() as KubeObject;
    const oldObject = podOf({ priority: 9, preemptionPolicy: 'Never' }) as KubeObject;
    await run(priority(readerOf({})), { operation: 'UPDATE', object, oldObject });
    expect(object).toMatchObject({ spec: { priority: 9, preemptionPolicy: 'Never' } });
  });

  const only = { 'priorityclasses//usual': { globalDefault: true } };
  const second: readonly { name: string; given: Given; want: string }[] = [
    {
      name: 'no second default class',
      given: { name: 'more' },
      want: 'priorityclasses.scheduling.k8s.io "more" is forbidden: PriorityClass usual is already marked as default. Only one default can exist',
    },
    {
      name: 'an update of the default class',
      given: { name: 'usual', operation: 'UPDATE' },
      want: '',
    },
  ];
  it.each(second)('allows $name', async ({ given, want }) => {
    const object = { globalDefault: true } as unknown as KubeObject;
    const asked = { resource: 'priorityclasses', namespace: '', object, ...given };
    expect(await refusal(run(priority(readerOf(only)), asked))).toBe(want);
  });
});

describe('a default class', () => {
  const marked = (kind: string, creationTimestamp: string) => ({
    metadata: {
      creationTimestamp,
      annotations: { [`${kind}.kubernetes.io/is-default-class`]: 'true' },
    },
  });
  const classes = {
    'storageclasses//old': marked('storageclass', '2026-01-01T00:00:00Z'),
    'storageclasses//slow': {},
    'storageclasses//fast': marked('storageclass', '2026-01-02T00:00:00Z'),
    'ingressclasses//web': marked('ingressclass', '2026-01-01T00:00:00Z'),
  };
  const claims = [
    { name: 'is given to a claim, the newest', spec: {}, want: 'fast' },
    { name: 'is not given to one that wants none', spec: { storageClassName: '' }, want: '' },
    { name: 'leaves a choice', spec: { storageClassName: 'slow' }, want: 'slow' },
  ];
  it.each(claims)('$name', async ({ spec, want }) => {
    const object = { metadata: {}, spec: { ...spec } } as unknown as KubeObject;
    const asked = { resource: 'persistentvolumeclaims', object };
    await run(defaultStorageClass(readerOf(classes)), asked);
    expect(object).toEqual({ metadata: {}, spec: { storageClassName: want } });
  });

  it('is given to an Ingress without one', async () => {
    const object = { metadata: {}, spec: {} } as unknown as KubeObject;
    await run(defaultIngressClass(readerOf(classes)), { resource: 'ingresses', object });
    expect(object).toEqual({ metadata: {}, spec: { ingressClassName: 'web' } });
  });

  it('is not given where the old annotation names one', async () => {
    const annotations = { 'kubernetes.io/ingress.class': 'nginx' };
    const object = { metadata: { annotations }, spec: {} } as unknown as KubeObject;
    await run(defaultIngressClass(readerOf(classes)), { resource: 'ingresses', object });
    expect(object).toEqual({ metadata: { annotations }, spec: {} });
  });
});

describe('what is stored on', () => {
  it.each([
    ['persistentvolumeclaims', 'kubernetes.io/pvc-protection'],
    ['persistentvolumes', 'kubernetes.io/pv-protection'],
  ])('is protected: %s', async (resource, finalizer) => {
    const object = { metadata: { finalizers: ['a.b/c'] } } as unknown as KubeObject;
    await run(storageObjectInUseProtection(), { resource, object });
    expect(object.metadata.finalizers).toEqual(['a.b/c', finalizer]);
  });

  const claim = (storage: string, phase: string, storageClassName?: string) =>
    ({
      metadata: {},
      spec: { storageClassName, resources: { requests: { storage } } },
      status: { phase },
    }) as unknown as KubeObject;
  const classes = {
    'storageclasses//elastic': { allowVolumeExpansion: true },
    'storageclasses//stiff': {},
  };
  const start = 'persistentvolumeclaims "web" is forbidden: ';
  const unsupported = `${start}only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize`;
  const cases = [
    {
      name: 'a bound claim grows',
      old: claim('1Gi', 'Bound', 'elastic'),
      className: 'elastic',
      want: '',
    },
    {
      name: 'an unbound one does not',
      old: claim('1Gi', 'Pending', 'elastic'),
      className: 'elastic',
      want: `${start}Only bound persistent volume claims can be expanded`,
    },
    {
      name: 'nor one of a class that says no',
      old: claim('1Gi', 'Bound', 'stiff'),
      className: 'stiff',
      want: unsupported,
    },
    {
      name: 'nor one of no class',
      old: claim('1Gi', 'Bound'),
      className: undefined,
      want: unsupported,
    },
    {
      name: 'the same size is no growth',
      old: claim('2Gi', 'Pending'),
      className: undefined,
      want: '',
    },
  ];
  it.each(cases)('$name', async ({ old, className, want }) => {
    const given: Given = {
      resource: 'persistentvolumeclaims',
      operation: 'UPDATE',
      object: claim('2048Mi', 'Bound', className),
      oldObject: old,
    };
    expect(await refusal(run(persistentVolumeClaimResize(readerOf(classes)), given))).toBe(want);
  });
});

describe('RuntimeClass', () => {
  const tolerations = [{ key: 'vm', operator: 'Exists' }];
  const kata = {
    overhead: { podFixed: { cpu: '250m' } },
    scheduling: { nodeSelector: { vm: 'yes' }, tolerations },
  };
  const plugin = runtimeClass(
    readerOf({ 'runtimeclasses//kata': kata, 'runtimeclasses//runc': {} }),
  );

  it('charges the pod and sends it where its runtime is', async () => {
    const object = podOf({ runtimeClassName: 'kata', nodeSelector: { disk: 'ssd' } }) as KubeObject;
    await run(plugin, { object });
    expect(object).toMatchObject({
      spec: { overhead: { cpu: '250m' }, nodeSelector: { disk: 'ssd', vm: 'yes' }, tolerations },
    });
  });

  const overhead = { cpu: '1' };
  const cases = [
    {
      spec: { runtimeClassName: 'gone' },
      want: 'pod rejected: RuntimeClass "gone" not found',
    },
    {
      spec: { runtimeClassName: 'kata', overhead },
      want: "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
    },
    {
      spec: { overhead },
      want: 'pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead',
    },
    {
      spec: { runtimeClassName: 'kata', nodeSelector: { vm: 'no' } },
      want: 'conflict: runtimeClass.scheduling.nodeSelector[vm] = yes; pod.spec.nodeSelector[vm] = no',
    },
  ];
  it.each(cases)('refuses $spec', async ({ spec, want }) => {
    const object = podOf(spec) as KubeObject;
    expect(await refusal(run(plugin, { object }))).toBe(`${forbidden}${want}`);
  });
});

it('a new node is not ready, once', async () => {
  const taint = { key: 'node.kubernetes.io/not-ready', effect: 'NoSchedule' };
  const object = { metadata: {}, spec: {} } as unknown as KubeObject;
  for (let round = 0; round < 2; round++)
    await run(taintNodesByCondition(), { resource: 'nodes', namespace: '', object });
  expect(object).toEqual({ metadata: {}, spec: { taints: [taint] } });
});
