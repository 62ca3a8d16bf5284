// What has to be done to a machine until it is one of the cluster's, in order, or why it can't become one. Pure: shown to a
// person before anything is done. Each step is checked before it is applied, so that a plan that was cut off is
// simply run again.
import { isDns1123Subdomain } from '#kube/machinery/names.ts';
import type { MachineFacts, RootFacts } from './facts.ts';

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
  /** What a person reads before: `Install Docker Engine (docker.io) by apt`. */
  readonly title: string;
  readonly needsReboot: boolean;
}

export interface EnrolmentPlan {
  readonly steps: readonly Step[];
  /** That it gets, or has. */
  readonly nodeName: string;
  /** The machine id of the machine whose Node it takes over; undefined: of none. */
  readonly replaces?: string;
  /** Any of them: nothing is begun. */
  readonly obstacles: readonly string[];
  /** Nothing of it stands in the way. */
  readonly warnings: readonly string[];
}

export interface KnownNode {
  readonly name: string;
  readonly machineId: string;
  readonly isReady: boolean;
}

/** What came of trying the password on sudo; undefined: there was nothing to try. */
export type SudoAnswer =
  | 'accepted'
  | 'wrong-password'
  | 'not-allowed'
  | 'needs-terminal'
  | undefined;

export interface PlanContext {
  /** Undefined: it is still being packed. Or why there is nothing to copy. */
  readonly copied: { readonly bytes: number | undefined } | { readonly problem: string };
  readonly nodes: readonly KnownNode[];
  /** That a person asked for. */
  readonly nodeName: string | undefined;
  /** It is to take that one's place. */
  readonly replaceNode: boolean;
  readonly sudo: SudoAnswer;
  /** `https://192.168.1.20:7443`: where it will look for the cluster; undefined: nowhere but on this machine. */
  readonly server: string | undefined;
  /** Whether it gets there; undefined: nobody knows. */
  readonly reachesServer: boolean | undefined;
  /** Of this cluster, as RootFacts has it. */
  readonly clusterCa: string;
  /** Another machine that showed the same SSH host key. */
  readonly sameHostKey: string | undefined;
}

const megabyte = 1024 * 1024;
/** Runtime, agent and their packages; images come on top. */
const agentBytes = 400 * megabyte;
const engineBytes = 1000 * megabyte;
const littleMemory = 900 * megabyte;
const slowSyncMs = 25;
/** Certificates are back-dated by five minutes. */
export const clockToleranceMs = 60_000;

/** `root`: undefined where nobody could become root. */
export function planEnrolment(
  facts: MachineFacts,
  root: RootFacts | undefined,
  context: PlanContext,
): EnrolmentPlan {
  const name = nodeNameOf(facts, root, context);
  return {
    steps: stepsOf(facts, context),
    nodeName: name.nodeName,
    ...(name.replaces !== undefined && { replaces: name.replaces }),
    obstacles: [
      ...systemObstacles(facts, context),
      ...clusterObstacles(root, context),
      ...name.obstacles,
    ],
    warnings: [...name.warnings, ...warningsOf(facts, root, context)],
  };
}

function stepsOf(facts: MachineFacts, { copied }: PlanContext): readonly Step[] {
  const { limitsMemory, bootLine, docker, missing, clockAheadMs = 0 } = facts;
  const steps: Step[] = [];
  const add = (name: StepName, title: string, needsReboot = false): void => {
    steps.push({ name, title, needsReboot });
  };
  if (Math.abs(clockAheadMs) > clockToleranceMs)
    add('clock', `Set its clock, which is ${span(clockAheadMs)}, and keep it by the network`);
  if (limitsMemory === false && bootLine !== undefined)
    add('memory-limits', `Turn memory limits on in ${bootLine} (a copy is kept), and reboot`, true);
  if (missing.length > 0) {
    const what = docker === 'missing' ? 'Docker Engine' : 'what the network of apps needs';
    add('engine', `Install ${what} by apt: ${missing.join(', ')}`);
  }
  if (docker === 'stopped') add('start-engine', 'Start Docker Engine, now and at each start');
  const bytes = 'bytes' in copied ? copied.bytes : undefined;
  const size = bytes === undefined ? '' : ` (${Math.ceil(bytes / megabyte)} MB)`;
  add('runtime', `Copy what the agent runs on${size}`);
  add('agent', 'Copy the agent to /var/lib/flotilla and make it a service of systemd');
  add(
    'join',
    'Let it ask for its certificates, with a token that is good once and for some minutes',
  );
  add('ready', 'Wait until it is ready');
  return steps;
}

