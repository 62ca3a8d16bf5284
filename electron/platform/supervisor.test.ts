import { describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { exitCodes, type ChildMessage } from './parent-channel.ts';
import { childEnvironment, Supervisor, type ChildHandle } from './supervisor.ts';

class FakeChild implements ChildHandle {
  readonly pid = 1;
  readonly sent: ChildMessage[] = [];
  readonly signals: string[] = [];
  exit: (code: number | null) => void = () => {};
  send(message: ChildMessage): void {
    this.sent.push(message);
  }
  kill(signal: 'SIGTERM' | 'SIGKILL'): void {
    this.signals.push(signal);
    this.exit(null);
  }
  onMessage(): void {}
  onExit(listener: (code: number | null) => void): void {
    this.exit = listener;
  }
}

function setUp() {
  const clock = new ManualClock();
  const children: FakeChild[] = [];
  let gaveUp = false;
  const supervisor = new Supervisor({
    name: 'child',
    clock,
    logger: silentLogger,
    spawn() {
      const child = new FakeChild();
      children.push(child);
      return child;
    },
    onMessage() {},
    onCannotRun() {
      gaveUp = true;
    },
  });
  supervisor.start();
  return { clock, children, supervisor, gaveUp: () => gaveUp };
}

describe('Supervisor', () => {
  it('starts a dead child again, each time after twice the wait', () => {
    const { clock, children } = setUp();
    children[0]?.exit(1);
    clock.advance(199);
    expect(children).toHaveLength(1);
    clock.advance(1);
    expect(children).toHaveLength(2);
    children[1]?.exit(null);
    clock.advance(399);
    expect(children).toHaveLength(2);
    clock.advance(1);
    expect(children).toHaveLength(3);
  });

  it('forgets the back-off of a child that ran for over a minute', () => {
    const { clock, children } = setUp();
    children[0]?.exit(1);
    clock.advance(200);
    clock.advance(61_000);
    children[1]?.exit(1);
    clock.advance(200);
    expect(children).toHaveLength(3);
  });

  it('gives up on a child that says it cannot run', () => {
    const { clock, children, gaveUp } = setUp();
    children[0]?.exit(exitCodes.cannotRun);
    clock.advance(60_000);
    expect([children.length, gaveUp()]).toEqual([1, true]);
  });

  it('stops in order: asks, and kills only what does not listen', async () => {
    const { clock, children, supervisor } = setUp();
    const stopped = supervisor.stop();
    expect(children[0]?.sent).toEqual([{ type: 'stop' }]);
    clock.advance(2_199);
    expect(children[0]?.signals).toEqual([]);
    clock.advance(1);
    await stopped;
    expect(children[0]?.signals).toEqual(['SIGKILL']);
    clock.advance(60_000);
    expect(children).toHaveLength(1);
  });

  it('does not start a child again that died while a stop was waiting for its turn', async () => {
    const { clock, children, supervisor } = setUp();
    children[0]?.exit(1);
    await supervisor.stop();
    clock.advance(60_000);
    expect(children).toHaveLength(1);
  });
});

it('gives the agent no certificates to trust, and others what they had', () => {
  const own = { PATH: '/bin', NODE_EXTRA_CA_CERTS: '/ca', SSL_CERT_FILE: '/all' };
  const agent = childEnvironment('/out/agent/main.js', own);
  expect(agent).toMatchObject({ PATH: '/bin', MALLOC_ARENA_MAX: '1' });
  expect(Object.keys(agent)).not.toContain('NODE_EXTRA_CA_CERTS');
  expect(Object.keys(agent)).not.toContain('SSL_CERT_FILE');
  expect(childEnvironment('/out/controlplane/main.js', own)).toMatchObject(own);
});
