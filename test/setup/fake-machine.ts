// A machine without a network or a shell: knows our programs by their text and does to its state what they do to a real one.
// The connection to it can be cut at any of them, before or after it took effect.
import { factsText, rootFactsText } from '../../electron/controlplane/fleet/enrolment/facts.ts';
import {
  RemoteError,
  type HostKey,
  type Login,
  type OpenRemote,
  type Remote,
  type RunOptions,
  type RunResult,
} from '../../electron/controlplane/fleet/enrolment/remote.ts';
import * as system from '../../electron/controlplane/fleet/enrolment/system-programs.ts';
import { placement } from '../../electron/controlplane/fleet/package/placement.ts';

export interface FakeMachineOptions {
  readonly hostName: string;
  readonly machineId: string;
  /** Of the cluster that it joins. */
  readonly clusterCa: string;
  readonly nowMs: () => number;
  /** Its agent has been started and has what it needs to join as that node. */
  readonly onJoined: (nodeName: string) => void;
  readonly password?: string;
  readonly rights?: 'root' | 'sudo' | 'sudo-with-password' | 'none';
}

export class FakeMachine {
  /** Changes what it tells of itself: `facts.set('bits', '32')`. */
  readonly facts = new Map<string, string>();
  readonly rootFacts = new Map<string, string>();
  hostKey: HostKey = { type: 'ssh-ed25519', fingerprint: `SHA256:${'k'.repeat(43)}` };
  clockAheadMs = 0;
  limitsMemory = true;
  hasEngine = true;
  reaches: boolean | undefined = true;
  comesBack = true;
  /** How often it still lets somebody in after it was told to start anew. */
  lingers = 0;
  ignoresBootLine = false;
  /** Connections that nobody has closed. */
  openConnections = 0;
  /** What was done to it, in order. */
  readonly done: string[] = [];
  /** Programs that were asked for since it was last zero. */
  calls = 0;
  cut: { readonly at: number; readonly when: 'before' | 'after' } | undefined;
  /** Programs that fail, by their names, with what they say. */
  readonly failing = new Map<string, string>();
  /** Credentials that arrived. */
  readonly seen: string[] = [];
  /** All that went over the wire to programs, but for passwords that sudo read. */
  readonly received: string[] = [];
  readonly #options: FakeMachineOptions;
  #willLimit = false;
  #boot = 1;
  #isDown = false;
  #isGoingDown = false;
  readonly #placed = new Set<string>();
  #settings = '';
  #token: string | undefined;

  constructor(options: FakeMachineOptions) {
    this.#options = options;
  }

