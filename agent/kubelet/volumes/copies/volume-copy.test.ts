// A volume and its copy on one disk, by the real tar: what differs, what is cut off, what is written meanwhile.
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pack } from 'tar-stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { PersistentVolume } from '#kube/api/core.ts';
import { systemClock } from '#kube/base/clock.ts';
import { localPath } from '#kube/machinery/volume-binding.ts';
import { moveAnnotations } from '#kube/machinery/volume-move.ts';
import { packTree, unpackTree } from './archive.ts';
import { CopyObstacle, copyVolume, type CopySource } from './volume-copy.ts';
import { VolumeShare, type ShareRequest } from './volume-share.ts';
import type { Entry } from './entry.ts';
import { walkVolume } from './walk.ts';

const isRoot = process.getuid?.() === 0;
let folder = '';
let used: string[] = [];
let sentBytes = 0;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'flotilla-copy-'));
  mkdirSync(at('from'));
  mkdirSync(at('to'));
  [used, sentBytes] = [[], 0];
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Files that were written just now are always read again: here they are a minute old. */
const clock = {
  now: () => systemClock.now() + 60_000,
  monotonicMs: () => systemClock.monotonicMs(),
  timer: systemClock.timer.bind(systemClock),
};

const at = (...parts: string[]) => join(folder, ...parts);

function write(name: string, text: string | Buffer): void {
  mkdirSync(dirname(at('from', name)), { recursive: true });
  writeFileSync(at('from', name), text);
}

function volume(): PersistentVolume {
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: {
      name: 'data',
      labels: { [localPath.nodeLabel]: 'pi' },
      annotations: { [localPath.madeAnnotation]: 'long ago', [moveAnnotations.readableBy]: 'nas' },
    },
    spec: { local: { path: at('from') } },
  };
}

const share = () =>
  new VolumeShare({
    volume: (name) => (name === 'data' ? volume() : undefined),
    isUsed: (name) => used.includes(name),
    nodeName: 'pi',
    folder: at('notes-of-pi'),
    clock,
  });

interface Cuts {
  readonly afterBytes?: number;
  readonly onList?: () => void;
}

function source(pass: ShareRequest['pass'], { afterBytes, onList }: Cuts = {}): CopySource {
  const asked = (signal: AbortSignal) => ({ volume: 'data', pass, peer: 'nas', signal });
  return {
    async list(signal) {
      const lines = await share().list(asked(signal));
      return (async function* () {
        yield* lines;
        onList?.();
      })();
    },
    async content(exclude, signal) {
      const chunks = await share().content(asked(signal), exclude);
      return (async function* () {
        for await (const chunk of chunks) {
          sentBytes += chunk.length;
          if (afterBytes !== undefined && sentBytes > afterBytes) throw new Error('cable pulled');
          yield chunk;
        }
      })();
    },
  };
}

interface How extends Cuts {
  readonly free?: number;
}

async function copy(pass: ShareRequest['pass'], { free = 1e12, ...cuts }: How = {}): Promise<void> {
  sentBytes = 0;
  await copyVolume({
    source: source(pass, cuts),
    directory: at('to'),
    notes: at('notes-of-nas'),
    isFinal: pass === 'final',
    nowMs: () => clock.now(),
    freeBytes: async () => free,
    onProgress: () => {},
    signal: new AbortController().signal,
  });
}

async function seen(name: string): Promise<Partial<Entry>[]> {
  const entries: Partial<Entry>[] = [];
  const options = {
    nowMs: () => 0,
    isDigested: true,
    knownDigest: () => undefined,
    signal: new AbortController().signal,
  };
  for await (const { stamp: _, allocated: _allocated, ...entry } of walkVolume(at(name), options))
    entries.push(entry);
  return entries;
}

