import { beforeEach, describe, expect, it } from 'vitest';
import type { Event, ObjectReference } from '../api/core.ts';
import { ManualClock } from '../base/clock.ts';
import { silentLogger } from '../base/logger.ts';
import { seededRandom } from '../base/random.ts';
import { notFound } from '../machinery/status.ts';
import { ApiEventRecorder } from './event-recorder.ts';
import { events } from './resources.ts';
import { RestClient } from './rest-client.ts';
import { ScriptedTransport } from './testing/scripted-transport.ts';
import { TransportError, type TransportRequest } from './transport.ts';

const web: ObjectReference = { kind: 'Pod', namespace: 'shop', name: 'web', uid: 'u1' };

let clock: ManualClock;
let transport: ScriptedTransport;
let recorder: ApiEventRecorder;
beforeEach(() => {
  clock = new ManualClock();
  transport = new ScriptedTransport();
  transport.answer = () => ({ body: {} });
  const client = new RestClient({ transport, clock, random: seededRandom(1) });
  recorder = new ApiEventRecorder({
    client,
    clock,
    logger: silentLogger,
    component: 'kubelet',
    host: 'pi',
  });
});

function bodies(method: TransportRequest['method']): Partial<Event>[] {
  const sent = transport.requests.filter((request) => request.method === method);
  return sent.map(({ body }) => JSON.parse(String(body)) as Partial<Event>);
}

describe('an event recorder', () => {
  it('creates an Event in the namespace of its object', async () => {
    recorder.event(web, 'Normal', 'Started', 'Started container web');
    await recorder.flush();
    expect(transport.requests[0]?.path).toBe('/api/v1/namespaces/shop/events');
    expect(bodies('POST')[0]).toMatchObject({
      involvedObject: web,
      type: 'Normal',
      reason: 'Started',
      message: 'Started container web',
      source: { component: 'kubelet', host: 'pi' },
      firstTimestamp: '2023-11-14T22:13:20Z',
      count: 1,
    });
  });

  it('puts events about cluster-scoped objects into the namespace default', async () => {
    recorder.event({ kind: 'Node', name: 'pi' }, 'Normal', 'NodeReady', 'ready');
    await recorder.flush();
    expect(transport.requests[0]?.path).toBe('/api/v1/namespaces/default/events');
  });

  it('raises the count of a repeated event', async () => {
    recorder.event(web, 'Warning', 'BackOff', 'Back-off');
    await recorder.flush();
    clock.advance(10_000);
    recorder.event(web, 'Warning', 'BackOff', 'Back-off');
    await recorder.flush();
    expect(bodies('POST')).toHaveLength(1);
    expect(bodies('PATCH')).toEqual([
      { count: 2, lastTimestamp: '2023-11-14T22:13:30Z', message: 'Back-off' },
    ]);
  });

  it('creates a repeated event anew, count and all, when it has expired', async () => {
    recorder.event(web, 'Warning', 'BackOff', 'Back-off');
    await recorder.flush();
    transport.answer = ({ method }) =>
      method === 'PATCH' ? { status: 404, body: notFound(events, 'x').status } : { body: {} };
    recorder.event(web, 'Warning', 'BackOff', 'Back-off');
    await recorder.flush();
    expect(bodies('POST').map((event) => event.count)).toEqual([1, 2]);
  });

  it('combines events that differ in their message only, after the tenth', async () => {
    for (let i = 0; i < 13; i++) recorder.event(web, 'Warning', 'Failed', `try ${i}`);
    await recorder.flush();
    expect(bodies('POST')).toHaveLength(11);
    expect(bodies('POST').at(-1)?.message).toBe('(combined from similar events): try 10');
    expect(bodies('PATCH').map((event) => event.count)).toEqual([2, 3]);
  });

  it('lets a chatty object have 25 events, then one every five minutes', async () => {
    for (let i = 0; i < 30; i++) recorder.event(web, 'Normal', `Reason${i}`, 'text');
    await recorder.flush();
    expect([bodies('POST').length, recorder.droppedCount]).toEqual([25, 5]);
    clock.advance(300_000);
    recorder.event(web, 'Normal', 'Later', 'text');
    recorder.event(web, 'Normal', 'TooMuch', 'text');
    await recorder.flush();
    expect(bodies('POST').at(-1)?.reason).toBe('Later');
  });

  it('survives a server that does not answer', async () => {
    transport.answer = () => new TransportError('refused');
    recorder.event(web, 'Normal', 'Lost', 'text');
    await recorder.flush();
    transport.answer = () => ({ body: {} });
    recorder.event(web, 'Normal', 'Kept', 'text');
    await recorder.flush();
    expect(bodies('POST').map((event) => event.reason)).toEqual(['Lost', 'Kept']);
  });

  it('drops what exceeds its bound instead of growing', () => {
    for (let i = 0; i < 1100; i++)
      recorder.event({ kind: 'Pod', namespace: 'x', name: `p${i}` }, 'Normal', 'R', 'text');
    expect(recorder.droppedCount).toBeGreaterThan(0);
  });
});
