import { beforeEach, describe, expect, it } from 'vitest';
import { AssertionError } from '../base/assert.ts';
import { ManualClock } from '../base/clock.ts';
import { silentLogger } from '../base/logger.ts';
import { seededRandom } from '../base/random.ts';
import { notFound } from '../machinery/status.ts';
import { Controller, type Reconcile } from './controller.ts';
import { Expectations } from './expectations.ts';
import { Informer } from './informer.ts';
import { configMaps } from './resources.ts';
import { RestClient } from './rest-client.ts';
import { ScriptedTransport, settle } from './testing/scripted-transport.ts';

let clock: ManualClock;
let stop: AbortController;
beforeEach(() => {
  clock = new ManualClock();
  stop = new AbortController();
});

function controller(reconcile: Reconcile, workers = 1): Controller {
  return new Controller({ name: 'test', clock, logger: silentLogger, reconcile, workers });
}

describe('a controller', () => {
  it('reconciles nothing before its sources have synced, then every key once', async () => {
    const transport = new ScriptedTransport();
    const random = seededRandom(1);
    const client = new RestClient({ transport, clock, random });
    const informer = new Informer(
      { client, clock, random, logger: silentLogger },
      { resource: configMaps },
    );
    const seen: string[] = [];
    const subject = controller(async (key) => void seen.push(key));
    subject.watch(informer);
    informer.start(stop.signal);
    void subject.run(stop.signal);
    await settle();
    const metadata = { namespace: 'ns', name: 'a', resourceVersion: '1' };
    transport.watch.send('ADDED', { kind: 'ConfigMap', metadata });
    await settle();
    expect(seen).toEqual([]);
    const annotations = { 'k8s.io/initial-events-end': 'true' };
    transport.watch.send('BOOKMARK', {
      kind: 'ConfigMap',
      metadata: { resourceVersion: '1', annotations },
    });
    await settle();
    expect(seen).toEqual(['ns/a']);
  });

  it('tells what the API server refused in a sentence, and what else failed with its stack', async () => {
    const told: unknown[] = [];
    const logger = {
      ...silentLogger,
      warn: (_: string, fields?: object) => void told.push(fields),
    };
    const failure = new Error('broken');
    const refusal = notFound({ group: '', resource: 'pods' }, 'x');
    const failures: Error[] = [refusal, failure];
    const subject = new Controller({
      name: 'test',
      clock,
      logger,
      reconcile: () => Promise.reject(failures.shift() ?? failure),
    });
    subject.enqueue('a');
    subject.enqueue('b');
    void subject.run(stop.signal);
    await settle();
    expect(told.slice(0, 2)).toEqual([
      { controller: 'test', key: 'a', error: 'pods "x" not found' },
      { controller: 'test', key: 'b', error: failure },
    ]);
  });

  it('tries a failed key again after a growing pause', async () => {
    const times: number[] = [];
    const subject = controller(async () => {
      times.push(clock.monotonicMs());
      if (times.length < 4) throw new Error('not yet');
    });
    subject.enqueue('a');
    void subject.run(stop.signal);
    for (let i = 0; i < 60; i++) {
      await settle();
      clock.advance(1);
    }
    expect(times).toEqual([0, 5, 15, 35]);
  });

  it('comes back when a reconcile asks for it', async () => {
    let count = 0;
    const subject = controller(async () => {
      count++;
      return count === 1 ? { requeueAfterMs: 500 } : {};
    });
    subject.enqueue('a');
    void subject.run(stop.signal);
    await settle();
    clock.advance(499);
    await settle();
    expect(count).toBe(1);
    clock.advance(1);
    await settle();
    expect(count).toBe(2);
  });

  it('works on several keys at a time but never twice on one', async () => {
    const running: string[] = [];
    const release: (() => void)[] = [];
    const subject = controller((key) => {
      running.push(key);
      return new Promise<void>((resolve) => release.push(resolve));
    }, 2);
    subject.enqueue('a');
    subject.enqueue('b');
    void subject.run(stop.signal);
    await settle();
    subject.enqueue('a');
    await settle();
    expect(running).toEqual(['a', 'b']);
    release[0]?.();
    await settle();
    expect(running).toEqual(['a', 'b', 'a']);
  });

  it('lets a failed assertion end the process', async () => {
    const subject = controller(() => Promise.reject(new AssertionError('broken')));
    subject.enqueue('a');
    await expect(subject.run(stop.signal)).rejects.toThrow('broken');
  });

  it('ends when its signal aborts', async () => {
    const subject = controller(async () => {});
    const run = subject.run(stop.signal);
    await settle();
    stop.abort();
    await expect(run).resolves.toBeUndefined();
  });
});

describe('expectations', () => {
  it('are unsatisfied until every create and delete was seen', () => {
    const expectations = new Expectations(clock);
    const states = [expectations.isSatisfied('rs')];
    expectations.expectCreations('rs', 2);
    expectations.creationObserved('rs');
    states.push(expectations.isSatisfied('rs'));
    expectations.creationObserved('rs');
    states.push(expectations.isSatisfied('rs'));
    expectations.expectDeletions('rs', ['x', 'y']);
    expectations.deletionObserved('rs', 'x');
    expectations.deletionObserved('rs', 'x');
    states.push(expectations.isSatisfied('rs'));
    expectations.deletionObserved('rs', 'y');
    states.push(expectations.isSatisfied('rs'));
    expect(states).toEqual([true, false, true, false, true]);
  });

  it('lapse after five minutes', () => {
    const expectations = new Expectations(clock);
    expectations.expectCreations('rs', 1);
    clock.advance(300_000);
    expect(expectations.isSatisfied('rs')).toBe(false);
    clock.advance(1);
    expect(expectations.isSatisfied('rs')).toBe(true);
  });
});
