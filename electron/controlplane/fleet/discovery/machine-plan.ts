// Which Machine objects there should be for what is seen: pure. An object keeps to its machine through other addresses and
// other names; one that a person made or accepted stays, the others go when nothing was seen of them for an hour.
import type { Machine, MachineStatus } from '#kube/api/fleet.ts';
import { rfc3339 } from '#kube/base/clock.ts';
import { getCondition, setCondition } from '#kube/machinery/conditions.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import { isDns1123Subdomain } from '#kube/machinery/names.ts';
import { addable, type SshAnswer } from './addable.ts';
import type { SeenMachine } from './seen-machines.ts';

export interface PlanInput {
  readonly machines: readonly Machine[];
  readonly seen: readonly SeenMachine[];
  /** The Node that has this address. */
  readonly nodeOf: (address: string) => string | undefined;
  readonly isNode: (name: string) => boolean;
  /** Of this cluster; undefined: not known yet. */
  readonly clusterId: string | undefined;
  /** Undefined: not asked yet. */
  readonly answerOf: (address: string, port: number) => SshAnswer | undefined;
  readonly nowMs: number;
}

export type MachineAction =
  | { readonly type: 'create'; readonly name: string; readonly status: MachineStatus }
  | { readonly type: 'update'; readonly machine: Machine; readonly status: MachineStatus }
  | { readonly type: 'delete'; readonly machine: Machine };

const keepUnseenMs = 3_600_000;
/**
 * So many machines that nobody asked for are shown at once, and so many of which there is only a name: a hostile device makes up
 * names without end, and network cards, too, if it must.
 */
const most = { shown: 200, withoutCard: 32 };
export const defaultSshPort = 22;

export function planMachines(input: PlanInput): readonly MachineAction[] {
  const { machines, seen } = input;
  const matched = match(machines, seen);
  const taken = new Set(machines.map(({ metadata }) => metadata.name));
  const actions: MachineAction[] = [];
  for (const machine of machines) {
    const found = matched.get(machine);
    if (found === undefined && isObsolete(machine, input)) {
      actions.push({ type: 'delete', machine });
      continue;
    }
    if (found !== undefined && isNamedAnew(machine, found)) {
      // As a new one, below.
      actions.push({ type: 'delete', machine });
      taken.delete(machine.metadata.name);
      matched.delete(machine);
      continue;
    }
    const status = statusOf(machine, found, input);
    if (!deepEqual(status, machine.status)) actions.push({ type: 'update', machine, status });
  }
  const known = new Set(matched.values());
  for (const one of mayBeShown(input, known)) {
    const name = freeName(one, taken);
    taken.add(name);
    actions.push({ type: 'create', name, status: statusOf(undefined, one, input) });
  }
  return actions;
}

/** Of those that have no object yet, those with a network card of their own first. */
function mayBeShown(
  { machines, seen }: PlanInput,
  known: ReadonlySet<SeenMachine>,
): readonly SeenMachine[] {
  const found = machines.filter(({ spec = {} }) => (spec.address ?? spec.hostKey) === undefined);
  const hasCard = (one: WithAddresses): boolean => hardwareOf(one).length > 0;
  const nameless = found.filter(({ status = {} }) => !hasCard(status)).length;
  const fresh = seen.filter((one) => !known.has(one));
  const [withCard, without] = [fresh.filter(hasCard), fresh.filter((one) => !hasCard(one))];
  return [...withCard, ...without.slice(0, Math.max(0, most.withoutCard - nameless))].slice(
    0,
    Math.max(0, most.shown - found.length),
  );
}

