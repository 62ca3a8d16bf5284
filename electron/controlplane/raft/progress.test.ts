// The window of appends under way.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Inflights, Progress } from './progress.ts';

describe('inflights', () => {
  it('are full by number or by bytes, and free again what has arrived', () => {
    const acts = fc.array(
      fc.oneof(fc.integer({ min: 1, max: 100 }), fc.constant('arrive' as const)),
    );
    fc.assert(
      fc.property(acts, (list) => {
        const window = new Inflights(4, 150);
        const model: { index: number; bytes: number }[] = [];
        let index = 0;
        for (const act of list) {
          if (act === 'arrive') {
            window.arrived(model[1]?.index ?? model[0]?.index ?? 0);
            model.splice(0, 2);
          } else if (!window.isFull) {
            index += 3;
            window.add(index, act);
            model.push({ index, bytes: act });
          }
          const bytes = model.reduce((sum, each) => sum + each.bytes, 0);
          expect(window.isFull).toBe(model.length >= 4 || bytes >= 150);
        }
      }),
    );
  });
});

describe('progress', () => {
  const make = (): Progress => new Progress(2, 10, true, new Inflights(2, 1000));

  it('a refusal that comes late or twice changes nothing', () => {
    const peer = make();
    expect(peer.rejected(5, 3)).toBe(false);
    expect(peer.rejected(9, 3)).toBe(true);
    expect(peer.next).toBe(4);
    expect(peer.rejected(9, 3)).toBe(false);
  });

  it('a refusal never goes back behind what is known to match', () => {
    const peer = make();
    peer.accepted(6);
    peer.becomeReplicate();
    expect(peer.rejected(6, 2)).toBe(false);
    expect(peer.rejected(9, 2)).toBe(true);
    expect([peer.state, peer.next]).toEqual(['probe', 7]);
  });

  it('match never falls', () => {
    const peer = make();
    peer.accepted(8);
    peer.accepted(3);
    expect(peer.match).toBe(8);
  });
});
