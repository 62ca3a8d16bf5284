import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { EngineInstaller, EngineInstallError } from './engine-installer.ts';
import { installObstacle, type InstallFacts } from './install-plan.ts';
import { lastWords, systemCommands } from './system-commands.ts';

const bare: InstallFacts = {
  isRoot: true,
  engineProgram: undefined,
  hasApt: true,
  hasSystemd: false,
  askedSocket: undefined,
};
const dockerd = '/usr/sbin/dockerd';

const saysInstall =
  'say: No container engine on this machine: installing Docker Engine (docker.io, nftables) with apt-get. --no-install forbids it.';
const update = 'run: apt-get update';
const install =
  'run: apt-get install -y --no-install-recommends docker.io nftables conntrack iptables';
const saysStart = 'say: Starting Docker Engine.';
const enable = 'run: systemctl enable --now docker';

interface Machine {
  facts: InstallFacts;
  /** Answers; set by the steps that start it. */
  isUp: boolean;
  /** A step that brings the engine up: `install`, `enable`, `detached`. */
  readonly startedBy?: 'install' | 'enable' | 'detached';
  /** The command that fails. */
  readonly failing?: string;
}

function installerOn(machine: Machine) {
  const clock = new ManualClock();
  const did: string[] = [];
  const startedBy = (what: Machine['startedBy']) => {
    if (machine.startedBy === what) machine.isUp = true;
  };
  const installer = new EngineInstaller({
    facts: () => machine.facts,
    clock,
    logger: silentLogger,
    say: (sentence) => void did.push(`say: ${sentence}`),
    isUp: async () => machine.isUp,
    commands: {
      engineLogPath: '/logs/dockerd.log',
      startDetached(program) {
        did.push(`detached: ${program}`);
        startedBy('detached');
      },
      async run(command, args) {
        const line = `${command} ${args.join(' ')}`;
        did.push(`run: ${line}`);
        if (line === machine.failing) throw new EngineInstallError(`"${line}" failed`);
        if (args[0] === 'install') {
          machine.facts = { ...machine.facts, engineProgram: dockerd };
          startedBy('install');
        }
        if (command === 'systemctl') startedBy('enable');
      },
    },
  });
  return { installer, did, clock };
}

describe('what keeps the engine from being installed', () => {
  const cases: { name: string; facts: Partial<InstallFacts>; want: RegExp | undefined }[] = [
    { name: 'root with apt: nothing', facts: {}, want: undefined },
    { name: 'not root', facts: { isRoot: false }, want: /needs root.*sudo apt-get install/ },
    {
      name: 'not root, engine installed but stopped',
      facts: { isRoot: false, engineProgram: dockerd },
      want: /needs root/,
    },
    { name: 'root without apt', facts: { hasApt: false }, want: /no apt-get/ },
    {
      name: 'root without apt, but the engine is installed',
      facts: { hasApt: false, engineProgram: dockerd },
      want: undefined,
    },
    {
      name: 'DOCKER_HOST names another engine',
      facts: { askedSocket: '/run/mine.sock', engineProgram: dockerd },
      want: /DOCKER_HOST names the engine at \/run\/mine\.sock/,
    },
  ];
  it.each(cases)('$name', async ({ facts, want }) => {
    const obstacle = installObstacle({ ...bare, ...facts });
    if (want === undefined) return expect(obstacle).toBeUndefined();
    expect(obstacle).toMatch(want);
    const { installer, did } = installerOn({ facts: { ...bare, ...facts }, isUp: false });
    await expect(installer.ensure()).rejects.toThrow(want);
    expect(did).toEqual([]);
  });
});

