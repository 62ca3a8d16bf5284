import { describe, expect, it } from 'vitest';
import type { KubeObject } from '#kube/api/object.ts';
import type { ResourceDefinition } from './resource.ts';
import { StorageCodec } from './storage-codec.ts';

const definition = {
  group: '',
  version: 'v1',
  kind: 'ConfigMap',
  plural: 'configmaps',
} as ResourceDefinition;
const key = '/registry/core/configmaps/default/a';

function codec() {
  return new StorageCodec(definition, () => () => undefined);
}

function configMap(): KubeObject & { data: Record<string, string> } {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a' }, data: { k: 'v' } };
}

function row(value: Uint8Array, modRevision: number) {
  return { key, value: Uint8Array.from(value), createRevision: 1, modRevision };
}

/** Counts what rows cost that are not known to be as they should. */
function counting() {
  let defaulted = 0;
  const one = new StorageCodec(definition, () => () => void defaulted++);
  return { one, defaulted: () => defaulted };
}

describe('what this process wrote', () => {
  it('is not decoded when its event comes', () => {
    const { one, defaulted } = counting();
    const value = one.encode(configMap());
    one.writing(key, value);
    const stored = one.stored(row(value, 7));
    expect(stored.object).toEqual({
      ...configMap(),
      metadata: { name: 'a', resourceVersion: '7' },
    });
    expect(defaulted()).toBe(0);
  });

  it('is not taken for a row with other bytes', () => {
    const { one, defaulted } = counting();
    one.writing(key, one.encode(configMap()));
    const other = one.encode({ ...configMap(), data: { k: 'w' } } as KubeObject);
    expect(one.stored(row(other, 7)).object).toMatchObject({ data: { k: 'w' } });
    expect(defaulted()).toBe(1);
  });

  it('is remembered for the last few hundred keys only', () => {
    const { one, defaulted } = counting();
    const value = one.encode(configMap());
    one.writing(key, value);
    for (let n = 0; n < 256; n++) one.writing(`${key}-${n}`, value);
    void one.stored(row(value, 7)).json;
    expect(defaulted()).toBe(1);
  });
});

describe('a stored object', () => {
  const owned: KubeObject = {
    ...configMap(),
    metadata: { name: 'a', managedFields: [{ manager: 'me', operation: 'Update' }] },
  };
  const stored = () => codec().transient(key, owned, 7);

  it('is shared frozen, and without its managedFields', () => {
    const { shared } = stored();
    expect(shared).toEqual({ ...configMap(), metadata: { name: 'a', resourceVersion: '7' } });
    expect([Object.isFrozen(shared), Object.isFrozen(shared.metadata)]).toEqual([true, true]);
  });

  it('is one object for all who share it', () => {
    const one = stored();
    expect(one.shared).toBe(one.shared);
    expect(one.object).toBe(one.object);
    expect(one.object.metadata.managedFields).toHaveLength(1);
  });

  it('is copied without holding on to anything', () => {
    const one = stored();
    const held = one.object;
    const copy = one.copy();
    copy.metadata.name = 'changed';
    expect([held.metadata.name, one.object.metadata.name]).toEqual(['a', 'a']);
    expect([Object.isFrozen(held), Object.isFrozen(held.metadata)]).toEqual([true, true]);
  });

  it('is shared with numbers for integers that are more than numbers hold, as clients read them', () => {
    const big = { ...configMap(), data: { n: 9007199254740993n } } as unknown as KubeObject;
    const one = codec().transient(key, big, 7);
    expect(one.shared).toMatchObject({ data: { n: 9007199254740992 } });
    expect(one.object).toMatchObject({ data: { n: 9007199254740993n } });
  });

  it('has the revision of its deletion in place of its own', () => {
    const text = new TextDecoder().decode(stored().jsonAt(1234));
    expect(JSON.parse(text)).toEqual({
      ...owned,
      metadata: { ...owned.metadata, resourceVersion: '1234' },
    });
    expect(text.match(/resourceVersion/g)).toHaveLength(1);
  });
});
