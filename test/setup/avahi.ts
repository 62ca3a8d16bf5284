// A real avahi on a system bus of its own, which tells names on one network interface alone: beside whatever this
// machine has. Root only.
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { firstLine } from '../lab/held-network.ts';

const busConfiguration = (socket: string): string => `<busconfig>
  <type>system</type>
  <listen>unix:path=${socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/>
    <allow send_destination="*"/><allow receive_sender="*"/>
  </policy>
</busconfig>`;

/** One avahi of a machine has its pid file at a fixed place. */
const ownRun = `mount --make-rprivate / && mount -t tmpfs tmpfs /run &&
  exec avahi-daemon --no-drop-root --no-chroot --no-rlimits --file "$1"`;

export class TestAvahi {
  readonly #folder = mkdtempSync(path.join(tmpdir(), 'flotilla-avahi-'));
  readonly #bus: ChildProcess;
  #daemon: ChildProcess | undefined;

  private constructor(interfaceName: string) {
    const file = (name: string): string => path.join(this.#folder, name);
    writeFileSync(file('bus.conf'), busConfiguration(file('bus')));
    writeFileSync(
      file('avahi.conf'),
      `[server]\nhost-name=flotilla-test\nallow-interfaces=${interfaceName}\nuse-ipv6=no\nenable-dbus=yes\n`,
    );
    const flags = [
      '--nofork',
      '--nopidfile',
      '--print-address',
      `--config-file=${file('bus.conf')}`,
    ];
    const log = openSync(file('bus.log'), 'a');
    this.#bus = spawn('dbus-daemon', flags, { stdio: ['ignore', 'pipe', log] });
  }

  /** The bus alone. */
  static async open(interfaceName: string): Promise<TestAvahi> {
    const opened = new TestAvahi(interfaceName);
    await firstLine(opened.#bus, 'the system bus');
    return opened;
  }

  /** For who is to find it. */
  get variables(): Record<string, string> {
    return { DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${path.join(this.#folder, 'bus')}` };
  }

  start(): void {
    const log = openSync(path.join(this.#folder, 'log'), 'a');
    const args = ['--mount', 'sh', '-c', ownRun, 'sh', path.join(this.#folder, 'avahi.conf')];
    const env = { ...process.env, ...this.variables };
    this.#daemon = spawn('unshare', args, { stdio: ['ignore', log, log], env });
  }

  /** As a crash does: no goodbye. */
  async kill(): Promise<void> {
    await end(this.#daemon, 'SIGKILL');
  }

  async destroy(): Promise<void> {
    await end(this.#daemon, 'SIGTERM');
    await end(this.#bus, 'SIGTERM');
    rmSync(this.#folder, { recursive: true });
  }
}

async function end(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  await ended;
}
