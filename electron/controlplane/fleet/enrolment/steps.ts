// How each step of a plan is checked and done. All of it may be cut off at any moment and begun anew.
import { delay, type Clock } from '#kube/base/clock.ts';
import { clockToleranceMs, type StepName } from './plan.ts';
import { RemoteError, type StdinPart } from './remote.ts';
import { outputOf, type RootRun } from './root-shell.ts';
import {
  bootLineText,
  checkEngineText,
  clockText,
  engineText,
  limitsText,
  setClockText,
} from './system-programs.ts';

/** What is copied to a machine (fleet/package). */
export interface MachinePackage {
  readonly version: string;
  readonly runtime: PackagePart;
  readonly agent: PackagePart;
}

export interface PackagePart {
  readonly file: string;
  readonly sha256: string;
  readonly bytes: number;
}

/** For sh, as root. A check prints `done` or `todo`. */
export interface Program {
  readonly text: string;
}

export type Placement = Readonly<Record<PlacementName, Program>>;
type PlacementName =
  | 'checkRuntime'
  | 'placeRuntime'
  | 'checkAgent'
  | 'placeAgent'
  | 'checkUse'
  | 'use'
  | 'checkUnit'
  | 'placeUnit'
  | 'checkJoin'
  | 'join'
  | 'checkStarted'
  | 'start'
  | 'forgetToken';

