import { describe, expect, it } from 'vitest';
import { Interruption } from './interruption.ts';

describe('an interruption', () => {
  it('hands on what was waited for, and its failure', async () => {
    const interruption = new Interruption();
    expect(await interruption.wait(Promise.resolve(1))).toBe(1);
    await expect(interruption.wait(Promise.reject(new Error('no')))).rejects.toThrow('no');
  });

  it('ends the wait under way and all later ones', async () => {
    const interruption = new Interruption();
    const waiting = interruption.wait(new Promise(() => undefined));
    interruption.stop();
    expect(await waiting).toBeUndefined();
    expect(await interruption.wait(new Promise(() => undefined))).toBeUndefined();
    expect(interruption.isOver).toBe(true);
  });

  it('swallows a failure that comes after the end', async () => {
    const interruption = new Interruption();
    const { promise, reject } = Promise.withResolvers<never>();
    const waiting = interruption.wait(promise);
    interruption.stop();
    expect(await waiting).toBeUndefined();
    reject(new Error('too late'));
    await expect(promise).rejects.toThrow('too late');
  });
});
