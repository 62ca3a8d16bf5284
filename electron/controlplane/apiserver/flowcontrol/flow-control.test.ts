import { describe, expect, it } from 'vitest';
import type { FlowSchema, PriorityLevelConfiguration } from '#kube/api/flowcontrol.ts';
import { ManualClock } from '#kube/base/clock.ts';
import type { UserInfo } from '../http.ts';
import { parseRequestInfo } from '../request-info.ts';
import { bootstrapLevels, bootstrapSchemas } from './bootstrap.ts';
import { FlowControl, type Seat } from './flow-control.ts';

const alice: UserInfo = { name: 'alice', groups: ['system:authenticated'] };

/** A server that does one thing at a time for people. */
function oneSeat(queueLengthLimit = 50) {
  const headers: Record<string, string> = {};
  const clock = new ManualClock();
  const flowControl = new FlowControl({ clock, seats: 1 });
  const levels = bootstrapLevels.map((level): PriorityLevelConfiguration => {
    const isPeoples = level.metadata.name === 'global-default';
    const limits = {
      nominalConcurrencyShares: isPeoples ? 1 : 0,
      limitResponse: { type: 'Queue', queuing: { queues: 1, handSize: 1, queueLengthLimit } },
    };
    return level.spec.type === 'Exempt'
      ? level
      : { ...level, spec: { type: 'Limited', limited: limits } };
  });
  flowControl.configure([], levels);
  const take = (signal = new AbortController().signal, deadlineMs = 60_000): Promise<Seat> => {
    const query = new URLSearchParams();
    const info = parseRequestInfo({ method: 'GET', path: '/api/v1/pods', query } as never);
    return flowControl.take({ query, signal }, info, { user: alice, deadlineMs, headers });
  };
  return { clock, flowControl, take, headers };
}

const tooMany = { status: { message: 'Too many requests, please try again later.', code: 429 } };

describe('a request', () => {
  it('waits for its seat, and gets it when the one before leaves', async () => {
    const { take } = oneSeat();
    const first = await take();
    let hasSeat = false;
    const second = take().then((seat) => {
      hasSeat = true;
      return seat;
    });
    await Promise.resolve();
    expect(hasSeat).toBe(false);
    first.release();
    first.release();
    (await second).release();
    (await take()).release();
  });

  const waits = [
    { name: 'at most 15 s', deadlineMs: 60_000, maxMs: 15_000 },
    { name: 'at most a quarter of its time', deadlineMs: 4_000, maxMs: 1_000 },
  ];
  for (const { name, deadlineMs, maxMs } of waits)
    it(`waits ${name}, and is told to come again`, async () => {
      const { clock, take, flowControl } = oneSeat();
      await take();
      let error: unknown;
      const waiting = take(undefined, deadlineMs).catch((reason: unknown) => (error = reason));
      clock.advance(maxMs - 1);
      await Promise.resolve();
      expect(error).toBeUndefined();
      clock.advance(1);
      await waiting;
      expect(error).toMatchObject(tooMany);
      expect([...flowControl.counts().rejected]).toEqual([
        ['global-default,global-default,time-out', 1],
      ]);
    });

  it('is sent away at once when its queue is full', async () => {
    const { take, headers } = oneSeat(1);
    const first = await take();
    const second = take();
    for (const name of Object.keys(headers)) delete headers[name];
    await expect(take()).rejects.toMatchObject(tooMany);
    expect(Object.keys(headers)).toEqual([
      'x-kubernetes-pf-flowschema-uid',
      'x-kubernetes-pf-prioritylevel-uid',
    ]);
    first.release();
    (await second).release();
  });

  it('leaves the queue when its client goes away', async () => {
    const { take, flowControl } = oneSeat();
    const first = await take();
    const gone = new AbortController();
    const waiting = take(gone.signal);
    gone.abort();
    await expect(waiting).rejects.toMatchObject(tooMany);
    await expect(take(AbortSignal.abort())).rejects.toMatchObject(tooMany);
    first.release();
    expect(flowControl.counts().levels.reduce((sum, one) => sum + one.inUse + one.waiting, 0)).toBe(
      0,
    );
  });

  it('is told by which objects it was judged', async () => {
    const { take, flowControl, headers } = oneSeat();
    const uids = { 'global-default': 'u-1' };
    const mark = <T extends { metadata: { name: string } }>(
      objects: readonly T[],
      prefix: string,
    ): T[] =>
      objects
        .filter(({ metadata }) => metadata.name in uids)
        .map((one) => ({ ...one, metadata: { ...one.metadata, uid: `${prefix}-uid` } }));
    flowControl.configure(
      mark<FlowSchema>(bootstrapSchemas, 'schema'),
      mark(bootstrapLevels, 'level'),
    );
    const seat = await take();
    const want = {
      'x-kubernetes-pf-flowschema-uid': 'schema-uid',
      'x-kubernetes-pf-prioritylevel-uid': 'level-uid',
    };
    expect(headers).toEqual(want);
    seat.release();
  });

  it('of a schema whose level is missing belongs to the next that fits', async () => {
    const { take, flowControl, headers } = oneSeat();
    const dangling = structuredClone(
      bootstrapSchemas.find(({ metadata }) => metadata.name === 'global-default'),
    );
    if (dangling === undefined) throw new Error('there is one');
    dangling.metadata = { name: 'mine', uid: 'mine' };
    dangling.spec.matchingPrecedence = 10;
    dangling.spec.priorityLevelConfiguration.name = 'nowhere';
    flowControl.configure([dangling], []);
    (await take()).release();
    expect(headers['x-kubernetes-pf-flowschema-uid']).toBe('');
    dangling.spec.priorityLevelConfiguration.name = 'global-default';
    flowControl.configure([dangling], []);
    await take();
    expect(headers['x-kubernetes-pf-flowschema-uid']).toBe('mine');
  });
});
