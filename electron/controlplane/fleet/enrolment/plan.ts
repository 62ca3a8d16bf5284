// What has to be done to a machine until it is one of the cluster's, in order, or why it can't become one. Pure: shown to a
// person before anything is done. Each step is checked before it is applied, so that a plan that was cut off is
// simply run again.
import type { MachineFacts } from './facts.ts';

export type StepName =
  | 'clock'
  | 'memory-limits'
  | 'engine'
  | 'start-engine'
  | 'runtime'
  | 'agent'
  | 'join'
  | 'ready';

export interface Step {
  readonly name: StepName;
  /** What a person reads before: `Install Docker (docker.io) by apt`. */
  readonly title: string;
  readonly needsReboot: boolean;
}

export interface EnrolmentPlan {
  readonly steps: readonly Step[];
  /** Any of them: nothing is begun. */
  readonly obstacles: readonly string[];
  /** Nothing of it stands in the way. */
  readonly warnings: readonly string[];
}

export interface PlanContext {
  /** What is to be copied, in bytes. */
  readonly packageBytes: number;
  /** Names of this cluster's Nodes, by machine id. */
  readonly nodeOfMachineId: (machineId: string) => string | undefined;
  readonly hasPassword: boolean;
}

const megabyte = 1024 * 1024;
/** Engine, runtime, and the first image. */
const neededBytes = 1500 * megabyte;
const littleMemory = 900 * megabyte;
/** Certificates are back-dated by five minutes. */
const clockToleranceMs = 60_000;

export function planEnrolment(facts: MachineFacts, context: PlanContext): EnrolmentPlan {
  const { limitsMemory, bootLine, docker, clockAheadMs = 0 } = facts;
  const steps: Step[] = [];
  const add = (name: StepName, title: string, needsReboot = false): void => {
    steps.push({ name, title, needsReboot });
  };
  if (Math.abs(clockAheadMs) > clockToleranceMs)
    add('clock', `Set its clock, which is ${span(clockAheadMs)}, and keep it by the network`);
  if (limitsMemory === false && bootLine !== undefined)
    add('memory-limits', `Turn memory limits on in ${bootLine} (a copy is kept)`, true);
  if (docker === 'missing') add('engine', 'Install Docker Engine (docker.io) by apt');
  if (docker === 'stopped') add('start-engine', 'Start Docker Engine, now and at each start');
  const size = Math.ceil(context.packageBytes / megabyte);
  add('runtime', `Copy what the agent runs on (${size} MB)`);
  add('agent', 'Copy the agent to /var/lib/flotilla and make it a service of systemd');
  add(
    'join',
    'Let it ask for its certificates, with a token that is good once and for ten minutes',
  );
  add('ready', 'Wait until it is ready');
  return { steps, obstacles: obstacles(facts, context), warnings: warnings(facts) };
}

function obstacles(facts: MachineFacts, context: PlanContext): readonly string[] {
  const { isLinux, architecture, isUserland64, machine, rights, docker } = facts;
  const found: string[] = [];
  if (!isLinux) return ['It does not run Linux'];
  if (architecture === undefined)
    found.push(`Its processor (${machine}) is none that the agent runs on: x86-64 or 64-bit ARM`);
  else if (!isUserland64)
    found.push(
      `Its kernel has 64 bits and its system 32, and most apps come for 64 bits only: write a 64-bit system to its card`,
    );
  if (!facts.hasSystemd) found.push('It is not run by systemd, which has to start the agent');
  if (rights === 'none')
    found.push('The user may not become root: log in as root, or as a user who may use sudo');
  if (rights === 'sudo-with-password' && !context.hasPassword)
    found.push('The user needs a password for sudo: give it, it is used once and kept nowhere');
  if (docker === 'missing' && !facts.hasApt)
    found.push('Docker Engine is missing, and without apt it has to be installed by hand');
  if (facts.freeBytes !== undefined && facts.freeBytes < neededBytes)
    found.push(
      `Only ${Math.floor(facts.freeBytes / megabyte)} MB are free below /var/lib: ${neededBytes / megabyte} MB are needed`,
    );
  const node = facts.machineId === undefined ? undefined : context.nodeOfMachineId(facts.machineId);
  if (node !== undefined)
    found.push(
      `It has the machine id of ${node}: its card is a copy. Give it one of its own: ` +
        'rm /etc/machine-id && systemd-machine-id-setup',
    );
  return found;
}

function warnings({
  limitsMemory,
  bootLine,
  memoryBytes,
  isOwned,
}: MachineFacts): readonly string[] {
  const found: string[] = [];
  if (limitsMemory === false && bootLine === undefined)
    found.push('Its kernel can not limit the memory of apps: one app may take all of it');
  if (memoryBytes !== undefined && memoryBytes < littleMemory)
    found.push(
      `It has ${Math.round(memoryBytes / megabyte)} MB of memory: enough for a small app or two`,
    );
  if (isOwned) found.push('It was a machine of a cluster before: what that left is taken over');
  return found;
}

const [minuteMs, hourMs, dayMs] = [60_000, 3_600_000, 86_400_000];

/** `3 days behind`. */
function span(ms: number): string {
  const amount = Math.abs(ms);
  const [unitMs, unit] =
    amount >= 2 * dayMs
      ? [dayMs, 'days']
      : amount >= 2 * hourMs
        ? [hourMs, 'hours']
        : [minuteMs, 'minutes'];
  return `${Math.round(amount / unitMs)} ${unit} ${ms > 0 ? 'ahead' : 'behind'}`;
}
