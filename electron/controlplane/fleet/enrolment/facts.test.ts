import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { factsText, readFacts, readRootFacts, rootFactsText } from './facts.ts';

const nowMs = 1_700_000_000_000;

const pi = `kernel=Linux
machine=aarch64
bits=64
host-name=raspberrypi
now=1700000003
machine-id=0123456789abcdef0123456789abcdef
boot-id=5e1f
model=Raspberry Pi 4 Model B Rev 1.4
system=Debian GNU/Linux 12 (bookworm)
systemd=yes
apt=yes
docker=missing
missing=docker.io iptables nftables
memory-kb=3884360
free-kb=24000000
memory-limits=no
boot-line=/boot/firmware/cmdline.txt
interface=wlan0
rights=sudo-with-password
`;

describe('what a machine tells', () => {
  it('a stock Raspberry Pi', () => {
    expect(readFacts(pi, nowMs)).toEqual({
      hostName: 'raspberrypi',
      architecture: 'arm64',
      machine: 'aarch64',
      bits: 64,
      isLinux: true,
      model: 'Raspberry Pi 4 Model B Rev 1.4',
      machineId: '0123456789abcdef0123456789abcdef',
      bootId: '5e1f',
      system: 'Debian GNU/Linux 12 (bookworm)',
      hasSystemd: true,
      hasApt: true,
      docker: 'missing',
      missing: ['docker.io', 'iptables', 'nftables'],
      memoryBytes: 3884360 * 1024,
      freeBytes: 24_000_000 * 1024,
      limitsMemory: false,
      bootLine: '/boot/firmware/cmdline.txt',
      clockAheadMs: 3000,
      interface: 'wlan0',
      rights: 'sudo-with-password',
    });
  });

  it('what is left out is not known', () => {
    const { architecture, bits, clockAheadMs, limitsMemory, memoryBytes, missing, rights } =
      readFacts('kernel=Linux\nmachine=riscv64\n', nowMs);
    expect({
      architecture,
      bits,
      clockAheadMs,
      limitsMemory,
      memoryBytes,
      missing,
      rights,
    }).toEqual({
      architecture: undefined,
      bits: undefined,
      clockAheadMs: undefined,
      limitsMemory: undefined,
      memoryBytes: undefined,
      missing: [],
      rights: 'none',
    });
  });

  it('a hostile one is kept short, printable, and names no packages of its own', () => {
    const facts = readFacts(
      `host-name=\u001B[2Jpi\nmodel=${'x'.repeat(9999)}\nmissing=-o=evil docker.io\n`,
      nowMs,
    );
    expect([facts.hostName, facts.model?.length, facts.missing]).toEqual([
      '[2Jpi',
      200,
      ['docker.io'],
    ]);
  });

  it('as root: whose it is, and how fast it keeps a write', () => {
    const told = `owned=yes\ncluster-ca=${'a'.repeat(64)}\nnode=pi\nsync-seconds=0.8\n`;
    expect([readRootFacts(told), readRootFacts('')]).toEqual([
      { isOwned: true, clusterCa: 'a'.repeat(64), nodeName: 'pi', syncMs: 50 },
      { isOwned: false, clusterCa: undefined, nodeName: undefined, syncMs: undefined },
    ]);
  });
});

describe.runIf(process.platform === 'linux')('the programs', () => {
  const run = (text: string) => execFileSync('sh', ['-c', text], { encoding: 'utf8' });

  it('tell of this machine what is so', () => {
    const facts = readFacts(run(factsText), Date.now());
    expect(facts).toMatchObject({ isLinux: true, architecture: process.arch, bits: 64 });
    expect(Math.abs(facts.clockAheadMs ?? Infinity)).toBeLessThan(60_000);
    expect(facts.hostName).not.toBe('');
    expect(facts.freeBytes).toBeGreaterThan(0);
  });

  it.runIf(process.getuid?.() === 0)('measure its disk, and leave nothing', () => {
    expect(readRootFacts(run(rootFactsText)).syncMs).toBeGreaterThan(0);
    expect(run('ls -a /var/lib')).not.toContain('.flotilla-measure');
  });
});
