import * as fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import type { Endpoint } from '../proxy/endpoints.ts';
import { connectMs } from './dial.ts';
import { Attempts, Reach } from './reach.ts';

/** Deaf: its kernel takes connections, and nothing comes of them. */
type State = 'there' | 'silent' | 'refuses' | 'deaf';

const endpoint = (n: number): Endpoint => ({ address: `10.244.0.${n}`, port: 80 });
const [a, b, c] = [endpoint(0), endpoint(1), endpoint(2)];

/** Pods, and a proxy that asks them: how long each request waited for one that was silent, and for whom. */
class World {
  readonly clock = new ManualClock();
  readonly states = new Map<Endpoint, State>();
  readonly dialled: Endpoint[] = [];
  readonly waitedFor: Endpoint[] = [];
  readonly reach = new Reach({
    clock: this.clock,
    dial: (to) => {
      this.dialled.push(to);
      const state = this.stateOf(to);
      if (state !== 'silent') return Promise.resolve(state !== 'refuses');
      return new Promise((resolve) => this.clock.timer(connectMs, () => resolve(false)));
    },
  });

  stateOf(to: Endpoint): State {
    return this.states.get(to) ?? 'there';
  }

  /** Who answers, as `exchange.ts` finds it; `lateCount`: for how many it waited. */
  async request(endpoints: readonly Endpoint[]) {
    const attempts = new Attempts(this.reach.order(endpoints), this.reach);
    let lateCount = 0;
    let askedCount = 0;
    let next = attempts.first ?? (await this.settled(attempts.next()));
    while (next !== undefined && this.stateOf(next) !== 'there') {
      if (++askedCount > 2 * endpoints.length) throw new Error('a request without an end');
      const isLate = this.stateOf(next) !== 'refuses';
      if (isLate) {
        lateCount++;
        this.waitedFor.push(next);
        this.clock.advance(connectMs);
      }
      next = await this.settled(attempts.next(next, isLate));
    }
    return { by: next, lateCount };
  }

  /** Time passes only while nothing else happens. */
  async settled<T>(promise: Promise<T>): Promise<T> {
    let isDone = false;
    void promise.finally(() => (isDone = true));
    await new Promise((done) => setImmediate(done));
    if (!isDone) this.clock.advance(connectMs);
    return promise;
  }
}

let world: World;
beforeEach(() => {
  world = new World();
});

describe('a pod that can’t be reached', () => {
  it('is waited for by one request, and by none while another serves', async () => {
    world.states.set(a, 'silent');
    expect(await world.request([a, b])).toEqual({ by: b, lateCount: 1 });
    for (let at = 0; at < 20; at++) {
      world.clock.advance(700);
      expect(await world.request([a, b])).toEqual({ by: b, lateCount: 0 });
    }
  });

  it('is looked at every two seconds while requests come, and takes its turn again', async () => {
    world.states.set(a, 'refuses');
    await world.request([a, b]);
    world.clock.advance(1_999);
    await world.request([a, b]);
    expect(world.dialled).toEqual([]);
    world.clock.advance(1);
    await world.request([a, b]);
    await world.request([a, b]);
    expect(world.dialled).toEqual([a]);
    world.states.set(a, 'there');
    world.clock.advance(2_000);
    expect((await world.request([a, b])).by).toBe(b);
    expect(world.dialled).toEqual([a, a]);
    expect((await world.request([a, b])).by).toBe(a);
  });

  it('costs no more when several are silent: those that are left are tried at once', async () => {
    for (const silent of [a, b]) world.states.set(silent, 'silent');
    const startMs = world.clock.monotonicMs();
    expect(await world.request([a, b, c])).toEqual({ by: c, lateCount: 1 });
    expect(world.clock.monotonicMs() - startMs).toBe(connectMs);
    // Nor the next request, while nobody knows yet of the others.
    expect(await world.request([b, c, a])).toEqual({ by: c, lateCount: 0 });
  });

  it('gets a second packet where it is alone: the first may have been lost', async () => {
    world.states.set(a, 'silent');
    const attempts = new Attempts(world.reach.order([a]), world.reach);
    world.states.set(a, 'there');
    expect(await attempts.next(a, true)).toBe(a);
  });

  it('that refuses is not asked twice by one request', async () => {
    for (const refusing of [a, b]) world.states.set(refusing, 'refuses');
    expect(await world.request([a, b])).toEqual({ by: undefined, lateCount: 0 });
    expect(world.dialled).toEqual([]);
  });

  it('is asked all the same when no other is known to be better', async () => {
    for (const gone of [a, b]) world.states.set(gone, 'silent');
    expect(await world.request([a, b])).toEqual({ by: undefined, lateCount: 1 });
    expect(await world.request([a, b])).toEqual({ by: undefined, lateCount: 0 });
    world.states.set(b, 'there');
    expect((await world.request([a, b])).by).toBe(b);
  });

  it('is looked at once at a time', async () => {
    world.states.set(a, 'silent');
    await world.request([a, b]);
    world.clock.advance(connectMs);
    await world.settled(Promise.resolve());
    world.clock.advance(2_000);
    world.dialled.length = 0;
    for (let at = 0; at < 3; at++) await world.request([a, b]);
    expect(world.dialled).toEqual([a]);
  });

  it('although it takes connections ends the request that it was found for', async () => {
    world.states.set(a, 'deaf');
    expect(await world.request([a])).toEqual({ by: undefined, lateCount: 2 });
  });

  it('is forgotten with its route', async () => {
    world.states.set(a, 'silent');
    await world.request([a, b]);
    world.reach.keep([b]);
    expect(world.reach.isFailing(a)).toBe(false);
  });
});

it('whatever pods do: while one is there requests are answered, wait for one at most, and for each pod once as often as it goes', async () => {
  const all = [0, 1, 2, 3].map(endpoint);
  const state = fc.constantFrom<State>('there', 'silent', 'refuses');
  const step = fc.record({
    who: fc.nat({ max: all.length - 1 }),
    becomes: state,
    start: fc.nat({ max: all.length - 1 }),
    afterMs: fc.nat({ max: 5_000 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), async (steps) => {
      const one = new World();
      const goes = new Map<Endpoint, number>();
      for (const { who, becomes, start, afterMs } of steps) {
        const pod = all[who] ?? a;
        if (becomes === 'silent' && one.stateOf(pod) !== 'silent')
          goes.set(pod, (goes.get(pod) ?? 0) + 1);
        one.states.set(pod, becomes);
        one.clock.advance(afterMs);
        const { by, lateCount } = await one.request([...all.slice(start), ...all.slice(0, start)]);
        const isThere = all.some((each) => one.stateOf(each) === 'there');
        expect(by !== undefined).toBe(isThere);
        expect(lateCount).toBeLessThanOrEqual(1);
      }
      for (const pod of all)
        expect(one.waitedFor.filter((each) => each === pod).length).toBeLessThanOrEqual(
          goes.get(pod) ?? 0,
        );
    }),
    { numRuns: 300 },
  );
});
