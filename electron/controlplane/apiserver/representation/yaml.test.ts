import { describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { startTestApi } from '../../../../test/setup/api.ts';
import { YamlReader } from './yaml.ts';

const never = new AbortController().signal;

/** Longer than what is read at once. */
const longText = Array.from({ length: 2000 }, (_, index) => `key-${index}: value ${index}`).join(
  '\n',
);
/** Takes a thread half a minute and more memory than it may have. */
const bomb = `a: [${'1,'.repeat(1_500_000)}]`;

describe('a YAML body', () => {
  it('means the same whether short or long', async () => {
    const reader = new YamlReader(new ManualClock());
    expect(await reader.read('a: 1\nb: [x, "2", null]', never)).toEqual({
      value: { a: 1, b: ['x', '2', null] },
      duplicates: [],
    });
    const { value } = await reader.read(longText, never);
    expect(Object.keys(value as object)).toHaveLength(2000);
    expect(value).toMatchObject({ 'key-0': 'value 0', 'key-1999': 'value 1999' });
  });

  it('that is long is judged as a short one is', async () => {
    const reader = new YamlReader(new ManualClock());
    const { duplicates } = await reader.read(`${longText}\nkey-7: again`, never);
    expect(duplicates).toEqual([
      'yaml: unmarshal errors:\n  line 2001: key "key-7" already set in map',
    ]);
    await expect(reader.read(`${longText}\nx: {}\n---\n`, never)).rejects.toThrow('multiple');
  });

  const short = [
    { text: 'a: &x {b: 1}\nc: {<<: *x}', inThread: true },
    { text: '{"a": &x {b: 1}, "c":*x}', inThread: true },
    { text: 'a: {b: 1}\nc: {b: 1}', inThread: false },
    { text: 'a: {b: 1}\nc: {b: 1} # *x', inThread: false },
    { text: 'a: &x {b: 1}\nc: {b: 1} # "*" && "*.x"', inThread: false },
  ];
  it.each(short)('that is short: $text, in a thread: $inThread', async ({ text, inThread }) => {
    const clock = new ManualClock();
    const answer = new YamlReader(clock).read(text, never);
    await new Promise((resolve) => setImmediate(resolve));
    expect(clock.nextTimerMs() !== undefined).toBe(inThread);
    expect((await answer).value).toEqual({ a: { b: 1 }, c: { b: 1 } });
  });

  it('that takes too long is 413, and the next one is read', async () => {
    const clock = new ManualClock();
    const reader = new YamlReader(clock);
    const refused = expect(reader.read(bomb, never)).rejects.toMatchObject({
      code: 413,
      status: { reason: 'RequestEntityTooLarge' },
    });
    const next = reader.read(longText, never);
    await untilTimer(clock);
    clock.advance(10_000);
    await refused;
    expect(Object.keys((await next).value as object)).toHaveLength(2000);
  });

  it('whose client left is given up', async () => {
    const clock = new ManualClock();
    const reader = new YamlReader(clock);
    const client = new AbortController();
    const first = expect(reader.read(bomb, client.signal)).rejects.toMatchObject({ code: 504 });
    const queued = expect(reader.read(bomb, client.signal)).rejects.toMatchObject({ code: 504 });
    await untilTimer(clock);
    client.abort();
    await first;
    await queued;
    expect(clock.nextTimerMs()).toBeUndefined();
  });

  it('is 429 when sixteen are there already', async () => {
    const reader = new YamlReader(new ManualClock());
    const client = new AbortController();
    const there = Array.from({ length: 16 }, () => reader.read(bomb, client.signal));
    await expect(reader.read(longText, never)).rejects.toMatchObject({ code: 429 });
    client.abort();
    const ends = await Promise.allSettled(there);
    expect(ends.every(({ status }) => status === 'rejected')).toBe(true);
    expect(await reader.read(longText, never)).toBeDefined();
  });

  it('holds up nobody else while it is read', async () => {
    const api = await startTestApi();
    const order: string[] = [];
    const url = '/api/v1/namespaces/default/configmaps';
    const watch = await api.watch(`${url}?watch=true`);
    const headers = { 'content-type': 'application/yaml' };
    const refused = api.request('POST', url, { body: bomb, headers }).then(({ json }) => {
      order.push('bomb');
      return json;
    });
    await untilTimer(api.clock);
    expect((await api.request('POST', url, { body: configMap })).status).toBe(201);
    expect((await api.request('GET', `${url}/seen`)).status).toBe(200);
    expect(await watch.next()).toMatchObject({ type: 'ADDED' });
    order.push('others');
    api.clock.advance(10_000);
    expect(await refused).toMatchObject({ kind: 'Status', code: 413 });
    expect(order).toEqual(['others', 'bomb']);
    await watch.close();
    await api.stop();
  });
});

const configMap = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'seen' } };

/** The thread is at work once its time is measured. */
async function untilTimer(clock: ManualClock): Promise<void> {
  while (clock.nextTimerMs() === undefined || (clock.nextTimerMs() ?? 0) > 10_000)
    await new Promise((resolve) => setImmediate(resolve));
}
