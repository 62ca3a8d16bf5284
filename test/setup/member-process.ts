// A member's store in a process of its own (member-main.ts), as the test that kills it sees it.
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { FailpointName } from '#platform/failpoints.ts';
import type { Member, MemberId } from '../../electron/controlplane/raft/types.ts';
import type { StartWish } from '../../electron/controlplane/replica/bootstrap.ts';
import type { PeerCredentials } from '../../electron/controlplane/replica/peer-dial.ts';
import type { ReplicatedStoreOptions } from '../../electron/controlplane/store/open-store.ts';
import { failpointVariable, reportVariable } from './member-failpoint.ts';
import type { Promised, WorkLine } from './member-work.ts';

export interface MemberConfig {
  readonly directory: string;
  readonly memberId: MemberId;
  readonly wish: StartWish;
  readonly limits?: Pick<ReplicatedStoreOptions, 'segmentBytes' | 'replica' | 'mustExist'>;
  /** One of several. */
  readonly peer?: {
    readonly port: number;
    readonly credentials: PeerCredentials;
    readonly known: readonly Member[];
  };
}

export type MemberRequest =
  | { readonly ask: 'put'; readonly key: string; readonly value: string; readonly expected: number }
  | { readonly ask: 'content' | 'flush' | 'standing' | 'stop' }
  | { readonly ask: 'compact'; readonly revision: number }
  | {
      readonly ask: 'work';
      readonly seed: number;
      readonly name: string;
      readonly lanes: number;
      readonly writes?: number;
    }
  | { readonly ask: 'backup'; readonly file: string }
  | { readonly ask: 'add'; readonly member: Omit<Member, 'role'> }
  | { readonly ask: 'promote' | 'remove'; readonly member: MemberId }
  | { readonly ask: 'propose'; readonly bytes: readonly number[] };

/** `NAME` or `NAME*N`. */
export type ArmedFailpoint = FailpointName | `${FailpointName}*${number}`;

/** Answer to `content`, and to `standing`. */
export interface Content {
  readonly revision: number;
  readonly rows: readonly (readonly [key: string, value: string])[];
  readonly hash: number;
}

export interface MemberStanding {
  readonly role: 'leader' | 'follower' | 'candidate' | 'pre-candidate';
  readonly leader: MemberId;
  readonly appliedIndex: number;
  readonly firstIndex: number;
}

export interface Refused {
  readonly name: string;
  readonly message: string;
}

interface Line {
  readonly id?: number;
  readonly result?: unknown;
  readonly error?: Refused;
  readonly ready?: { readonly clusterId: string };
}

interface ReportLine {
  readonly at?: FailpointName;
  readonly refused?: Refused;
}

const program = new URL('./member-main.ts', import.meta.url).pathname;
/** Silent for so long: it hangs. */
const patienceMs = 30_000;

export class MemberProcess {
  /** With code or signal; resolves when it is gone. */
  readonly ended: Promise<void>;
  /** Where it was killed. */
  killedAt: FailpointName | undefined;
  /** Why it would not go on. */
  refused: Refused | undefined;
  log = '';
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(e: Error): void }>();
  readonly #promised: Promised | undefined;
  #number = 0;
  #collected = 0;
  #isReady: (() => void) | undefined;
  readonly #ready: Promise<void>;

  /** `promised` hears what its work was told. */
  constructor(config: MemberConfig, failpoint?: ArmedFailpoint, promised?: Promised) {
    this.#promised = promised;
    this.#folder = mkdtempSync(path.join(tmpdir(), 'flotilla-report-'));
    writeFileSync(this.#report, '');
    this.#child = spawn(process.execPath, [program, JSON.stringify(config)], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: {
        ...process.env,
        [failpointVariable]: failpoint ?? '',
        [reportVariable]: this.#report,
      },
    });
    const { stdin, stdout, stderr } = this.#child;
    // Written to when it is gone already.
    stdin?.on('error', () => undefined);
    stderr?.on('data', (chunk: Buffer) => (this.log += chunk.toString()));
    this.#ready = new Promise((resolve) => (this.#isReady = resolve));
    this.ended = this.#read(stdout);
  }

  async #read(stdout: NodeJS.ReadableStream | null): Promise<void> {
    const gone = new Promise((resolve) => this.#child.once('exit', resolve));
    if (stdout !== null)
      for await (const line of createInterface({ input: stdout })) this.#hear(line);
    await gone;
    this.collect();
    rmSync(this.#folder, { recursive: true });
    const error = new Error(`it ended (${this.refused?.message ?? this.killedAt ?? this.log})`);
    for (const { reject } of this.#waiting.values()) reject(error);
  }

  get #report(): string {
    return path.join(this.#folder, 'lines');
  }

  /** Has `promised` hear what was reported since the last time; unasked when it ends. */
  collect(): void {
    const lines = readFileSync(this.#report, 'utf8').split('\n').slice(0, -1);
    for (const text of lines.slice(this.#collected)) {
      const line = JSON.parse(text) as ReportLine | WorkLine;
      if ('lane' in line) this.#promised?.hear(line);
      else {
        this.killedAt ??= line.at;
        this.refused ??= line.refused;
      }
    }
    this.#collected = lines.length;
  }

  #hear(text: string): void {
    const line = JSON.parse(text) as Line;
    if (line.ready !== undefined) {
      this.clusterId = line.ready.clusterId;
      this.#isReady?.();
    }
    if (line.id === undefined) return;
    const waiting = this.#waiting.get(line.id);
    this.#waiting.delete(line.id);
    if (line.error === undefined) waiting?.resolve(line.result);
    else waiting?.reject(Object.assign(new Error(line.error.message), { name: line.error.name }));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get isAlive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Throws when it ends before. */
  async ready(): Promise<this> {
    const end = this.ended.then(() => {
      throw new Error(`it did not start: ${this.refused?.message ?? this.log}`);
    });
    await Promise.race([this.#ready, end]);
    return this;
  }

  /** Known when it is ready. */
  clusterId = '';

  /** Throws what the store threw, by name and message, or when it ends before. */
  ask<T = undefined>(request: MemberRequest): Promise<T> {
    const id = ++this.#number;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.stdin?.write(`${JSON.stringify({ ...request, id })}\n`);
    });
  }

  /** Until it is gone; kills one that hangs, which is an error. */
  async gone(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<string>((resolve) => {
      timer = setTimeout(resolve, patienceMs, 'late');
    });
    const first = await Promise.race([this.ended, late]);
    clearTimeout(timer);
    if (first !== 'late') return;
    await this.kill();
    throw new Error(`it went on for ${patienceMs} ms: ${this.log}`);
  }

  /** As a pulled plug, but for what the kernel still writes. */
  async kill(): Promise<void> {
    if (this.isAlive) this.#child.kill('SIGKILL');
    await this.ended;
  }

  async stop(): Promise<void> {
    await this.ask({ ask: 'stop' }).catch(() => undefined);
    await this.gone();
  }
}
