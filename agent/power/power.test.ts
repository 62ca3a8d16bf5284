import { describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { holdBy, powerEvent } from './logind.ts';
import { PowerWatch, type PowerEvent } from './power-watch.ts';

/** What happens, in order, when the system announces these. */
async function story(
  events: readonly (PowerEvent | Error)[],
  tell: () => Promise<void> = async () => {},
): Promise<string[]> {
  const told: string[] = [];
  const clock = new ManualClock();
  let onLost = (_why: string): void => {};
  const watch = new PowerWatch({
    system: {
      async *events() {
        for (const event of events) {
          if (event instanceof Error) {
            onLost(event.message);
            continue;
          }
          told.push(event);
          yield event;
        }
      },
      hold(lost) {
        onLost = lost;
        told.push('hold');
        return () => void told.push('release');
      },
      holdMs: async () => 31_000,
    },
    clock,
    logger: silentLogger,
    tell: () => {
      const { status, reason } = watch.verdict();
      const awake = reason === 'Awake' ? '' : ` ${reason}`;
      const state = watch.isGoingDown
        ? 'going down'
        : `asleep ${status}${status === 'False' ? awake : ''}`;
      told.push(`tell ${state}`);
      return tell();
    },
    shutDown: async ({ ordinarySeconds, criticalSeconds }) =>
      void told.push(`shut down ${ordinarySeconds}+${criticalSeconds}`),
    startAnew: () => void told.push('start anew'),
    signal: new AbortController().signal,
  });
  const run = watch.run();
  const isOver = run.then(() => true);
  while (!(await Promise.race([isOver, new Promise((resolve) => setImmediate(resolve))])))
    clock.advance(1_000);
  return told;
}

describe('a machine that is put to sleep', () => {
  it('is not let go before the cluster knows, and says when it is back', async () => {
    expect(await story(['sleep', 'resume'])).toEqual([
      'hold',
      'sleep',
      'tell asleep True',
      'release',
      'resume',
      'hold',
      'tell asleep False',
      'release',
    ]);
  });

  it('sleeps all the same when nobody answers', async () => {
    expect(await story(['sleep'], () => new Promise(() => {}))).toContain('release');
    expect(await story(['sleep'], () => Promise.reject(new Error('no')))).toContain('release');
  });
});

describe('a machine that nothing holds back', () => {
  const lost = new Error('systemd-inhibit: access denied');

  it('says so, and no longer when something does', async () => {
    expect(await story([lost, 'sleep', 'resume'])).toEqual([
      'hold',
      'tell asleep False NotHeld',
      'sleep',
      'tell asleep True',
      'release',
      'resume',
      'hold',
      'tell asleep False',
      'release',
    ]);
  });

  it('says why, in words', async () => {
    const watch = new PowerWatch({
      system: {
        events: async function* () {},
        hold(onLost) {
          onLost(lost.message);
          return () => {};
        },
        holdMs: async () => 0,
      },
      clock: new ManualClock(),
      logger: silentLogger,
      tell: async () => {},
      shutDown: async () => {},
      startAnew: () => {},
      signal: new AbortController().signal,
    });
    await watch.run();
    expect(watch.verdict()).toEqual({
      type: 'Asleep',
      status: 'False',
      reason: 'NotHeld',
      message:
        'the machine is awake; nothing holds back its sleep and shutdown (systemd-inhibit: access denied): its containers may be ended without their grace',
    });
  });
});

describe('a program that holds sleep back', () => {
  it.each([
    { name: 'is not there', program: 'no-such-program', why: /ENOENT/ },
    { name: 'ends by itself', program: 'false', why: /^false ended with code 1$/ },
  ])('and $name is told of', async ({ program, why }) => {
    const { promise, resolve } = Promise.withResolvers<string>();
    holdBy(program, [], resolve);
    expect(await promise).toMatch(why);
  });

  it('and is let go ends in silence', async () => {
    let isTold = false;
    const { child, release } = holdBy('cat', [], () => (isTold = true));
    const ended = new Promise((resolve) => child.once('exit', resolve));
    release();
    await ended;
    expect(isTold).toBe(false);
  });
});

describe('a machine that is shut down', () => {
  it('tells, ends its pods within the time there is, and lets go', async () => {
    expect(await story(['shutdown'])).toEqual([
      'hold',
      'shutdown',
      'tell going down',
      'shut down 20+10',
      'release',
      'release',
    ]);
  });

  it('begins anew when it stays up after all', async () => {
    expect(await story(['shutdown', 'shutdown-cancelled'])).toContain('start anew');
  });
});

describe('what logind says', () => {
  const line = (member: string, data: unknown) =>
    JSON.stringify({ type: 'signal', member, payload: { type: 'b', data: [data] } });
  it.each([
    [line('PrepareForSleep', true), 'sleep'],
    [line('PrepareForSleep', false), 'resume'],
    [line('PrepareForShutdown', true), 'shutdown'],
    [line('PrepareForShutdown', false), 'shutdown-cancelled'],
    [line('SessionNew', 'c1'), undefined],
    ['Monitoring bus message stream.', undefined],
  ])('%s is %s', (given, want) => {
    expect(powerEvent(given)).toBe(want);
  });
});
