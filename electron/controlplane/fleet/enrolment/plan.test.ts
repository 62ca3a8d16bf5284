import { describe, expect, it } from 'vitest';
import type { MachineFacts, RootFacts } from './facts.ts';
import { planEnrolment, type PlanContext } from './plan.ts';

const gigabyte = 1024 ** 3;

/** An old PC that lacks nothing. */
const facts: MachineFacts = {
  hostName: 'attic',
  architecture: 'x64',
  machine: 'x86_64',
  bits: 64,
  isLinux: true,
  model: undefined,
  machineId: 'id-of-attic',
  bootId: 'boot',
  system: 'Debian GNU/Linux 12 (bookworm)',
  hasSystemd: true,
  hasApt: true,
  docker: 'running',
  missing: [],
  memoryBytes: 4 * gigabyte,
  freeBytes: 20 * gigabyte,
  agentFreeBytes: 20 * gigabyte,
  limitsMemory: true,
  bootLine: undefined,
  clockAheadMs: 200,
  interface: 'eth0',
  rights: 'root',
};
const root: RootFacts = { isOwned: false, clusterCa: undefined, nodeName: undefined, syncMs: 2 };
const context: PlanContext = {
  copied: { bytes: 31_000_000 },
  nodes: [],
  nodeName: undefined,
  replaceNode: false,
  sudo: undefined,
  server: 'https://10.0.0.1:7443',
  reachesServer: true,
  clusterCa: 'ours',
  sameHostKey: undefined,
};
interface Given {
  readonly facts?: Partial<MachineFacts>;
  readonly root?: Partial<RootFacts>;
  readonly context?: Partial<PlanContext>;
}

function plan(given: Given = {}) {
  return planEnrolment(
    { ...facts, ...given.facts },
    { ...root, ...given.root },
    { ...context, ...given.context },
  );
}

const node = (name: string, machineId: string, isReady = true) => ({ name, machineId, isReady });
const yearMs = 365 * 86_400_000;

describe('the steps', () => {
  const cases: readonly (readonly [string, Given, readonly string[]])[] = [
    ['what lacks nothing', {}, ['runtime', 'agent', 'join', 'ready']],
    [
      'a stock Raspberry Pi that slept for a year',
      {
        facts: {
          docker: 'missing',
          missing: ['docker.io', 'iptables'],
          limitsMemory: false,
          bootLine: '/boot/cmdline.txt',
          clockAheadMs: -yearMs,
        },
      },
      ['clock', 'memory-limits (reboot)', 'engine', 'runtime', 'agent', 'join', 'ready'],
    ],
    [
      'an engine that does not run',
      { facts: { docker: 'stopped' } },
      ['start-engine', 'runtime', 'agent', 'join', 'ready'],
    ],
    [
      'an engine from elsewhere, and no nft',
      { facts: { missing: ['nftables'] } },
      ['engine', 'runtime', 'agent', 'join', 'ready'],
    ],
  ];
  it.each(cases)('%s', (_name, given, want) => {
    const steps = plan(given).steps.map(
      ({ name, needsReboot }) => name + (needsReboot ? ' (reboot)' : ''),
    );
    expect(steps).toEqual(want);
  });

  it('do without a size that is not known yet', () => {
    const [step] = plan({ context: { copied: { bytes: undefined } } }).steps;
    expect(step?.title).toBe('Copy what the agent runs on');
  });

  it('say what will be done', () => {
    const given = {
      docker: 'missing' as const,
      missing: ['docker.io', 'nftables'],
      limitsMemory: false,
      bootLine: '/boot/firmware/cmdline.txt',
      clockAheadMs: -3 * 86_400_000,
    };
    expect(plan({ facts: given }).steps.map(({ title }) => title)).toEqual([
      'Set its clock, which is 3 days behind, and keep it by the network',
      'Turn memory limits on in /boot/firmware/cmdline.txt (a copy is kept), and reboot',
      'Install Docker Engine by apt: docker.io, nftables',
      'Copy what the agent runs on (30 MB)',
      'Copy the agent to /var/lib/flotilla and make it a service of systemd',
      'Let it ask for its certificates, with a token that is good once and for some minutes',
      'Wait until it is ready',
    ]);
  });
});