  readonly open: OpenRemote = async (_target, credentials, { hostKey }): Promise<Login> => {
    if (this.#isGoingDown && this.lingers > 0) this.lingers -= 1;
    else if (this.#isGoingDown) this.#restart();
    if (this.#isDown) {
      this.#isDown = !this.comesBack;
      return { type: 'unreachable', message: 'No SSH at port 22 of 10.0.0.9: no answer' };
    }
    if (hostKey !== this.hostKey.fingerprint)
      return { type: 'other-host-key', hostKey: this.hostKey };
    this.seen.push(credentials.password ?? '(key)');
    if (credentials.password !== (this.#options.password ?? 'raspberry'))
      return {
        type: 'refused',
        hostKey: this.hostKey,
        message: 'The machine does not accept this',
      };
    return { type: 'in', remote: this.#remote(), hostKey: this.hostKey };
  };

  #restart(): void {
    this.#isGoingDown = false;
    this.#isDown = true;
    this.#boot += 1;
    this.limitsMemory ||= this.#willLimit && !this.ignoresBootLine;
  }

  #remote(): Remote {
    const boot = this.#boot;
    let isCut = false;
    let isClosed = false;
    this.openConnections += 1;
    const run: Remote['run'] = async (program, args, options = {}) => {
      this.calls += 1;
      const isNow = this.calls === this.cut?.at;
      if (isNow && this.cut?.when === 'before') isCut = true;
      if (isCut || boot !== this.#boot) throw new RemoteError('the connection was cut');
      const result = this.#run(program, args, options);
      if (isNow) isCut = true;
      if (isCut) throw new RemoteError('the connection was cut');
      return result;
    };
    return {
      ownAddress: '10.0.0.1',
      reaches: () => Promise.resolve(this.reaches),
      close: () => {
        if (!isClosed) this.openConnections -= 1;
        isCut = isClosed = true;
      },
      run,
    };
  }

  #run(program: string, args: readonly string[], options: RunOptions): RunResult {
    const texts = (options.stdin ?? []).map((part) =>
      typeof part === 'string' ? part : part.file,
    );
    if (program === 'cat') return said(`boot-${this.#boot}\n`);
    if (program === 'sudo') {
      const needsPassword = this.#rights === 'sudo-with-password';
      if (needsPassword && texts.shift() !== `${this.#options.password ?? 'raspberry'}\n`)
        return {
          code: 1,
          stdout: '',
          stderr: 'Sorry, try again.\nsudo: 1 incorrect password attempt',
        };
      const inner = args.slice(args.indexOf('--') + 1);
      if (inner[0] === 'true') return said('');
      return this.#shell(inner.slice(1), texts, true);
    }
    return this.#shell(args, texts, this.#rights === 'root');
  }

  get #rights(): NonNullable<FakeMachineOptions['rights']> {
    return this.#options.rights ?? 'sudo-with-password';
  }

  #shell(
    [, text = '', , ...args]: readonly string[],
    stdin: readonly string[],
    isRoot: boolean,
  ): RunResult {
    this.received.push(...args, ...stdin);
    if (text === factsText) return said(lines(this.#facts()));
    if (!isRoot) throw new Error('only root may run that');
    if (text === rootFactsText) return said(lines(this.#rootFacts()));
    const name = nameOf(text);
    const failure = this.failing.get(name);
    if (failure !== undefined) return { code: 1, stdout: '', stderr: `${failure}\n` };
    return said(this.#do(name, args, stdin));
  }

  #facts(): ReadonlyMap<string, string> {
    const { hostName, machineId, nowMs } = this.#options;
    return new Map([
      ['kernel', 'Linux'],
      ['machine', 'aarch64'],
      ['bits', '64'],
      ['host-name', hostName],
      ['now', String((nowMs() + this.clockAheadMs) / 1000)],
      ['machine-id', machineId],
      ['boot-id', `boot-${this.#boot}`],
      ['model', 'Raspberry Pi 4 Model B Rev 1.4'],
      ['system', 'Debian GNU/Linux 12 (bookworm)'],
      ['systemd', 'yes'],
      ['apt', 'yes'],
      ['docker', this.hasEngine ? 'running' : 'missing'],
      ['missing', this.hasEngine ? '' : 'docker.io nftables'],
      ['memory-kb', '4000000'],
      ['free-kb', '20000000'],
      ['memory-limits', this.limitsMemory ? 'yes' : 'no'],
      ['boot-line', '/boot/firmware/cmdline.txt'],
      ['interface', 'eth0'],
      ['rights', this.#rights],
      ...this.facts,
    ]);
  }

  #rootFacts(): ReadonlyMap<string, string> {
    const own: [string, string][] = [['sync-seconds', '0.016']];
    if (this.#placed.size > 0) own.push(['owned', 'yes']);
    if (this.#settings !== '') own.push(['node', this.#settings.split(' ')[0] ?? '']);
    if (this.#placed.has('kubeconfig')) own.push(['cluster-ca', this.#options.clusterCa]);
    return new Map([...own, ...this.rootFacts]);
  }

  #do(name: string, args: readonly string[], stdin: readonly string[]): string {
    const first = args[0] ?? '';
    const isPlaced = (what: string) => (this.#placed.has(what) ? 'done' : 'todo');
    const change = (what: string): string => {
      this.done.push(name);
      this.#placed.add(what);
      return 'done';
    };
    switch (name) {
      case 'clockText':
        return String((this.#options.nowMs() + this.clockAheadMs) / 1000);
      case 'setClockText':
        this.clockAheadMs = Number(first) * 1000 - this.#options.nowMs();
        return change('clock');
      case 'limitsText':
        return this.limitsMemory ? 'on' : 'off';
      case 'bootLineText':
        if (this.#willLimit) return 'done';
        this.#willLimit = true;
        return change('boot-line');
      case 'rebootText':
        this.#isGoingDown = true;
        return change('reboot');
      case 'checkEngineText':
        return this.hasEngine ? 'done' : 'todo';
      case 'engineText':
        this.hasEngine = true;
        return change('engine');
      case 'checkRuntime':
        return isPlaced(`runtime ${first}`);
      case 'placeRuntime':
        return change(`runtime ${first.slice(0, 12)}`);
      case 'checkAgent':
        return isPlaced(`agent ${first}`);
      case 'placeAgent':
        return change(`agent ${first.slice(0, 12)}`);
      case 'checkUse':
        return isPlaced(`use ${first}`);
      case 'use':
        return change(`use ${first}`);
      case 'checkUnit':
        return isPlaced('unit');
      case 'placeUnit':
        return change('unit');
      case 'checkJoin':
        return this.#settings === args.join(' ') ? isPlaced('kubeconfig') : 'todo';
      case 'join':
        this.#settings = args.join(' ');
        this.#token = stdin[0];
        return change('bootstrap');
      case 'checkStarted':
        return isPlaced('started');
      case 'start':
        if (this.#token !== undefined) this.#placed.add('kubeconfig');
        this.#options.onJoined(this.#settings.split(' ')[0] ?? '');
        return change('started');
      case 'forgetToken':
        this.#token = undefined;
        return 'done';
      default:
        return '';
    }
  }
}

function nameOf(text: string): string {
  const programs = Object.entries(placement).map(
    ([name, program]) => [name, program.text] as const,
  );
  const all = [...programs, ...Object.entries(system)];
  return all.find(([, one]) => one === text)?.[0] ?? 'unknown';
}

function said(stdout: string): RunResult {
  return { code: 0, stdout, stderr: '' };
}

function lines(facts: ReadonlyMap<string, string>): string {
  return [...facts].map(([name, value]) => `${name}=${value}\n`).join('');
}
