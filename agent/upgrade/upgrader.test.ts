import { beforeEach, expect, it } from 'vitest';
import type { Node } from '#kube/api/core.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import type { TransportRequest } from '#kube/client/transport.ts';
import { packageText, retryAnnotation, targetAnnotation } from '#kube/machinery/agent-versions.ts';
import type { Installation } from './installation.ts';
import { Upgrader } from './upgrader.ts';

/** All that is under way by promises alone. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
}

const own = '0.1.0+aaaaaaaaaaaa';
const next = `0.2.0+${'b'.repeat(12)}`;
const files = {
  runtime: { sha256: 'c'.repeat(64), bytes: 3 },
  agent: { sha256: 'b'.repeat(64), bytes: 2 },
};

let calls: string[];
let hasRuntime: boolean;
let onTrial: boolean;
let isDiskReadOnly: boolean;
let failure: Awaited<ReturnType<Installation['failure']>>;
let offered: string;
let status: number;
let clock: ManualClock;
let abort: AbortController;

beforeEach(() => {
  calls = [];
  hasRuntime = true;
  onTrial = false;
  isDiskReadOnly = false;
  failure = undefined;
  offered = packageText({ version: next, ...files });
  status = 200;
  clock = new ManualClock();
  abort = new AbortController();
});

async function upgrader(): Promise<Upgrader> {
  const installation: Installation = {
    version: own,
    digest: 'aaaaaaaaaaaa',
    startedOnTrial: onTrial,
    async confirm() {
      calls.push('confirm');
      if (isDiskReadOnly) throw new Error('EROFS: read-only file system');
    },
    failure: async () => failure,
    forgetFailure: async () => void (failure = undefined),
    async run(program, args, input) {
      let bytes = '';
      for await (const chunk of input ?? []) bytes += Buffer.from(chunk).toString();
      calls.push([program, ...args.map((arg) => arg.slice(0, 3)), bytes].join(' ').trim());
      if (program === 'check-runtime') return hasRuntime ? 'done' : 'todo';
      return program === 'check-agent' ? 'todo' : 'done';
    },
  };
  const made = new Upgrader({
    installation,
    transport: () => ({
      request: async () => ({ status, headers: {}, body: Buffer.from(offered) }),
      stream: async ({ path }: TransportRequest) => ({
        status,
        headers: {},
        chunks: (async function* () {
          yield Buffer.from(path.slice(-3));
        })(),
      }),
    }),
    architecture: 'x64',
    onChange: () => calls.push('tell'),
    clearRetry: async () => void calls.push('heard'),
    restart: () => calls.push('restart'),
    clock,
    logger: silentLogger,
    signal: abort.signal,
  });
  await made.start();
  return made;
}

function node(target: string): Node {
  const metadata = { name: 'pi', annotations: { [targetAnnotation]: target } };
  return { apiVersion: 'v1', kind: 'Node', metadata, spec: {} };
}

it('has the other agent placed and tried out, and ends', async () => {
  (await upgrader()).onNode(node(next));
  await settle();
  expect(calls).toEqual([
    'check-runtime ccc',
    'check-agent bbb ccc',
    'place-agent bbb ccc bbb',
    'try-out bbb',
    'restart',
  ]);
});

it('tries once more what failed when a person says so', async () => {
  failure = { digest: 'bbbbbbbbbbbb', why: 'ended with code 1' };
  const made = await upgrader();
  made.onNode(node(next));
  await settle();
  expect(calls).toEqual([]);
  const { metadata } = node(next);
  const annotations = { ...metadata.annotations, [retryAnnotation]: 'requested' };
  made.onNode({ ...node(next), metadata: { ...metadata, annotations } });
  await settle();
  expect([calls, failure]).toEqual([['tell', 'heard'], undefined]);
  calls.length = 0;
  made.onNode(node(next));
  await settle();
  expect(calls.at(-1)).toBe('restart');
});

it('fetches Node too where there is another', async () => {
  hasRuntime = false;
  (await upgrader()).onNode(node(next));
  await settle();
  expect(calls.slice(0, 2)).toEqual(['check-runtime ccc', 'place-runtime ccc ccc']);
});

it.each([
  ['nobody names another', own],
  ['what is named is none', 'latest'],
])('does nothing when %s', async (_, target) => {
  (await upgrader()).onNode(node(target));
  await settle();
  expect(calls).toEqual([]);
});

it('tells what was rolled back, and does not try it again', async () => {
  failure = { digest: 'b'.repeat(12), why: 'ended with code 1' };
  const made = await upgrader();
  made.onNode(node(next));
  await settle();
  expect(calls).toEqual([]);
  expect(made.annotations()).toEqual({
    'flotilla.dev/agent-version': own,
    'flotilla.dev/agent-upgrade': `${'b'.repeat(12)} Failed: ended with code 1`,
  });
});

it('tells why it waits, tries again, and gives up when nobody wants it any more', async () => {
  offered = packageText({ version: '0.3.0+dddddddddddd', ...files });
  const made = await upgrader();
  made.onNode(node(next));
  await settle();
  expect(made.annotations()['flotilla.dev/agent-upgrade']).toBe(
    `${'b'.repeat(12)} Waits: the control plane hands out 0.3.0+dddddddddddd, and wants ${next}`,
  );
  made.onNode(node(own));
  clock.advance(5000);
  await settle();
  expect(made.annotations()['flotilla.dev/agent-upgrade']).toBe(null);
  offered = packageText({ version: next, ...files });
  made.onNode(node(next));
  await settle();
  expect(calls.at(-1)).toBe('restart');
});

it('says what the control plane says', async () => {
  status = 400;
  offered = 'no such Node';
  const made = await upgrader();
  made.onNode(node(next));
  await settle();
  expect(made.annotations()['flotilla.dev/agent-upgrade']).toContain(
    'Waits: the control plane has no package (400): no such Node',
  );
});

it('does not take the trial of the one that follows it for its own', async () => {
  onTrial = true;
  const made = await upgrader();
  made.onNode(node(next));
  await settle();
  await made.onReady(true);
  expect(calls.at(-1)).toBe('restart');
});

it('confirms once, and tries again what did not succeed', async () => {
  onTrial = true;
  isDiskReadOnly = true;
  const made = await upgrader();
  await made.onReady(true);
  isDiskReadOnly = false;
  for (let time = 0; time < 3; time++) await made.onReady(true);
  expect(calls).toEqual(['confirm', 'confirm']);
});

it('on trial, it is found healthy when its node is ready', async () => {
  onTrial = true;
  const made = await upgrader();
  await made.onReady(false);
  expect(calls).toEqual([]);
  await made.onReady(true);
  expect(calls).toEqual(['confirm']);
});