describe('obstacles', () => {
  const cases: readonly (readonly [string, Given, RegExp])[] = [
    ['another system', { facts: { isLinux: false } }, /does not run Linux/],
    [
      'a processor without a runtime',
      { facts: { architecture: undefined, machine: 'armv7l' } },
      /\(armv7l\) is none/,
    ],
    ['a 32-bit userland', { facts: { bits: 32 } }, /64 bits and its system 32/],
    ['no systemd', { facts: { hasSystemd: false } }, /not run by systemd/],
    ['no apt', { facts: { hasApt: false } }, /no apt/],
    ['no sudo', { facts: { rights: 'none' } }, /has no sudo/],
    ['a password is wanted', { facts: { rights: 'sudo-with-password' } }, /sudo wants a password/],
    [
      'a wrong password',
      { facts: { rights: 'sudo-with-password' }, context: { sudo: 'wrong-password' } },
      /does not accept this password/,
    ],
    [
      'no right to sudo',
      { facts: { rights: 'sudo-with-password' }, context: { sudo: 'not-allowed' } },
      /may not use sudo/,
    ],
    [
      'sudo by a terminal only',
      { facts: { rights: 'sudo-with-password' }, context: { sudo: 'needs-terminal' } },
      /requiretty/,
    ],
    [
      'no space',
      { facts: { freeBytes: gigabyte / 2, docker: 'missing' } },
      /Only 512 MB are free on its disk below \/var\/lib: 1400 MB are needed/,
    ],
    [
      'another cluster',
      { root: { isOwned: true, clusterCa: 'theirs', nodeName: 'attic' } },
      /belongs to another cluster, as its node attic/,
    ],
    [
      'a copied disk',
      { context: { nodes: [node('cellar', 'id-of-attic')] } },
      /machine id of the node cellar, which is there/,
    ],
    [
      'a name that is taken',
      { context: { nodeName: 'cellar', nodes: [node('cellar', 'x')] } },
      /There is a node cellar already/,
    ],
    [
      'another name for a node',
      {
        root: { isOwned: true, clusterCa: 'ours', nodeName: 'attic' },
        context: { nodeName: 'loft' },
      },
      /is the node attic already/,
    ],
    [
      'the name of another node',
      {
        root: { isOwned: true, clusterCa: 'ours', nodeName: 'cellar' },
        context: { nodes: [node('cellar', 'x', false)] },
      },
      /says that it is the node cellar, which has another machine id/,
    ],
    ['nothing to copy', { context: { copied: { problem: 'no Node for it' } } }, /no Node for it/],
    ['a control plane for itself', { context: { server: undefined } }, /--bind-address 0\.0\.0\.0/],
    [
      'a firewall',
      { context: { reachesServer: false } },
      /can't reach https:\/\/10\.0\.0\.1:7443: a firewall/,
    ],
  ];
  it.each(cases)('%s', (_name, given, want) => {
    const { obstacles } = plan(given);
    expect(obstacles).toHaveLength(1);
    expect(obstacles[0]).toMatch(want);
  });

  it('none', () => {
    const given: Given = {
      facts: { rights: 'sudo-with-password', bits: undefined },
      context: { sudo: 'accepted', reachesServer: undefined },
    };
    expect([plan(), plan(given)].flatMap(({ obstacles }) => obstacles)).toEqual([]);
  });
});

describe('warnings', () => {
  const cases: readonly (readonly [string, Given, RegExp])[] = [
    [
      'no memory limits and no boot line',
      { facts: { limitsMemory: false } },
      /one app may take all/,
    ],
    ['little memory', { facts: { memoryBytes: gigabyte / 2 } }, /512 MB of memory/],
    ['a slow card', { root: { syncMs: 83 } }, /takes 83 ms to keep a small write/],
    ['no clock', { facts: { clockAheadMs: undefined } }, /clock can not be read/],
    ['copied host keys', { context: { sameHostKey: 'cellar' } }, /SSH host key of cellar/],
    ['something of ours', { root: { isOwned: true } }, /is there already/],
    [
      'a name twice',
      { context: { nodes: [node('attic', 'x'), node('attic-2', 'y')] } },
      /is called attic-3 in the cluster/,
    ],
    [
      'one that comes back',
      { context: { nodes: [node('attic', 'id-of-attic', false)] } },
      /takes that one's place/,
    ],
  ];
  it.each(cases)('%s', (_name, given, want) => {
    const { warnings, obstacles } = plan(given);
    expect([warnings.length, obstacles]).toEqual([1, []]);
    expect(warnings[0]).toMatch(want);
  });

  it('none', () => expect(plan().warnings).toEqual([]));
});

describe('its name', () => {
  const cases: readonly (readonly [string, Given, string])[] = [
    ['its own', {}, 'attic'],
    ['made fit', { facts: { hostName: 'My_PC.' } }, 'my-pc'],
    ['nothing fit', { facts: { hostName: '___' } }, 'machine'],
    ['as asked', { context: { nodeName: 'loft' } }, 'loft'],
    [
      'the one it has',
      {
        root: { isOwned: true, clusterCa: 'ours', nodeName: 'loft' },
        context: { nodes: [node('loft', 'id-of-attic')] },
      },
      'loft',
    ],
    ['the one it had', { context: { nodes: [node('old', 'id-of-attic', false)] } }, 'old'],
    ['a free one', { context: { nodes: [node('attic', 'x')] } }, 'attic-2'],
  ];
  it.each(cases)('%s', (_name, given, want) => {
    expect([plan(given).nodeName, plan(given).obstacles]).toEqual([want, []]);
  });
});

it('a full disk below its own folder is found before anything is copied', () => {
  const { obstacles } = planEnrolment({ ...facts, agentFreeBytes: 20 * 1024 ** 2 }, root, context);
  expect(obstacles).toEqual([
    'Only 20 MB are free on its disk below /var/lib/flotilla: 400 MB are needed',
  ]);
});

describe('new hardware for an old name', () => {
  const gone = { name: 'attic', machineId: 'id-of-old', isReady: false };
  const asking = (more: object, replaceNode: boolean) =>
    planEnrolment(facts, root, {
      ...context,
      nodeName: 'attic',
      replaceNode,
      nodes: [{ ...gone, ...more }],
    });

  it('takes the place of a machine that is gone, if that is asked for', () => {
    const { obstacles, warnings, replaces, nodeName } = asking({}, true);
    expect([obstacles, replaces, nodeName]).toEqual([[], 'id-of-old', 'attic']);
    expect(warnings[0]).toMatch(
      /^It takes the place of the node attic: .* the cluster refuses it$/,
    );
  });

  it('not of one that is there', () => {
    expect(asking({ isReady: true }, true).obstacles).toEqual([
      'The node attic is there: shut it down before another takes its place',
    ]);
  });

  it('nor unasked', () => {
    expect(asking({}, false).obstacles[0]).toMatch(/spec\.replaceNode/);
  });
});
