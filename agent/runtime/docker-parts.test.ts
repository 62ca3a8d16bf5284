// The pure parts of the Docker runtime: frames, network choice, the sandbox program, error texts.
import { describe, expect, it } from 'vitest';
import { asRuntimeError } from './docker-client.ts';
import { decodeOutput, FrameDecoder, LogLines } from './docker-frames.ts';
import { bridgeName, freePodCidr } from './pod-network.ts';
import { PullLayers, type PullEvent } from './pull-progress.ts';
import { sandboxImageTar, sandboxProgram } from './sandbox-image.ts';

function frame(stream: number, text: string): Buffer {
  const header = Buffer.alloc(8);
  header[0] = stream;
  header.writeUInt32BE(Buffer.byteLength(text), 4);
  return Buffer.concat([header, Buffer.from(text)]);
}

describe('Docker’s frames', () => {
  const bytes = Buffer.concat([frame(1, 'out\n'), frame(2, 'err\n'), frame(1, '')]);
  const whole = [
    ['stdout', 'out\n'],
    ['stderr', 'err\n'],
    ['stdout', ''],
  ];
  it.each([1, 3, 8, 13, 100])('come out whole from chunks of %i bytes', (size) => {
    const decoder = new FrameDecoder();
    const frames: string[][] = [];
    for (let at = 0; at < bytes.length; at += size)
      for (const { stream, bytes: payload } of decoder.push(bytes.subarray(at, at + size)))
        frames.push([stream, Buffer.from(payload).toString()]);
    expect(frames).toEqual(whole);
  });
});

describe('a log as the engine tells it', () => {
  const cases = [
    { name: 'stays', given: [frame(1, '1 a\n'), frame(2, '1 b\n')], want: '1 a\n1 b\n' },
    {
      name: 'has no times in the middle of a line that came in parts',
      given: [frame(1, '1 aa'), frame(1, '1 aa'), frame(1, '1 aa\n'), frame(1, '2 b\n')],
      want: '1 aaaaaa\n2 b\n',
    },
    {
      name: 'has two streams that have nothing to do with each other',
      given: [frame(1, '1 aa'), frame(2, '2 b\n'), frame(1, '3 \n'), frame(2, '4 c\n')],
      want: '1 aa2 b\n\n4 c\n',
    },
    {
      name: 'has each line once that the engine tells again',
      given: ['1 a', '2 b', '3 c', '3 d', '2 b', '3 c', '3 d', '4 e'].map((line) =>
        frame(1, `${line}\n`),
      ),
      want: '1 a\n2 b\n3 c\n3 d\n4 e\n',
    },
    {
      name: 'has all lines when the clock goes back',
      given: ['5 a', '6 b', '3 c', '4 d', '7 e'].map((line) => frame(1, `${line}\n`)),
      want: '5 a\n6 b\n3 c\n4 d\n7 e\n',
    },
  ];
  async function told(given: readonly Buffer[], timestamps: boolean): Promise<string> {
    async function* chunks() {
      yield* given;
    }
    const parts: Uint8Array[] = [];
    const lines = new LogLines({ timestamps, follow: true });
    for await (const part of decodeOutput(chunks(), false, lines)) parts.push(part);
    return Buffer.concat(parts).toString();
  }
  it.each(cases)('$name', async ({ given, want }) => {
    expect(await told(given, true)).toBe(want);
    expect(await told(given, false)).toBe(want.replaceAll(/\d /g, ''));
  });
});

describe('the pods’ network', () => {
  const cases = [
    { used: [], want: '10.244.0.0/24' },
    { used: ['172.17.0.0/16', '0.0.0.0/0', 'fe80::/64'], want: '10.244.0.0/24' },
    { used: ['10.244.0.0/24', '10.244.1.7'], want: '10.244.2.0/24' },
    { used: ['10.244.0.0/17'], want: '10.244.128.0/24' },
    { used: ['10.0.0.0/8'], want: undefined },
  ];
  it.each(cases)('beside $used is $want', ({ used, want }) => {
    expect(freePodCidr(used)).toBe(want);
  });

  it('has a bridge whose name fits an interface', () => {
    expect(bridgeName('any').length).toBeLessThanOrEqual(15);
  });
});

