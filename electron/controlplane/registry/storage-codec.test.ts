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

describe('what this process wrote', () => {
  it('is not decoded again when its event comes', () => {
    const one = codec();
    const object = configMap();
    const value = one.encode(object);
    one.writing(key, value, object);
    const stored = one.stored(row(value, 7));
    expect(stored.object).toBe(object);
    expect(stored.object.metadata.resourceVersion).toBe('7');
  });

  it('is not taken for a row with other bytes', () => {
    const one = codec();
    const object = configMap();
    one.writing(key, one.encode(object), object);
    const other = one.encode({ ...configMap(), data: { k: 'w' } } as KubeObject);
    expect(one.stored(row(other, 7)).object).toMatchObject({ data: { k: 'w' } });
  });

  it('is another object under another revision', () => {
    const one = codec();
    const object = configMap();
    const value = one.encode(object);
    one.writing(key, value, object);
    one.written(key, value, object, 7);
    expect(one.stored(row(value, 9)).object.metadata.resourceVersion).toBe('9');
    expect(object.metadata.resourceVersion).toBe('7');
  });

  it('is forgotten when the store refused it: its object may change then', () => {
    const one = codec();
    const object = configMap();
    const value = one.encode(object);
    one.writing(key, value, object);
    one.notWritten(key, value);
    object.data['k'] = 'changed';
    expect(one.stored(row(value, 7)).object).toMatchObject({ data: { k: 'v' } });
  });

  it('is remembered for the last few hundred keys only', () => {
    const one = codec();
    const object = configMap();
    const value = one.encode(object);
    one.writing(key, value, object);
    for (let n = 0; n < 256; n++) one.writing(`${key}-${n}`, value, configMap());
    expect(one.stored(row(value, 7)).object).not.toBe(object);
  });
});
