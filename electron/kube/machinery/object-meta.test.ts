import { describe, expect, it } from 'vitest';
import type { ObjectMeta } from '../api/meta.ts';
import { getCondition, isConditionTrue, removeCondition, setCondition } from './conditions.ts';
import { fieldErrorText } from './field.ts';
import { validateObjectMeta, validateObjectMetaUpdate } from './object-meta.ts';
import { controllerRef, getControllerOf, isControlledBy } from './ownership.ts';

const good: ObjectMeta = { name: 'web', namespace: 'default' };
const subdomain =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const label =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const namePart =
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const owner = { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'a', uid: '1' };

function texts(meta: ObjectMeta, namespaced = true): string[] {
  return validateObjectMeta(meta, { namespaced }).map(fieldErrorText);
}

describe('validateObjectMeta', () => {
  const cases: [title: string, meta: ObjectMeta, want: string[]][] = [
    ['a good object', { ...good, labels: { 'x.io/a': 'B_1' }, annotations: { 'X.io/A': '…' } }, []],
    [
      'no name',
      { name: '', namespace: 'a' },
      ['metadata.name: Required value: name or generateName is required'],
    ],
    [
      'a capital letter',
      { ...good, name: 'Web' },
      [`metadata.name: Invalid value: "Web": ${subdomain}`],
    ],
    [
      'a long name',
      { ...good, name: 'a'.repeat(254) },
      [`metadata.name: Invalid value: "${'a'.repeat(254)}": must be no more than 253 bytes`],
    ],
    ['a trailing dash of generateName', { ...good, generateName: 'web-' }, []],
    [
      'an illegal generateName',
      { ...good, generateName: '-web-' },
      [`metadata.generateName: Invalid value: "-web-": ${subdomain}`],
    ],
    ['no namespace', { name: 'web' }, ['metadata.namespace: Required value']],
    [
      'an illegal namespace',
      { ...good, namespace: 'a.b' },
      [`metadata.namespace: Invalid value: "a.b": ${label}`],
    ],
    [
      'a negative generation',
      { ...good, generation: -1 },
      ['metadata.generation: Invalid value: -1: must be greater than or equal to 0'],
    ],
    [
      'an illegal label key',
      { ...good, labels: { 'a b': '' } },
      [`metadata.labels: Invalid value: "a b": ${namePart}`],
    ],
    [
      'an empty key part',
      { ...good, labels: { 'x.io/': '' } },
      [
        'metadata.labels: Invalid value: "x.io/": name part must be non-empty',
        `metadata.labels: Invalid value: "x.io/": ${namePart}`,
      ],
    ],
    [
      'a long label value',
      { ...good, labels: { a: 'b'.repeat(64) } },
      [`metadata.labels: Invalid value: "${'b'.repeat(64)}": must be no more than 63 bytes`],
    ],
    [
      'too many annotations',
      { ...good, annotations: { a: 'é'.repeat(131_072) } },
      ['metadata.annotations: Too long: may not be more than 262144 bytes'],
    ],
    ['annotations at the limit', { ...good, annotations: { ab: 'é'.repeat(131_071) } }, []],
    [
      'an owner without uid',
      { ...good, ownerReferences: [{ ...owner, uid: '' }] },
      ['metadata.ownerReferences[0].uid: Invalid value: "": must not be empty'],
    ],
    [
      'an owner without version',
      { ...good, ownerReferences: [{ ...owner, apiVersion: '' }] },
      ['metadata.ownerReferences[0].apiVersion: Invalid value: "": version must not be empty'],
    ],
    [
      'an unqualified finalizer',
      { ...good, finalizers: ['mine'] },
      [
        'metadata.finalizers[0]: Invalid value: "mine": name is neither a standard finalizer name nor is it fully qualified',
      ],
    ],
    [
      'both deletion finalizers',
      { ...good, finalizers: ['orphan', 'foregroundDeletion'] },
      [
        'metadata.finalizers: Invalid value: ["orphan","foregroundDeletion"]: finalizer orphan and foregroundDeletion cannot be both set',
      ],
    ],
  ];
  it.each(cases)('judges %s', (_title, meta, want) => {
    expect(texts(meta)).toEqual(want);
  });

  it('forbids a namespace on cluster-scoped kinds', () => {
    expect(texts(good, false)).toEqual(['metadata.namespace: Forbidden: not allowed on this type']);
  });

  it('allows one controller only', () => {
    const first = { ...owner, controller: true };
    const errors = texts({ ...good, ownerReferences: [first, { ...first, name: 'b', uid: '2' }] });
    expect(errors).toHaveLength(1);
    expect(errors[0]).toContain(
      'Only one reference can have Controller set to true. Found "true" in references for ReplicaSet/a and ReplicaSet/b',
    );
  });
});

