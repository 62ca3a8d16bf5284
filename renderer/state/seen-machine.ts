// Machines that are seen at home and are not the cluster's yet, as a person reads of them: what it is,
// how it was noticed, whether it can be added and why not, how far adding it has come. Pure.
// Reasons: electron/controlplane/fleet/discovery/addable.ts.
import type { Machine, MachineSource } from '#kube/api/fleet.ts';
import { getCondition } from '#kube/machinery/conditions.ts';
import type { AddableReason } from '#kube/machinery/fleet.ts';
import { isGoingOn, shareDone } from './enrolment.ts';
import type { Face } from './machine.ts';
import type { Tone } from './vocabulary.ts';

export interface SeenMachine {
  /** Of the Machine object. */
  readonly key: string;
  /** As it calls itself. */
  readonly name: string;
  readonly face: Face;
  /** `Raspberry Pi · Debian 12`; '' while nothing is known. */
  readonly about: string;
  /** `192.168.1.50`; '' before it was seen at one. */
  readonly address: string;
  readonly found: string;
  readonly tone: Tone;
  readonly word: string;
  /** What to do about it, or why it is so; '' when the word says it all. */
  readonly hint: string;
  readonly original: string;
  readonly canAdd: boolean;
  /** Nothing spoke for it when it was asked last, which may be minutes ago. */
  readonly canTry: boolean;
  /** SSH is off on a Raspberry Pi: its card wants preparing. */
  readonly wantsCard: boolean;
  /** A person told of it, and may take that back. */
  readonly isTyped: boolean;
  /** How far adding it has come, 0…1; undefined while nobody adds it. */
  readonly share: number | undefined;
}

/** Those that can be added first, those that nothing is heard of last; no Node a second time. */
export function seenMachines(
  machines: readonly Machine[],
  nodes: ReadonlySet<string>,
): SeenMachine[] {
  return machines
    .filter((machine) => !isInCluster(machine, nodes))
    .map(describeSeen)
    .sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name));
}

function isInCluster({ status }: Machine, nodes: ReadonlySet<string>): boolean {
  const { nodeName = '', conditions, enrolment } = status ?? {};
  if (nodes.has(nodeName)) return true;
  // The search may not have noticed yet what it became.
  if (enrolment?.phase === 'Done' && nodes.has(enrolment.nodeName ?? '')) return true;
  return getCondition(conditions, 'Addable')?.reason === 'InCluster';
}

function rank({ share, canAdd, tone, wantsCard, canTry }: SeenMachine): number {
  if (share !== undefined) return 0;
  if (canAdd) return 1;
  if (tone === 'gone') return 5;
  if (wantsCard) return 2;
  return canTry ? 3 : 4;
}

export function describeSeen(machine: Machine): SeenMachine {
  const { metadata, spec, status = {} } = machine;
  const { hostNames = [], addresses = [], vendor, operatingSystem, enrolment } = status;
  const verdict = verdictOf(machine);
  const isGoing = enrolment !== undefined && isGoingOn(enrolment);
  return {
    key: metadata.name,
    name: hostNames[0] ?? metadata.name,
    face: faceOf(machine),
    about: [enrolment?.machine?.model ?? vendor, operatingSystem].filter(Boolean).join(' · '),
    address: addresses[0]?.address ?? spec?.address ?? '',
    found: foundWords(machine),
    isTyped: spec?.address !== undefined,
    share: isGoing ? shareDone(enrolment) : undefined,
    ...verdict,
  };
}

type Verdict = Pick<
  SeenMachine,
  'tone' | 'word' | 'hint' | 'original' | 'canAdd' | 'canTry' | 'wantsCard'
>;

function verdictOf(machine: Machine): Verdict {
  const { status = {} } = machine;
  const { enrolment } = status;
  const rest = { original: '', canAdd: true, canTry: false, wantsCard: false };
  if (enrolment !== undefined && isGoingOn(enrolment)) {
    const word = enrolment.phase === 'Rebooting' ? 'Restarts' : 'Being added';
    return { ...rest, tone: 'busy', word, hint: enrolment.message ?? '' };
  }
  if (enrolment?.phase === 'Failed')
    return { ...rest, tone: 'trouble', word: 'Not added', hint: enrolment.message ?? '' };
  const addable = getCondition(status.conditions, 'Addable');
  const original = addable?.message ?? '';
  if (addable?.status === 'False') return { ...rest, ...refusal(machine), original, canAdd: false };
  const seen = getCondition(status.conditions, 'Seen');
  if (seen?.status === 'False') {
    const hint = 'Nothing is heard of it: it is off, or on another network.';
    const away = { tone: 'gone', word: 'Not there', hint, original: seen.message } as const;
    return { ...rest, ...away, canAdd: false, canTry: true };
  }
  if (addable?.status === 'True')
    return { ...rest, tone: 'ok', word: 'Can be added', hint: '', original };
  const unasked = { tone: 'gone', word: 'Not asked yet', hint: '' } as const;
  return { ...rest, ...unasked, original, canAdd: false, canTry: true };
}

function refusal(
  machine: Machine,
): Pick<Verdict, 'tone' | 'word' | 'hint' | 'canTry' | 'wantsCard'> {
  const addable = getCondition(machine.status?.conditions, 'Addable');
  const reason = addable?.reason as AddableReason;
  const wantsCard = reason === 'SshClosed' && isRaspberryPi(machine);
  const [word, told = addable?.message ?? ''] = refusals[reason] ?? ["Can't be added"];
  const hint = wantsCard ? 'Turn SSH on with its card, and it can be added.' : told;
  const canTry = reason === 'SshClosed' || reason === 'SshSilent';
  return { tone: 'wait', word, hint, canTry, wantsCard };
}

/** Without a hint: what the search says. */
const refusals: Partial<Record<AddableReason, readonly [word: string, hint?: string]>> = {
  InOtherCluster: ['In another home'],
  SshClosed: ['Its SSH is off', 'Install and start its SSH server (openssh-server).'],
  SshSilent: ['Does not answer', 'It sleeps, or a firewall on it drops what comes to its SSH.'],
  NotLinux: ['Runs Windows', 'Machines of a home run Linux.'],
  NotSsh: ['No SSH there', 'Something else answers where its SSH should be.'],
};

export function isRaspberryPi({ status = {} }: Machine): boolean {
  const { vendor = '', hostNames = [] } = status;
  return vendor.startsWith('Raspberry Pi') || hostNames.includes('raspberrypi');
}

function faceOf(machine: Machine): Face {
  const names = machine.status?.hostNames?.join(' ').toLowerCase() ?? '';
  if (isRaspberryPi(machine) || /raspb|\bpi\d?\b/.test(names)) return 'pi';
  if (/laptop|macbook|notebook|thinkpad|framework|xps/.test(names)) return 'laptop';
  return /tower|desktop|workstation|server/.test(names) ? 'tower' : 'mini';
}

/** The strongest sign first. */
const signs: readonly (readonly [source: MachineSource, words: string])[] = [
  ['Typed', 'you typed it'],
  ['MulticastDNS', 'tells its name on your network'],
  ['Sweep', 'answered when your network was asked'],
  ['Neighbour', 'was noticed on your network'],
];

/** `192.168.1.50: tells its name on your network`. */
function foundWords({ spec, status = {} }: Machine): string {
  const seenBy = new Set(status.seenBy);
  if (spec?.address !== undefined) seenBy.add('Typed');
  const words = signs.find(([source]) => seenBy.has(source))?.[1];
  const address = status.addresses?.[0]?.address ?? spec?.address;
  return [address, words].filter((part) => part !== undefined).join(': ');
}
