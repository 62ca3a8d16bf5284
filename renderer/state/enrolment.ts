// Adding a machine, as a person goes through it: what the sheet shows at each moment, and what is sent
// for it. Pure. The contract: `Enrolment` in electron/kube/api/fleet.ts.
import type { EnrolmentSpec, EnrolmentStatus, EnrolmentStep, Machine } from '#kube/api/fleet.ts';
import { formatBytes, plural } from './format.ts';

export type HostKey = NonNullable<EnrolmentStatus['hostKey']>;
export type LoginMethod = 'password' | 'key' | 'agent';

/** What a person entered. Lies in the page's memory only, until the machine is added or the sheet is closed. */
export interface Login {
  method: LoginMethod;
  user: string;
  password: string;
  privateKey: string;
  passphrase: string;
  sudoPassword: string;
  nodeName: string;
}

export function emptyLogin(user: string): Login {
  const secrets = { password: '', privateKey: '', passphrase: '', sudoPassword: '' };
  return { method: 'password', user, ...secrets, nodeName: '' };
}

/** Who logs in, most probably. `lastUsed`: what worked with another machine; '' if none did. */
export function guessUser(machine: Machine | undefined, lastUsed: string): string {
  if (lastUsed !== '') return lastUsed;
  return machine?.status?.operatingSystem?.startsWith('Ubuntu') === true ? 'ubuntu' : 'pi';
}

/** What it still lacks, as a sentence; undefined: nothing. */
export function lackOf({ method, user, password, privateKey }: Login): string | undefined {
  if (user === '') return 'It needs a user';
  if (method === 'password' && password === '') return 'It needs a password';
  return method === 'key' && privateKey.trim() === '' ? 'It needs a key' : undefined;
}

/** Only what the chosen way needs; `hostKey`: the fingerprint that stands on the page. */
export function specOf(
  phase: EnrolmentSpec['phase'],
  login: Login,
  more: { readonly hostKey?: string; readonly acceptWarnings?: boolean } = {},
): EnrolmentSpec {
  const { method, user, password, privateKey, passphrase, sudoPassword, nodeName } = login;
  return {
    phase,
    user,
    ...(method === 'password' && { password }),
    ...(method === 'key' && { privateKey: `${privateKey.trim()}\n` }),
    ...(method === 'key' && passphrase !== '' && { passphrase }),
    ...(method === 'agent' && { useAgent: true }),
    ...(sudoPassword !== '' && { sudoPassword }),
    ...(nodeName !== '' && { nodeName }),
    ...more,
  };
}

/** The first question: no secret goes out before a person has seen whom it goes to. */
export function firstQuestion(user: string): EnrolmentSpec {
  return { phase: 'Inspect', user };
}

export type Stage =
  /** Asking for the host key. */
  'knocking' | 'login' | 'plan' | 'obstructed' | 'going' | 'failed' | 'done';

/** `answer`: of the last request; `live`: what the object says since this attempt or an earlier one began. */
export function stageOf(
  answer: EnrolmentStatus | undefined,
  live: EnrolmentStatus | undefined,
): Stage {
  const status = live ?? answer;
  switch (status?.phase) {
    case undefined:
      return 'knocking';
    case 'HostKeyUnknown':
    case 'LoginRefused':
      return 'login';
    case 'Planned':
      return 'plan';
    case 'Obstructed':
      return 'obstructed';
    case 'Running':
    case 'Rebooting':
      return 'going';
    case 'Failed':
      return 'failed';
    case 'Done':
      return 'done';
  }
}

export function isGoingOn({ phase }: EnrolmentStatus): boolean {
  return phase === 'Running' || phase === 'Rebooting';
}

/** What an object says of an attempt that goes on or broke off; of one that is over it says nothing. */
export function resumable(machine: Machine | undefined): EnrolmentStatus | undefined {
  const enrolment = machine?.status?.enrolment;
  if (enrolment === undefined) return undefined;
  return isGoingOn(enrolment) || enrolment.phase === 'Failed' ? enrolment : undefined;
}

/** Steps that are through, the running one by its percent. */
export function shareDone({ steps = [] }: EnrolmentStatus): number {
  if (steps.length === 0) return 0;
  const parts: number[] = steps.map(({ state, percent = 0 }) => {
    if (state === 'Done' || state === 'Skipped') return 1;
    return state === 'Running' ? percent / 100 : 0;
  });
  return parts.reduce((sum, part) => sum + part, 0) / steps.length;
}

/** `Copying the agent, 40 %`. */
export function goingWords(status: EnrolmentStatus): string {
  if (status.phase === 'Rebooting') return 'It restarts: this takes a minute or two';
  const running = status.steps?.find(({ state }) => state === 'Running');
  if (running === undefined) return 'Begins';
  return running.percent === undefined
    ? running.title
    : `${running.title}, ${Math.round(running.percent)} %`;
}

/** `Raspberry Pi 4 Model B · Debian 12 · 64-bit ARM · 4 GB of memory · 20 GB free`. */
export function machineWords({ machine = {} }: EnrolmentStatus): string {
  const { model, system, architecture, memoryBytes, freeBytes } = machine;
  return [
    model,
    system,
    architecture === undefined ? undefined : (architectures[architecture] ?? architecture),
    memoryBytes === undefined ? undefined : `${formatBytes(memoryBytes)} of memory`,
    freeBytes === undefined ? undefined : `${formatBytes(freeBytes)} free`,
  ]
    .filter((part) => part !== undefined && part !== '')
    .join(' · ');
}

const architectures: Readonly<Record<string, string>> = {
  x86_64: 'x86, 64 bit',
  x64: 'x86, 64 bit',
  aarch64: 'ARM, 64 bit',
  arm64: 'ARM, 64 bit',
};

/** `4 things will be done, and it restarts once`. */
export function planWords(steps: readonly EnrolmentStep[]): string {
  const todo = steps.filter(({ state }) => state === 'Waiting');
  if (todo.length === 0) return 'All is there already: it only has to join.';
  const restarts = todo.some(({ needsReboot }) => needsReboot === true);
  return `${plural(todo.length, 'thing')} will be done${restarts ? ', and it restarts once' : ''}:`;
}