/** Each object with at most one machine, and the other way round; the surest signs first. */
function match(
  machines: readonly Machine[],
  seen: readonly SeenMachine[],
): Map<Machine, SeenMachine> {
  const cards = seen.flatMap(hardwareOf);
  const isUnique = (card: string): boolean => cards.filter((one) => one === card).length === 1;
  const signs: readonly ((machine: Machine, one: SeenMachine) => boolean)[] = [
    ({ spec }, one) => spec?.address !== undefined && isAt(one, spec.address),
    ({ status = {} }, one) =>
      hardwareOf(status).some((card) => isUnique(card) && hardwareOf(one).includes(card)),
    ({ status = {} }, one) => shares(status.hostNames, one.hostNames) && mayBeSame(status, one),
    ({ status = {} }, one) =>
      shares(addressesOf(status), addressesOf(one)) && mayBeSame(status, one),
  ];
  const matched = new Map<Machine, SeenMachine>();
  const used = new Set<SeenMachine>();
  for (const sign of signs)
    for (const machine of machines) {
      if (matched.has(machine)) continue;
      const found = seen.find((one) => !used.has(one) && sign(machine, one));
      if (found === undefined) continue;
      matched.set(machine, found);
      used.add(found);
    }
  return matched;
}

interface WithAddresses {
  readonly addresses?: readonly { readonly address: string; readonly hardwareAddress?: string }[];
}

function addressesOf({ addresses = [] }: WithAddresses): readonly string[] {
  return addresses.map(({ address }) => address);
}

function hardwareOf({ addresses = [] }: WithAddresses): readonly string[] {
  return addresses.flatMap(({ hardwareAddress }) => hardwareAddress ?? []);
}

/** Unless both network cards are known and are others: then another took the name or the address over. */
function mayBeSame(status: MachineStatus, one: SeenMachine): boolean {
  const [before, now] = [hardwareOf(status), hardwareOf(one)];
  return before.length === 0 || now.length === 0 || shares(before, now);
}

function shares(some: readonly string[] = [], others: readonly string[] = []): boolean {
  return some.some((one) => others.includes(one));
}

/** `typed`: an address, `raspberrypi` or `raspberrypi.local`. */
export function isAt({ addresses, hostNames }: SeenMachine, typed: string): boolean {
  const name = typed.toLowerCase().replace(/\.local$/, '');
  return addresses.some(({ address }) => address === typed) || hostNames.includes(name);
}

/** It was called by its card or its address before it told its name. Nobody has touched it since. */
function isNamedAnew(
  { metadata, spec = {}, status = {} }: Machine,
  { hostNames }: SeenMachine,
): boolean {
  const isNameless = /^(machine-[0-9a-f]{6}|at-\d+-\d+-\d+-\d+)(-\d+)?$/.test(metadata.name);
  const isTouched =
    Object.keys(spec).length > 0 || metadata.labels !== undefined || status.enrolment !== undefined;
  return (
    isNameless && !isTouched && hostNames.some((name) => isDns1123Subdomain(name).length === 0)
  );
}

function isObsolete(machine: Machine, { seen, nowMs }: PlanInput): boolean {
  const { spec, status = {} } = machine;
  if (spec?.address !== undefined || spec?.hostKey !== undefined) return false;
  const own = addressesOf(status);
  if (seen.some((one) => shares(own, addressesOf(one)))) return true;
  const condition = getCondition(status.conditions, 'Seen');
  if (condition?.status !== 'False') return false;
  return nowMs - Date.parse(condition.lastTransitionTime) >= keepUnseenMs;
}