function systemObstacles(facts: MachineFacts, context: PlanContext): readonly string[] {
  const { isLinux, architecture, bits, machine, rights, docker, freeBytes } = facts;
  if (!isLinux) return ['It does not run Linux'];
  const found: string[] = [];
  if (architecture === undefined)
    found.push(`Its processor (${machine}) is none that the agent runs on: x86-64 or 64-bit ARM`);
  else if (bits === 32)
    found.push(
      'Its kernel has 64 bits and its system 32, and most apps come for 64 bits only: write a 64-bit system to its card',
    );
  else if ('problem' in context.copied) found.push(context.copied.problem);
  if (!facts.hasSystemd) found.push('It is not run by systemd, which has to start the agent');
  if (!facts.hasApt)
    found.push('It has no apt: only Debian and its kin (Raspberry Pi OS, Ubuntu) can be added');
  const sudo = sudoObstacle(rights, context.sudo);
  if (sudo !== undefined) found.push(sudo);
  const needed = agentBytes + (docker === 'missing' ? engineBytes : 0);
  if (freeBytes !== undefined && freeBytes < needed)
    found.push(
      `Only ${Math.floor(freeBytes / megabyte)} MB are free on its disk below /var/lib: ${needed / megabyte} MB are needed`,
    );
  const { agentFreeBytes } = facts;
  const hasOwnDisk = agentFreeBytes !== freeBytes;
  if (agentFreeBytes !== undefined && hasOwnDisk && agentFreeBytes < agentBytes)
    found.push(
      `Only ${Math.floor(agentFreeBytes / megabyte)} MB are free on its disk below /var/lib/flotilla: ${agentBytes / megabyte} MB are needed`,
    );
  return found;
}

function sudoObstacle(rights: MachineFacts['rights'], sudo: SudoAnswer): string | undefined {
  if (rights === 'none')
    return 'It has no sudo: log in as root, or install sudo and let the user use it';
  if (rights !== 'sudo-with-password' || sudo === 'accepted') return undefined;
  if (sudo === 'wrong-password') return 'sudo does not accept this password';
  if (sudo === 'not-allowed')
    return 'The user may not use sudo: log in as root, or as a user of the group sudo';
  if (sudo === 'needs-terminal')
    return 'sudo wants a terminal there (requiretty in /etc/sudoers): take that line out, or log in as root';
  return 'sudo wants a password: give it. It is used while the machine is added, and kept nowhere';
}

function clusterObstacles(root: RootFacts | undefined, context: PlanContext): readonly string[] {
  const found: string[] = [];
  if (root?.clusterCa !== undefined && root.clusterCa !== context.clusterCa)
    found.push(
      `It belongs to another cluster, as its node ${root.nodeName ?? '(without a name)'}: take it out there first`,
    );
  if (context.server === undefined)
    found.push(
      'This control plane listens on its own machine only: start it with --bind-address 0.0.0.0, so that others can join',
    );
  else if (context.reachesServer === false)
    found.push(
      `It can't reach ${context.server}: a firewall on this computer, or between the two, has to let TCP to that port through`,
    );
  return found;
}

interface NodeName {
  readonly nodeName: string;
  readonly replaces?: string;
  readonly obstacles: readonly string[];
  readonly warnings: readonly string[];
}

