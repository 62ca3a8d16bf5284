import { describe, expect, it } from 'vitest';
import type { StoredObject } from '../../registry/storage-codec.ts';
import { WatchFrames, type ObjectItem } from './watch-frames.ts';

function stored(text: string, revision = 5): StoredObject {
  const of = (value: string): Uint8Array => Buffer.from(value);
  const jsonAt = (at: number): Uint8Array => of(`${text}@${at}`);
  return { revision, json: of(text), jsonAt } as unknown as StoredObject;
}

function item(type: ObjectItem['type'], object: StoredObject, revision = 5): ObjectItem {
  return { type, stored: object, revision };
}

describe('WatchFrames', () => {
  it('makes the bytes of an event once for all who watch it', () => {
    const frames = new WatchFrames();
    const one = item('ADDED', stored('1'));
    const first = frames.of(one);
    expect(Buffer.from(first).toString()).toBe('{"type":"ADDED","object":1}\n');
    expect(frames.of({ ...one })).toBe(first);
  });

  it('tells what became of one object apart, by type and revision', () => {
    const frames = new WatchFrames();
    const object = stored('1');
    const texts = [
      item('ADDED', object),
      item('MODIFIED', object),
      item('DELETED', object, 7),
      item('ADDED', object),
    ].map((one) => Buffer.from(frames.of(one)).toString());
    expect(texts).toEqual([
      '{"type":"ADDED","object":1}\n',
      '{"type":"MODIFIED","object":1}\n',
      '{"type":"DELETED","object":1@7}\n',
      '{"type":"ADDED","object":1}\n',
    ]);
  });

  it('keeps neither many nor large ones', () => {
    const frames = new WatchFrames();
    const old = item('ADDED', stored('1'));
    const large = item('ADDED', stored('x'.repeat(65_536)));
    const [first, firstLarge] = [frames.of(old), frames.of(large)];
    for (let n = 0; n < 64; n++) frames.of(item('ADDED', stored(String(n))));
    expect(frames.of(old)).not.toBe(first);
    expect(frames.of(large)).not.toBe(firstLarge);
  });
});
