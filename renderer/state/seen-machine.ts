// Machines that are seen at home and are not the cluster's yet, as a person reads of them: what it is,
// how it was noticed, whether it can be added and why not, how far adding it has come. Pure.
// Reasons: electron/controlplane/fleet/discovery/addable.ts.
import type { Machine, MachineSource } from '#kube/api/fleet.ts';
import { getCondition } from '#kube/machinery/conditions.ts';
import type { AddableReason } from '#kube/machinery/fleet.ts';
import { isGoingOn, shareDone } from './enrolment.ts';
import { joinWords } from './format.ts';
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
  const { nodeName = '', conditions } = status ?? {};
  return nodes.has(nodeName) || getCondition(conditions, 'Addable')?.reason === 'InCluster';
}

function rank({ share, canAdd, tone, wantsCard }: SeenMachine): number {
  if (share !== undefined) return 0;
  if (canAdd) return 1;
  if (tone === 'gone') return 5;
  if (wantsCard) return 2;
  return tone === 'busy' ? 3 : 4;
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

type Verdict = Pick<SeenMachine, 'tone' | 'word' | 'hint' | 'original' | 'canAdd' | 'wantsCard'>;

function verdictOf(machine: Machine): Verdict {
  const { status = {} } = machine;
  const { enrolment } = status;
  const rest = { original: '', canAdd: true, wantsCard: false };
  if (enrolment !== undefined && isGoingOn(enrolment)) {
    const word = enrolment.phase === 'Rebooting' ? 'Restarts' : 'Being added';
    return { tone: 'busy', word, hint: enrolment.message ?? '', ...rest };
  }
  if (enrolment?.phase === 'Failed')
    return { tone: 'trouble', word: 'Not added', hint: enrolment.message ?? '', ...rest };
  const seen = getCondition(status.conditions, 'Seen');
  const addable = getCondition(status.conditions, 'Addable');
  const original = addable?.message ?? '';
  if (addable?.status === 'True')
    return { ...rest, tone: 'ok', word: 'Can be added', hint: '', original };
  const isRefused = addable?.status === 'False';
  if (seen?.status === 'False' && !(isRefused && addable.reason !== 'SshAnswers'))
    return {
      tone: 'gone',
      word: 'Not there',
      hint: 'Nothing is heard of it: it is off, or on another network.',
      original: seen.message,
      canAdd: false,
      wantsCard: false,
    };
  if (!isRefused)
    return { ...rest, tone: 'busy', word: 'Being looked at', hint: '', original, canAdd: false };
  const wantsCard = addable.reason === 'SshClosed' && isRaspberryPi(machine);
  const [word, hint] = refusals[addable.reason as AddableReason] ?? ["Can't be added", original];
  return {
    tone: 'wait',
    word,
    hint: wantsCard ? 'Turn SSH on with its card, and it can be added.' : hint,
    original,
    canAdd: false,
    wantsCard,
  };
}

const refusals: Partial<Record<AddableReason, readonly [word: string, hint: string]>> = {
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

const sourceWords: Readonly<Record<MachineSource, string>> = {
  MulticastDNS: 'it told its name',
  Neighbour: 'this machine has spoken with it',
  Sweep: 'it answered when the network was asked',
  Typed: 'you typed its address',
};

/** `Noticed because it told its name and you typed its address`. */
function foundWords({ spec, status = {} }: Machine): string {
  const seenBy = new Set(status.seenBy);
  if (spec?.address !== undefined) seenBy.add('Typed');
  if (seenBy.size === 0) return '';
  return `Noticed because ${joinWords([...seenBy].map((source) => sourceWords[source]))}`;
}