describe('the sandbox program', () => {
  const machines = [
    { arch: 'amd64', machine: 62 },
    { arch: 'arm64', machine: 183 },
  ] as const;
  it.each(machines)(
    'for $arch is a static executable that begins at its code',
    ({ arch, machine }) => {
      const program = sandboxProgram(arch);
      expect(program.subarray(0, 4).toString('latin1')).toBe('\u007fELF');
      expect(program.readUInt16LE(18)).toBe(machine);
      expect(program.readBigUInt64LE(24)).toBe(0x400078n);
      expect(program.readBigUInt64LE(96)).toBe(BigInt(program.length));
    },
  );

  it('for arm64 is rt_sigaction(SIGCHLD, ignore) and then ppoll for ever', () => {
    const program = sandboxProgram('arm64');
    const words = Array.from({ length: 14 }, (_, index) => program.readUInt32LE(120 + index * 4));
    expect(words.map((word) => word.toString(16))).toEqual([
      'd28010c8', // mov x8, #134
      'd2800220', // mov x0, #17
      '10000181', // adr x1, #48: the words behind the loop
      'd2800002', // mov x2, #0
      'd2800103', // mov x3, #8
      'd4000001', // svc #0
      'd2800928', // mov x8, #73
      'd2800000', // mov x0, #0
      'd2800001',
      'd2800002',
      'd2800003',
      'd2800004',
      'd4000001', // svc #0
      '17fffff9', // b #-28: to mov x8, #73
    ]);
    // SIG_IGN = 1, where adr points to.
    expect(program.readBigUInt64LE(120 + 2 * 4 + 48)).toBe(1n);
  });

  it('is packed into the same image every time', async () => {
    const [first, second] = await Promise.all([sandboxImageTar('amd64'), sandboxImageTar('amd64')]);
    expect(first.equals(second)).toBe(true);
  });
});

describe('what Docker says of a pull', () => {
  const line = (status: string, id: string, current?: number, total?: number): PullEvent =>
    current === undefined
      ? { status, id, progressDetail: {} }
      : { status, id, progressDetail: { current, ...(total !== undefined && { total }) } };
  const two = [line('Pulling fs layer', 'a'), line('Pulling fs layer', 'b')];
  const downloaded = [
    ...two,
    line('Downloading', 'a', 10, 60),
    line('Download complete', 'a'),
    line('Downloading', 'b', 40, 40),
    line('Verifying Checksum', 'b'),
  ];
  const cases: {
    name: string;
    given: readonly PullEvent[];
    want: readonly [step: string, doneBytes: number, totalBytes: number | undefined] | undefined;
  }[] = [
    { name: 'only the tag', given: [line('Pulling from x', '1')], want: undefined },
    { name: 'what is here', given: [line('Already exists', 'a')], want: undefined },
    { name: 'the end', given: [{ status: 'Status: Downloaded newer image' }], want: undefined },
    {
      name: 'one of two sizes: no total yet',
      given: [...two, line('Downloading', 'a', 10, 60)],
      want: ['downloading', 10, undefined],
    },
    {
      name: 'both sizes',
      given: [...two, line('Downloading', 'a', 10, 60), line('Downloading', 'b', 5, 40)],
      want: ['downloading', 15, 100],
    },
    {
      name: 'a server that tells no size',
      given: [line('Pulling fs layer', 'a'), line('Downloading', 'a', 10, -1)],
      want: ['downloading', 10, undefined],
    },
    {
      name: 'one whole and unpacking, the other not yet whole',
      given: [...downloaded.slice(0, 4), line('Extracting', 'a', 20, 60)],
      want: ['downloading', 60, undefined],
    },
    { name: 'all fetched', given: downloaded, want: ['unpacking', 0, 100] },
    {
      name: 'one unpacked, one begun',
      given: [...downloaded, line('Pull complete', 'a'), line('Extracting', 'b', 8, 40)],
      want: ['unpacking', 68, 100],
    },
  ];
  it.each(cases)('is summed up: $name', ({ given, want }) => {
    const layers = new PullLayers();
    const got = given.map((event) => layers.take(event)).at(-1);
    expect(got && [got.step, got.doneBytes, got.totalBytes]).toEqual(want);
  });
});

describe('an error of Docker', () => {
  const cases = [
    {
      name: 'no socket',
      error: { code: 'ENOENT', message: 'connect ENOENT' },
      kind: 'unavailable',
    },
    { name: 'refused', error: { code: 'ECONNREFUSED', message: 'no' }, kind: 'unavailable' },
    { name: 'cut', error: { message: 'socket hang up' }, kind: 'unavailable' },
    { name: '404', error: { statusCode: 404, json: { message: 'x' } }, kind: 'notFound' },
    { name: '304', error: { statusCode: 304, message: 'x' }, kind: 'conflict' },
    { name: '500', error: { statusCode: 500, json: { message: 'x' } }, kind: 'other' },
  ];
  it.each(cases)('$name is $kind', ({ error, kind }) => {
    expect(asRuntimeError(error).kind).toBe(kind);
  });

  it('is told in Docker’s own words', () => {
    const wrapped = {
      statusCode: 500,
      message: '(HTTP code 500) server error - Get "x": refused ',
    };
    expect(asRuntimeError(wrapped).message).toBe('Get "x": refused');
  });
});