describe('validateObjectMetaUpdate', () => {
  const old: ObjectMeta = { ...good, uid: '1', resourceVersion: '5', generation: 2 };
  const cases: [title: string, next: ObjectMeta, old: ObjectMeta, want: string[]][] = [
    ['changed labels', { ...old, labels: { a: 'b' } }, old, []],
    [
      'another uid',
      { ...old, uid: '2' },
      old,
      ['metadata.uid: Invalid value: "2": field is immutable'],
    ],
    [
      'a resurrection',
      old,
      { ...old, deletionTimestamp: 't' },
      ['metadata.deletionTimestamp: Invalid value: null: field is immutable'],
    ],
    [
      'no resourceVersion',
      { ...old, resourceVersion: '' },
      old,
      ['metadata.resourceVersion: Invalid value: "": must be specified for an update'],
    ],
    [
      'an older generation',
      { ...old, generation: 1 },
      old,
      ['metadata.generation: Invalid value: 1: must not be decremented'],
    ],
    [
      'a new finalizer on a dying object',
      { ...old, deletionTimestamp: 't', finalizers: ['a/b', 'a/c'] },
      { ...old, deletionTimestamp: 't', finalizers: ['a/b'] },
      [
        'metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"a/c"}',
      ],
    ],
  ];
  it.each(cases)('judges %s', (_title, next, previous, want) => {
    expect(validateObjectMetaUpdate(next, previous).map(fieldErrorText)).toEqual(want);
  });
});

describe('owners', () => {
  it('finds the controller among the owners, by uid', () => {
    const set = { apiVersion: 'apps/v1', kind: 'ReplicaSet', metadata: { name: 'a', uid: '1' } };
    const other = { ...owner, kind: 'Other', uid: '9' };
    const pod = { metadata: { name: 'p', ownerReferences: [other, controllerRef(set)] } };
    expect(getControllerOf(pod)).toMatchObject({ kind: 'ReplicaSet', uid: '1', controller: true });
    expect(isControlledBy(pod, set)).toBe(true);
    expect(isControlledBy(pod, { metadata: { name: 'a', uid: '2' } })).toBe(false);
    expect(isControlledBy({ metadata: { name: 'p' } }, { metadata: { name: 'x' } })).toBe(false);
  });
});

describe('conditions', () => {
  const ready = { type: 'Ready', status: 'True', reason: 'A', lastTransitionTime: 't1' };

  it('keeps the transition time while the status stays', () => {
    const next = setCondition([ready], { type: 'Ready', status: 'True', reason: 'B' }, 't2');
    expect(next).toEqual([{ ...ready, reason: 'B' }]);
  });

  it('stamps a change of status, in place', () => {
    const other = { type: 'Other', status: 'True' };
    const next = setCondition([ready, other], { type: 'Ready', status: 'False' }, 't2');
    expect(next).toEqual([{ type: 'Ready', status: 'False', lastTransitionTime: 't2' }, other]);
    expect(isConditionTrue(next, 'Ready')).toBe(false);
  });

  it('adds and removes by type', () => {
    const added = setCondition(undefined, { type: 'New', status: 'True' }, 't2');
    expect(getCondition(added, 'New')).toEqual({
      type: 'New',
      status: 'True',
      lastTransitionTime: 't2',
    });
    expect(removeCondition(added, 'New')).toEqual([]);
  });
});
