import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { settle } from './testing/scripted-transport.ts';
import { WorkQueue } from './work-queue.ts';

let clock: ManualClock;
let queue: WorkQueue;
beforeEach(() => {
  clock = new ManualClock();
  queue = new WorkQueue({ clock, baseDelayMs: 5, maxDelayMs: 1000 });
});

describe('a work queue', () => {
  it('hands keys out in the order they came, each once', async () => {
    for (const key of ['a', 'b', 'a', 'c', 'b']) queue.add(key);
    expect([await queue.take(), await queue.take(), await queue.take(), queue.length]).toEqual([
      'a',
      'b',
      'c',
      0,
    ]);
  });

  it('hands a key out again only when it is done, if it was added meanwhile', async () => {
    queue.add('a');
    await queue.take();
    queue.add('a');
    queue.add('a');
    expect(queue.length).toBe(0);
    queue.done('a');
    expect(queue.length).toBe(1);
    expect(await queue.take()).toBe('a');
    queue.done('a');
    expect(queue.length).toBe(0);
  });

  it('wakes waiting takers in turn', async () => {
    const taken: (string | undefined)[] = [];
    void queue.take().then((key) => taken.push(`first ${key}`));
    void queue.take().then((key) => taken.push(`second ${key}`));
    queue.add('a');
    queue.add('b');
    await settle();
    expect(taken).toEqual(['first a', 'second b']);
  });

  it('keeps the earliest of several delays', () => {
    queue.addAfter('a', 100);
    queue.addAfter('a', 50);
    queue.addAfter('a', 200);
    clock.advance(49);
    expect(queue.length).toBe(0);
    clock.advance(1);
    expect(queue.length).toBe(1);
    expect(clock.nextTimerMs()).toBeUndefined();
  });

  it('doubles the delay of a key with every failure, until it is forgotten', () => {
    const delays: (number | undefined)[] = [];
    for (let failure = 0; failure < 10; failure++) {
      queue.addRateLimited('a');
      delays.push(clock.nextTimerMs());
      clock.advance(1000);
    }
    expect(delays).toEqual([5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
    expect(queue.requeueCount('a')).toBe(10);
    queue.forget('a');
    queue.addRateLimited('a');
    expect(clock.nextTimerMs()).toBe(5);
  });

  it('answers undefined to everyone once it is shut down, and drops what is added', async () => {
    const waiting = queue.take();
    queue.addAfter('b', 10);
    queue.shutDown();
    queue.add('a');
    expect([await waiting, await queue.take(), queue.length]).toEqual([undefined, undefined, 0]);
    expect(clock.nextTimerMs()).toBeUndefined();
  });
});