describe('what is done, and in which order', () => {
  const cases: { name: string; machine: Machine; want: string[] }[] = [
    { name: 'an engine that answers: nothing', machine: { facts: bare, isUp: true }, want: [] },
    {
      name: 'not even refused where an engine answers',
      machine: { facts: { ...bare, isRoot: false }, isUp: true },
      want: [],
    },
    {
      name: 'no engine, no systemd: says so, installs, starts a process that stays',
      machine: { facts: bare, isUp: false, startedBy: 'detached' },
      want: [saysInstall, update, install, saysStart, `detached: ${dockerd}`],
    },
    {
      name: 'no engine, systemd: the service is enabled',
      machine: { facts: { ...bare, hasSystemd: true }, isUp: false, startedBy: 'enable' },
      want: [saysInstall, update, install, saysStart, enable],
    },
    {
      name: 'a package that starts its service: nothing more',
      machine: { facts: { ...bare, hasSystemd: true }, isUp: false, startedBy: 'install' },
      want: [saysInstall, update, install],
    },
    {
      name: 'installed but stopped: only started',
      machine: { facts: { ...bare, engineProgram: dockerd }, isUp: false, startedBy: 'detached' },
      want: [saysStart, `detached: ${dockerd}`],
    },
  ];
  it.each(cases)('$name', async ({ machine, want }) => {
    const { installer, did } = installerOn(machine);
    await installer.ensure();
    expect(did).toEqual(want);
  });

  it('stops at the first command that fails, with its reason', async () => {
    const failing = 'apt-get update';
    const { installer, did } = installerOn({ facts: bare, isUp: false, failing });
    await expect(installer.ensure()).rejects.toThrow('"apt-get update" failed');
    expect(did).toEqual([saysInstall, update]);
  });

  it('is done once for all who ask meanwhile, and again when asked after a failure', async () => {
    const failing = 'apt-get update';
    const { installer, did } = installerOn({ facts: bare, isUp: false, failing });
    const asked = [installer.ensure(), installer.ensure()];
    expect((await Promise.allSettled(asked)).map(({ status }) => status)).toEqual([
      'rejected',
      'rejected',
    ]);
    expect(did).toEqual([saysInstall, update]);
    await expect(installer.ensure()).rejects.toThrow();
    expect(did).toHaveLength(4);
  });

  it('gives an engine a minute to answer, then names its log', async () => {
    const { installer, clock } = installerOn({
      facts: { ...bare, engineProgram: dockerd },
      isUp: false,
    });
    let failure = '';
    installer.ensure().catch((error: unknown) => (failure = String(error)));
    const turns = () => new Promise((resolve) => setImmediate(resolve));
    for (let ms = 0; ms < 59_750; ms += 250) {
      await turns();
      clock.advance(250);
    }
    await turns();
    expect(failure).toBe('');
    clock.advance(250);
    await turns();
    expect(failure).toMatch(/does not answer after 60 s: see \/logs\/dockerd\.log/);
  });
});

describe('a command of the system', () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'flotilla-engine-'));
  const logDirectory = path.join(directory, 'logs');
  const commands = systemCommands({
    environment: { variables: { PATH: process.env['PATH'] }, isRoot: true },
    logDirectory,
    logger: silentLogger,
  });
  afterEach(() => rmSync(logDirectory, { recursive: true, force: true }));
  afterAll(() => rmSync(directory, { recursive: true }));

  it('leaves what it prints in a log, and asks no questions', async () => {
    await commands.run('sh', ['-c', 'echo out $DEBIAN_FRONTEND; echo oops >&2']);
    const log = readFileSync(path.join(logDirectory, 'engine-install.log'), 'utf8');
    expect(log).toBe('out noninteractive\noops\n');
  });

  it('that fails is told with its exit code, its last words and its log', async () => {
    const run = commands.run('sh', ['-c', 'echo "E: no lock"; echo bye; exit 9']);
    await expect(run).rejects.toThrow(
      `failed (exit 9): E: no lock (see ${logDirectory}/engine-install.log)`,
    );
  });

  it('that does not exist is a sentence, too', async () => {
    await expect(commands.run('no-such-program', [])).rejects.toThrow(/^no-such-program: .*ENOENT/);
  });

  it('is known by its last line where it marks no errors', () => {
    expect(['', 'a\nb\n\n', 'E: x\nE: y\nz'].map(lastWords)).toEqual([
      'it said nothing',
      'b',
      'E: y',
    ]);
  });
});