export interface StepDeps {
  readonly root: RootRun;
  readonly placement: Placement;
  readonly package: MachinePackage;
  readonly nodeName: string;
  /** Interfaces on which its agent tells of apps' names, or `off`. */
  readonly discovery: string;
  /** The file of a Raspberry Pi's boot line. */
  readonly bootLine: string | undefined;
  /** Packages of Debian. */
  readonly missing: readonly string[];
  /** A kubeconfig with a token that is good once. */
  readonly makeBootstrapKubeconfig: () => Promise<string>;
  /** Undefined: it is ready; else why not yet. */
  readonly whyNotReady: () => Promise<string | undefined>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export interface StepWork {
  isDone(): Promise<boolean>;
  /** Resolves with `reboot` when it is done once the machine has started anew. */
  apply(onPercent: (percent: number) => void): Promise<'done' | 'reboot'>;
  /** Where there is more to say than that it is not so. */
  readonly whyNot?: () => Promise<string | undefined>;
}

const installMs = 20 * 60_000;
const copyMs = 15 * 60_000;
const joinMs = 90_000;
const readyMs = 180_000;
const lookMs = 1000;

export function stepWork(name: StepName, deps: StepDeps): StepWork {
  switch (name) {
    case 'clock':
      return clockStep(deps);
    case 'memory-limits':
      return limitsStep(deps);
    case 'engine':
    case 'start-engine':
      return engineStep(deps);
    case 'runtime':
      return runtimeStep(deps);
    case 'agent':
      return agentStep(deps);
    case 'join':
      return joinStep(deps);
    case 'ready':
      return readyStep(deps);
  }
}

/** One that runs is left alone, whatever installed it. */
function engineStep({ root, missing }: StepDeps): StepWork {
  return {
    isDone: async () => (await outputOf(root(checkEngineText))).trim() === 'done',
    async apply() {
      await outputOf(root(engineText, missing, { timeoutMs: installMs }));
      return 'done';
    },
  };
}

function clockStep({ root, clock }: StepDeps): StepWork {
  return {
    async isDone() {
      const seconds = Number(await outputOf(root(clockText)));
      return Math.abs(seconds * 1000 - clock.now()) <= clockToleranceMs;
    },
    async apply() {
      await outputOf(root(setClockText, [String(Math.round(clock.now() / 1000))]));
      return 'done';
    },
  };
}

function limitsStep({ root, bootLine = '' }: StepDeps): StepWork {
  return {
    isDone: async () => (await outputOf(root(limitsText))).trim() === 'on',
    async apply() {
      await outputOf(root(bootLineText, [bootLine]));
      return 'reboot';
    },
    whyNot: async () =>
      `the kernel goes without them although ${bootLine} asks for them; the line as it was is in ${bootLine}.before-flotilla`,
  };
}

function runtimeStep(deps: StepDeps): StepWork {
  const { runtime } = deps.package;
  return {
    isDone: () => isDone(deps, 'checkRuntime', [short(runtime)]),
    async apply(onPercent) {
      await place(deps, 'placeRuntime', [runtime.sha256], { part: runtime, onPercent });
      return 'done';
    },
  };
}

function agentStep(deps: StepDeps): StepWork {
  const { runtime, agent } = deps.package;
  const isPlaced = () => isDone(deps, 'checkAgent', [short(agent), short(runtime)]);
  const isUsed = () => isDone(deps, 'checkUse', [short(agent)]);
  const hasUnit = () => isDone(deps, 'checkUnit', []);
  return {
    isDone: async () => (await isPlaced()) && (await isUsed()) && hasUnit(),
    async apply(onPercent) {
      if (!(await isPlaced()))
        await place(deps, 'placeAgent', [agent.sha256, short(runtime)], { part: agent, onPercent });
      if (!(await isUsed())) await place(deps, 'use', [short(agent)]);
      if (!(await hasUnit())) await place(deps, 'placeUnit', []);
      return 'done';
    },
  };
}

function joinStep(deps: StepDeps): StepWork {
  const { nodeName, discovery, makeBootstrapKubeconfig } = deps;
  const names = [nodeName, discovery];
  const hasJoined = () => isDone(deps, 'checkJoin', names);
  const isStarted = () => isDone(deps, 'checkStarted', []);
  return {
    isDone: async () => (await hasJoined()) && isStarted(),
    async apply() {
      if (!(await hasJoined())) {
        const kubeconfig = await makeBootstrapKubeconfig();
        await place(deps, 'join', names, { stdin: [kubeconfig] });
        await place(deps, 'start', []);
        await until(deps, joinMs, hasJoined);
      } else if (!(await isStarted())) await place(deps, 'start', []);
      await until(deps, joinMs, isStarted);
      if (await hasJoined()) await place(deps, 'forgetToken', []);
      return 'done';
    },
    whyNot: () => agentWords(deps),
  };
}

function readyStep(deps: StepDeps): StepWork {
  const { whyNotReady } = deps;
  const isReady = async () => (await whyNotReady()) === undefined;
  return {
    isDone: isReady,
    async apply() {
      await until(deps, readyMs, isReady);
      return 'done';
    },
    whyNot: whyNotReady,
  };
}

/** What its agent said last. */
async function agentWords({ root }: StepDeps): Promise<string | undefined> {
  const text = 'journalctl -u flotilla-agent -n 3 -o cat --no-pager 2>/dev/null || true';
  const { stdout } = await root(text);
  const words = stdout.replaceAll(/[^\P{Cc}]/gu, ' ').trim();
  return words === '' ? undefined : `its agent says: ${words.slice(-400)}`;
}

function short({ sha256 }: PackagePart): string {
  return sha256.slice(0, 12);
}

async function isDone(
  { root, placement }: StepDeps,
  name: PlacementName,
  args: readonly string[],
): Promise<boolean> {
  const said = (await outputOf(root(placement[name].text, args))).trim();
  if (said !== 'done' && said !== 'todo') throw new RemoteError(`an unexpected answer: ${said}`);
  return said === 'done';
}

interface Placing {
  readonly part?: PackagePart;
  readonly stdin?: readonly StdinPart[];
  readonly onPercent?: (percent: number) => void;
}

async function place(
  { root, placement }: StepDeps,
  name: PlacementName,
  args: readonly string[],
  { part, stdin = [], onPercent }: Placing = {},
): Promise<void> {
  const sent = (bytes: number): void =>
    onPercent?.(Math.floor((bytes * 100) / Math.max(1, part?.bytes ?? 1)));
  const parts = part === undefined ? stdin : [{ file: part.file }];
  const run = root(placement[name].text, args, { stdin: parts, onSent: sent, timeoutMs: copyMs });
  await outputOf(run);
}

/** Returns in any case when the time is up: whether it came about is checked by whoever asks. */
async function until(
  { clock, signal }: StepDeps,
  forMs: number,
  isSo: () => Promise<boolean>,
): Promise<void> {
  const endMs = clock.monotonicMs() + forMs;
  while (!signal.aborted && !(await isSo()) && clock.monotonicMs() < endMs)
    await delay(clock, lookMs, signal);
}
