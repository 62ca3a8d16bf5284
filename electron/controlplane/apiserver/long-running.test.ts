import { describe, expect, it } from 'vitest';
import { onEnd } from './long-running.ts';

async function* numbers(): AsyncGenerator<number> {
  yield 1;
  yield 2;
}

/** Wrapped by three, as the chain's filters do; who was told, in order. */
function wrapped(signal: AbortSignal) {
  const told: string[] = [];
  const inner = onEnd(numbers(), signal, () => told.push('a'));
  const outer = ['b', 'c'].reduce(
    (stream, name) => onEnd(stream, signal, () => told.push(name)),
    inner,
  );
  return { told, inner, outer };
}

describe('a stream whose end several wait for', () => {
  it('tells each once, in the order they came, when it has ended', async () => {
    const { told, outer } = wrapped(new AbortController().signal);
    const seen: number[] = [];
    for await (const number of outer) seen.push(number);
    expect([seen, told]).toEqual([
      [1, 2],
      ['a', 'b', 'c'],
    ]);
  });

  it('tells each when its client goes away, and who comes later at once', () => {
    const client = new AbortController();
    const { told, outer } = wrapped(client.signal);
    client.abort();
    client.abort();
    onEnd(outer, client.signal, () => told.push('late'));
    expect(told).toEqual(['a', 'b', 'c', 'late']);
  });

  it('is wrapped once, so that a message does not pass through each of them', () => {
    const { inner, outer } = wrapped(new AbortController().signal);
    expect(outer).toBe(inner);
  });
});