describe('a copy of a volume', () => {
  it('has every sort of file as it was', async () => {
    write('a/plain.txt', 'hello');
    write('a/program', 'x');
    chmodSync(at('from/a/program'), 0o4750);
    linkSync(at('from/a/program'), at('from/second name'));
    symlinkSync('../nowhere', at('from/a/link'));
    write('big with holes', '');
    truncateSync(at('from/big with holes'), 64 * 1024 * 1024);
    writeFileSync(Buffer.from(`${at('from')}/\xff not utf-8`, 'latin1'), 'bytes');
    write('two\nlines', 'x');
    write('blank ', 'x');
    mkdirSync(at('from/empty'), { mode: 0o700 });
    utimesSync(at('from/a/plain.txt'), 1_000_000, 1_000_000);
    utimesSync(at('from/empty'), 2_000_000, 2_000_000);
    if (isRoot) chownSync(at('from/a/plain.txt'), 999, 998);
    await copy('live');
    expect(await seen('to')).toEqual(await seen('from'));
    const { blocks } = statSync(at('to/big with holes'));
    expect(blocks * 512).toBeLessThan(1024 * 1024);
    expect(lstatSync(at('to/second name')).ino).toBe(lstatSync(at('to/a/program')).ino);
  });

  it.runIf(isRoot)('has the extended attributes that the file has', async () => {
    const archive = pack();
    const pax = { 'SCHILY.xattr.trusted.note': 'kept', 'SCHILY.xattr.user.note': 'too' };
    archive.entry({ name: 'noted', size: 1, pax }, 'x');
    archive.finalize();
    await unpackTree(
      archive as AsyncIterable<Uint8Array>,
      at('from'),
      new AbortController().signal,
    );
    await copy('final');
    const chunks: Buffer[] = [];
    const { signal } = new AbortController();
    for await (const chunk of packTree(at('to'), { isLive: false, signal })) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString('latin1');
    expect(text).toContain('SCHILY.xattr.trusted.note=kept');
  });

  it('leaves sockets out', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(at('from/socket'), resolve));
    await copy('final');
    server.close();
    expect(readdirSync(at('to'))).toEqual([]);
  });

  it('follows what changed, came and went since', async () => {
    for (const name of ['stays', 'changes', 'goes/with/all', 'becomes-a-folder', 'link'])
      write(name, `old ${name}`);
    await copy('live');
    write('changes', 'new changes');
    rmSync(at('from/goes'), { recursive: true });
    rmSync(at('from/becomes-a-folder'));
    write('becomes-a-folder/file', 'x');
    rmSync(at('from/link'));
    symlinkSync('stays', at('from/link'));
    write('comes', 'x');
    await copy('final');
    expect(await seen('to')).toEqual(await seen('from'));
  });

  it('notices what was written without any trace in size and time', async () => {
    write('database', 'aaaa');
    utimesSync(at('from/database'), 1_000_000, 1_000_000);
    await copy('live');
    write('database', 'bbbb');
    utimesSync(at('from/database'), 1_000_000, 1_000_000);
    await copy('final');
    expect(readFileSync(at('to/database'), 'utf8')).toBe('bbbb');
  });

  it('goes on after a cut cable, and fetches no more than what is missing', async () => {
    for (let index = 0; index < 8; index++) write(`part-${index}`, Buffer.alloc(1_000_000, index));
    await copy('live', { afterBytes: 5_000_000 }).catch(() => undefined);
    await copy('final');
    expect(await seen('to')).toEqual(await seen('from'));
    expect(sentBytes).toBeLessThan(6_000_000);
  });

  it('gets what was written while it was listed by the next pass', async () => {
    write('log', 'one\n');
    await copy('live', { onList: () => write('log', 'one\ntwo\n') });
    await copy('final');
    expect(readFileSync(at('to/log'), 'utf8')).toBe('one\ntwo\n');
  });

  it('ends in no error when files go while it is made live, and in one at the end', async () => {
    write('a', 'x');
    write('b', 'x');
    await copy('live', { onList: () => rmSync(at('from/b')) });
    write('b', 'x');
    await expect(copy('final', { onList: () => rmSync(at('from/b')) })).rejects.toThrow(
      'the copy lacks "b"',
    );
  });

  it('is refused when there is no room, before anything is fetched', async () => {
    write('large', Buffer.alloc(3_000_000, 1));
    const refused = copy('live', { free: 1_000_000 });
    await expect(refused).rejects.toThrow(CopyObstacle);
    await expect(refused).rejects.toThrow('4 MB are needed, and 1 MB are free');
    expect(existsSync(at('to/large'))).toBe(false);
  });

  it('takes nothing from outside when a folder becomes a link meanwhile', async () => {
    mkdirSync(at('secrets'));
    writeFileSync(at('secrets/file'), 'of the machine');
    write('folder/file', 'mine');
    const trap = () => {
      renameSync(at('from/folder'), at('aside'));
      symlinkSync(at('secrets'), at('from/folder'));
    };
    await copy('live', { onList: trap }).catch(() => undefined);
    const found = existsSync(at('to/folder/file')) && !lstatSync(at('to/folder')).isSymbolicLink();
    expect(found).toBe(false);
  });
});

describe('a volume that somebody asks for', () => {
  const ask = (more: Partial<ShareRequest>) =>
    share().list({
      volume: 'data',
      pass: 'live',
      peer: 'nas',
      signal: new AbortController().signal,
      ...more,
    });

  it('is for the machine that it is to be copied to, and for no other', async () => {
    await expect(ask({ peer: 'tablet' })).rejects.toThrow('volume data is not for tablet');
    await expect(ask({ volume: 'other' })).rejects.toThrow('volume other is not for nas');
  });

  it('is copied for the last time only when no pod has it', async () => {
    used = ['data'];
    await expect(ask({ pass: 'final' })).rejects.toThrow('a pod on pi still has volume data');
    await copy('live');
    await expect(copy('final')).rejects.toThrow('a pod on pi still has volume data');
  });

  it('is not copied when a pod got it in between', async () => {
    write('a', 'x');
    const late = copy('final', { onList: () => (used = ['data']) });
    await expect(late).rejects.toThrow('a pod on pi still has volume data');
  });
});