function statusOf(
  machine: Machine | undefined,
  found: SeenMachine | undefined,
  input: PlanInput,
): MachineStatus {
  const { answerOf, nowMs } = input;
  const now = rfc3339(nowMs);
  const before = machine?.status ?? {};
  const port = machine?.spec?.sshPort ?? defaultSshPort;
  if (found === undefined) {
    const seen = {
      type: 'Seen',
      status: 'False',
      reason: 'NotHeard',
      message: 'Nothing is heard of it: it is off, or its network is another one',
    };
    const conditions = setCondition(before.conditions, seen, now);
    const address = machine?.spec?.address ?? '';
    const ssh = answerOf(address, port);
    if (ssh === undefined) return { ...before, conditions, seenBy: [] };
    // Typed, asked, and nothing came.
    const unknown = { nodeName: undefined, otherCluster: undefined, isRaspberryPi: false };
    const facts = { ...unknown, address, port, ssh };
    return { ...before, conditions: setCondition(conditions, addable(facts), now), seenBy: [] };
  }
  const { addresses, hostNames, seenBy, vendor } = found;
  const { enrolment } = before;
  const { nodeName: heard, otherCluster } = membership(found, input);
  // What was added is that node, whatever address the node tells.
  const added = enrolment?.phase === 'Done' ? enrolment.nodeName : undefined;
  const isAdded = added !== undefined && otherCluster === undefined && input.isNode(added);
  const nodeName = heard ?? (isAdded ? added : undefined);
  const { address, ssh } = bestAnswer(found, (one) => answerOf(one, port));
  const seen = {
    type: 'Seen',
    status: 'True',
    reason: 'Heard',
    message: `At ${addresses.map((one) => one.address).join(', ')}`,
  };
  const isRaspberryPi = vendor === 'Raspberry Pi' || hostNames.includes('raspberrypi');
  const verdict = addable({ nodeName, otherCluster, address, port, ssh, isRaspberryPi });
  const greeting = ssh?.type === 'greeting' ? ssh.greeting : undefined;
  const operatingSystem = greeting?.operatingSystem ?? before.operatingSystem;
  return {
    conditions: setCondition(setCondition(before.conditions, seen, now), verdict, now),
    addresses: [...addresses],
    hostNames: [...hostNames],
    seenBy: [...seenBy],
    ...(vendor !== undefined && { vendor }),
    ...(operatingSystem !== undefined && { operatingSystem }),
    ...(greeting !== undefined && { ssh: { port, software: greeting.software } }),
    ...(nodeName !== undefined && { nodeName }),
    ...(enrolment !== undefined && { enrolment }),
  };
}

/** Its address is a Node's, or it says itself what it belongs to. */
function membership(
  { addresses, member }: SeenMachine,
  { nodeOf, isNode, clusterId }: PlanInput,
): { readonly nodeName: string | undefined; readonly otherCluster: string | undefined } {
  const byAddress = addresses.map(({ address }) => nodeOf(address)).find((name) => name);
  if (byAddress !== undefined || member === undefined || clusterId === undefined)
    return { nodeName: byAddress, otherCluster: undefined };
  const isOurs = member.clusterId === clusterId;
  return {
    nodeName: isOurs && isNode(member.nodeName) ? member.nodeName : undefined,
    otherCluster: isOurs ? undefined : member.nodeName,
  };
}

/** Of several addresses the one that lets somebody in; else the first that was asked. */
function bestAnswer(
  { addresses }: SeenMachine,
  answerOf: (address: string) => SshAnswer | undefined,
): { readonly address: string; readonly ssh: SshAnswer | undefined } {
  const all = addresses.map(({ address }) => ({ address, ssh: answerOf(address) }));
  const first = all[0] ?? { address: '', ssh: undefined };
  return (
    all.find(({ ssh }) => ssh?.type === 'greeting') ??
    all.find(({ ssh }) => ssh !== undefined) ??
    first
  );
}

/** What it calls itself, else by its network card, else by its address. */
function freeName({ hostNames, addresses }: SeenMachine, taken: ReadonlySet<string>): string {
  const [{ address, hardwareAddress } = { address: '' }] = addresses;
  const byCard = hardwareAddress?.replaceAll(':', '').slice(-6);
  const plain = hostNames.find((name) => isDns1123Subdomain(name).length === 0);
  const name =
    plain ?? (byCard === undefined ? `at-${address.replaceAll('.', '-')}` : `machine-${byCard}`);
  if (!taken.has(name)) return name;
  for (let number = 2; ; number++) if (!taken.has(`${name}-${number}`)) return `${name}-${number}`;
}
