import { describe, expect, it } from 'vitest';
import type { StoredObject } from '../../registry/storage-codec.ts';
import { joined } from '../response-body.ts';
import { listBody } from './list-body.ts';

const bytes = (text: string) => new TextEncoder().encode(text);
const item = (json: string) => ({ json: bytes(json) }) as StoredObject;
const text = (...body: Parameters<typeof listBody>) =>
  new TextDecoder().decode(joined(listBody(...body)));

describe('the body of a list', () => {
  it('is its head and its items without what the list says of them all', () => {
    const items = [item('{"kind":"A","n":1}'), item('{"kind":"A","n":2}')];
    expect(text(bytes('{"items":['), items, '{"kind":"A",'.length)).toBe(
      '{"items":[{"n":1},{"n":2}]}\n',
    );
  });

  it('may have no items', () => {
    expect(text(bytes('{"items":['), [], 1)).toBe('{"items":[]}\n');
  });

  it('comes in slices of one size, whatever the size of its items', () => {
    const numbers = Array.from({ length: 50 }, (_, n) => n);
    // Some longer than a slice, some short.
    const items = numbers.map((n) => item(`{"n":${n},"text":"${'x'.repeat((n % 7) * 30_000)}"}`));
    const body = listBody(bytes('{"items":['), items, 1);
    let length = 0;
    const sizes = new Set<number>();
    let whole = '';
    for (const slice of body.slices()) {
      length += slice.length;
      if (length < body.byteLength) sizes.add(slice.length);
      whole += new TextDecoder().decode(slice);
    }
    expect([length, [...sizes]]).toEqual([body.byteLength, [128 * 1024]]);
    expect(JSON.parse(whole).items.map(({ n }: { n: number }) => n)).toEqual(numbers);
  });
});