/** What it was called before, else what a person says, else its own name, made unique. */
function nodeNameOf(
  { hostName, machineId }: MachineFacts,
  root: RootFacts | undefined,
  { nodes, nodeName: asked, replaceNode, clusterCa }: PlanContext,
): NodeName {
  if (root?.nodeName !== undefined && root.clusterCa === clusterCa) {
    const { nodeName } = root;
    const known = nodes.find((node) => node.name === nodeName);
    // Whose certificates it gets must not be for the machine to say.
    if (known !== undefined && known.machineId !== machineId) {
      const obstacle = `It says that it is the node ${nodeName}, which has another machine id: it is a copy, or it lies`;
      return { nodeName, obstacles: [obstacle], warnings: [] };
    }
    if (asked === undefined || asked === nodeName) return { nodeName, obstacles: [], warnings: [] };
    const obstacle = `It is the node ${nodeName} already: to give it another name, take it out first`;
    return { nodeName, obstacles: [obstacle], warnings: [] };
  }
  const twin =
    machineId === undefined ? undefined : nodes.find((one) => one.machineId === machineId);
  const own = asked ?? twin?.name ?? toNodeName(hostName);
  if (twin?.isReady === true) {
    const obstacle =
      `It has the machine id of the node ${twin.name}, which is there: its disk is a copy, or it is that node. ` +
      'Give a copy an id of its own: rm /etc/machine-id && systemd-machine-id-setup, and reboot';
    return { nodeName: own, obstacles: [obstacle], warnings: [] };
  }
  if (twin !== undefined && twin.name === own)
    return {
      nodeName: own,
      obstacles: [],
      warnings: [`It has been the node ${own}, which is not there now: it takes that one's place`],
    };
  const isTaken = (name: string): boolean => nodes.some((node) => node.name === name);
  if (!isTaken(own)) return { nodeName: own, obstacles: [], warnings: [] };
  if (asked !== undefined) return takenName(own, nodes, replaceNode);
  let number = 2;
  while (isTaken(`${own}-${number}`)) number += 1;
  const nodeName = `${own}-${number}`;
  const warning = `There is a node ${own} already: this one is called ${nodeName} in the cluster`;
  return { nodeName, obstacles: [], warnings: [warning] };
}

/** New hardware may take an old one's place: with its name go its labels and what apps are bound to by them. */
function takenName(name: string, nodes: readonly KnownNode[], replaceNode: boolean): NodeName {
  const old = nodes.find((node) => node.name === name);
  const refuse = (obstacle: string): NodeName => ({
    nodeName: name,
    obstacles: [obstacle],
    warnings: [],
  });
  if (!replaceNode)
    return refuse(
      old?.isReady === true
        ? `There is a node ${name} already`
        : `There is a node ${name} already, which is not there now: choose another name, or let it take that one's place (spec.replaceNode)`,
    );
  if (old?.isReady === true)
    return refuse(`The node ${name} is there: shut it down before another takes its place`);
  return {
    nodeName: name,
    replaces: old?.machineId ?? '',
    obstacles: [],
    warnings: [
      `It takes the place of the node ${name}: name, labels and role stay, the data on the old machine does not come along. If that one comes back, the cluster refuses it`,
    ],
  };
}

function toNodeName(hostName: string): string {
  const name = hostName
    .toLowerCase()
    .replaceAll(/[^a-z0-9.-]+/g, '-')
    .replaceAll(/^[.-]+|[.-]+$/g, '');
  return isDns1123Subdomain(name).length === 0 ? name : 'machine';
}

function warningsOf(
  { limitsMemory, bootLine, memoryBytes, clockAheadMs }: MachineFacts,
  root: RootFacts | undefined,
  { sameHostKey }: PlanContext,
): readonly string[] {
  const found: string[] = [];
  if (limitsMemory === false && bootLine === undefined)
    found.push('Its kernel can not limit the memory of apps: one app may take all of it');
  if (memoryBytes !== undefined && memoryBytes < littleMemory)
    found.push(
      `It has ${Math.round(memoryBytes / megabyte)} MB of memory: enough for a small app or two`,
    );
  if (root?.syncMs !== undefined && root.syncMs > slowSyncMs)
    found.push(
      `Its disk takes ${Math.round(root.syncMs)} ms to keep a small write (an SSD takes 1 to 5): apps with databases will be slow on it`,
    );
  if (clockAheadMs === undefined) found.push('Its clock can not be read');
  if (sameHostKey !== undefined)
    found.push(
      `It has the SSH host key of ${sameHostKey}: its disk is a copy. Give it keys of its own: ` +
        'rm /etc/ssh/ssh_host_* && ssh-keygen -A',
    );
  if (root?.isOwned === true && root.clusterCa === undefined)
    found.push('/var/lib/flotilla is there already: what it holds is taken over');
  return found;
}

const [secondMs, minuteMs, hourMs, dayMs] = [1000, 60_000, 3_600_000, 86_400_000];

/** `3 days behind`. */
function span(ms: number): string {
  const amount = Math.abs(ms);
  const [unitMs, unit] =
    amount >= 2 * dayMs
      ? [dayMs, 'days']
      : amount >= 2 * hourMs
        ? [hourMs, 'hours']
        : amount >= 2 * minuteMs
          ? [minuteMs, 'minutes']
          : [secondMs, 'seconds'];
  return `${Math.round(amount / unitMs)} ${unit} ${ms > 0 ? 'ahead' : 'behind'}`;
}
