// What an agent does when the leader wants a control plane on its machine, or none any more.
import { beforeEach, describe, expect, it } from 'vitest';
import type { Node } from '#kube/api/core.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import {
  controlPlanePackageText,
  controlPlaneReportAnnotation,
  controlPlaneTargetAnnotation,
  controlPlaneVersionAnnotation,
  packageSourceAnnotation,
} from '#kube/machinery/control-planes.ts';
import { ControlPlaneKeeper } from './keeper.ts';

const source = 'https://192.168.1.10:7443';
const own = 'https://127.0.0.1:7443';
const wanted = `0.2.0+${'b'.repeat(12)}`;

let calls: string[];
let answers: Record<string, { status: number; text: string }>;
let current: string | undefined;
let hasState: boolean;
let isServing: boolean;
let failure: { digest: string; why: string } | undefined;
let clock: ManualClock;

beforeEach(() => {
  calls = [];
  current = undefined;
  hasState = false;
  isServing = false;
  failure = undefined;
  clock = new ManualClock();
  answers = {
    controlplane: {
      status: 200,
      text: controlPlanePackageText({ version: wanted, sha256: 'b'.repeat(64), bytes: 9 }),
    },
    invitation: { status: 200, text: 'the invitation' },
    membership: { status: 200, text: 'none\n' },
  };
});

/** All that is under way by promises alone. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 8; turn++) await new Promise(setImmediate);
}

function keeper(): ControlPlaneKeeper {
  const transportTo = (server: string) => ({
    request: async ({ method, path }: { method: string; path: string }) => {
      const what = path.split('/').at(-1) ?? '';
      if (server === own) {
        if (!isServing) throw new Error('refused');
        return { status: 200, headers: {}, body: Buffer.from('ok') };
      }
      calls.push(`${method} ${what}`);
      const { status, text } = answers[what] ?? { status: 404, text: '' };
      return { status, headers: {}, body: Buffer.from(text) };
    },
    stream: async () => ({
      status: 200,
      headers: {},
      chunks: (async function* () {
        yield Buffer.from('package');
      })(),
    }),
  });
  return new ControlPlaneKeeper({
    placed: {
      get current() {
        return current;
      },
      has: async () => false,
      async place(sha256, file) {
        let bytes = '';
        for await (const chunk of file) bytes += Buffer.from(chunk).toString();
        calls.push(`place ${sha256.slice(0, 3)} ${bytes}`);
      },
      holdsState: async () => hasState,
      async join(invitation, digest) {
        calls.push(`join by ${invitation}`);
        current = digest;
      },
      async tryOut(digest) {
        calls.push('try out');
        current = digest;
      },
      confirm: async () => void calls.push('confirm'),
      async drop() {
        calls.push('drop');
        current = undefined;
      },
      failure: async () => failure,
      lastWords: async () => 'port 7443 is taken',
      measureSync: async () => 4,
    },
    to: (server, use) => use(transportTo(server)),
    ownServer: own,
    isAlwaysOn: true,
    onChange: () => {},
    restart: () => calls.push('restart'),
    clock,
    logger: silentLogger,
    signal: new AbortController().signal,
  });
}

function node(target: string | undefined): Node {
  const annotations = {
    [packageSourceAnnotation]: source,
    ...(target !== undefined && { [controlPlaneTargetAnnotation]: target }),
  };
  return { apiVersion: 'v1', kind: 'Node', metadata: { name: 'pi', annotations }, spec: {} };
}

async function told(made: ControlPlaneKeeper, target: string | undefined): Promise<void> {
  made.onNode(node(target));
  await settle();
}

describe('a machine that is chosen', () => {
  it('fetches, asks for its invitation last, and starts it', async () => {
    await told(keeper(), wanted);
    expect(calls).toEqual([
      'GET controlplane',
      'place bbb package',
      'POST invitation',
      'join by the invitation',
      'restart',
    ]);
  });

  it('says that it serves when it does, and goes over nothing again', async () => {
    current = 'b'.repeat(12);
    isServing = true;
    const made = keeper();
    await told(made, wanted);
    await told(made, wanted);
    expect(calls).toEqual(['confirm']);
    expect(made.annotations()[controlPlaneVersionAnnotation]).toBe(wanted);
  });

  it('says why it waits, and tries again', async () => {
    answers['invitation'] = { status: 403, text: '{"message":"pi was not chosen"}' };
    const made = keeper();
    await told(made, wanted);
    expect(made.annotations()[controlPlaneReportAnnotation]).toBe(
      `${'b'.repeat(12)} Waits: invitation was refused (403): pi was not chosen`,
    );
    answers['invitation'] = { status: 200, text: 'the invitation' };
    clock.advance(2000);
    await settle();
    expect(calls.at(-1)).toBe('restart');
  });

  it('says what its control plane says when that does not come up', async () => {
    current = 'b'.repeat(12);
    const made = keeper();
    await told(made, wanted);
    for (let i = 0; i < 62; i++) {
      clock.advance(1000);
      await settle();
    }
    expect(made.annotations()[controlPlaneReportAnnotation]).toBe(
      `${'b'.repeat(12)} Waits: port 7443 is taken`,
    );
  });

  it('places nothing but what is wanted', async () => {
    const text = controlPlanePackageText({
      version: '0.3.0+cccccccccccc',
      sha256: 'c'.repeat(64),
      bytes: 9,
    });
    answers['controlplane'] = { status: 200, text };
    await told(keeper(), wanted);
    expect(calls).toEqual(['GET controlplane']);
  });
});

describe('a machine that keeps the state', () => {
  beforeEach(() => {
    current = 'a'.repeat(12);
    hasState = true;
  });

  it('tries another one out, by no other invitation', async () => {
    await told(keeper(), wanted);
    expect(calls).toEqual(['GET controlplane', 'place bbb package', 'try out']);
  });

  it('tells what was rolled back, once, and does not try it again', async () => {
    failure = { digest: 'b'.repeat(12), why: 'ended with code 1' };
    const made = keeper();
    await told(made, wanted);
    await told(made, wanted);
    expect(calls).toEqual([]);
    expect(made.annotations()[controlPlaneReportAnnotation]).toBe(
      `${'b'.repeat(12)} Failed: ended with code 1`,
    );
  });

  it('clears its copy away only when it counts no more', async () => {
    answers['membership'] = { status: 200, text: 'member\n' };
    const made = keeper();
    await told(made, 'none');
    expect(calls).toEqual(['GET membership']);
    answers['membership'] = { status: 200, text: 'none\n' };
    clock.advance(2000);
    await settle();
    expect(calls).toEqual(['GET membership', 'GET membership', 'drop']);
  });

  it.each([
    ['nobody names anything', undefined],
    ['what is named is nothing', 'latest'],
  ])('does nothing when %s', async (_, target) => {
    await told(keeper(), target);
    expect(calls).toEqual([]);
  });
});
