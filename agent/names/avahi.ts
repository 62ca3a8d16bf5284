// Names told by avahi, through its D-Bus: a group of entries for each name, with the addresses of all its links, so
// that a name has one number everywhere. avahi asks whether it is free, announces, answers and says goodbye; it drops
// all of it when our connection ends, and forgets it when it starts anew: then all is told again.
// Source: avahi, org.freedesktop.Avahi.{Server,EntryGroup}.xml; avahi-common/defs.h (states and flags).
import { readFile } from 'node:fs/promises';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { bus as theBus, BusError, type Bus, type BusOptions } from '../dbus/bus.ts';
import type { BusMessage, Value } from '../dbus/message.ts';
import { messageOf } from '../error-message.ts';
import { namesOn, numbered, type Teller, type TellingLink } from './teller.ts';

export interface AvahiDeps {
  /** Rejects where there is no bus. */
  readonly connect: (
    on: Pick<BusOptions, 'onSignal' | 'onEnd'>,
  ) => Promise<Pick<Bus, 'call' | 'close'>>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** `held` is another. */
  readonly onChange: () => void;
  /** avahi came, or went. */
  readonly onPresence: () => void;
  /** For tests: the number of an interface. */
  readonly interfaceIndex?: (name: string) => Promise<number | undefined>;
}

const avahi = 'org.freedesktop.Avahi';
const ipv4 = 0;
/** The name of an address is the machine's own. */
const noReverse = 16;
const states = { established: 2, collision: 3, failure: 4 } as const;
const taken = 'org.freedesktop.Avahi.CollisionError';
/** After so many numbers in a row there is something wrong: slowly then. */
const conflictsMax = 15;
const slowMs = 5_000;

interface Group {
  readonly wanted: string;
  entries: readonly Entry[];
  number: number;
  conflicts: number;
  /** avahi's; undefined before there is one. */
  path: string | undefined;
  /** What was asked for there. */
  told: string;
  isOurs: boolean;
}

interface Entry {
  readonly index: number;
  readonly address: string;
}

export class Avahi implements Teller {
  readonly #deps: AvahiDeps;
  #bus: Pick<Bus, 'call' | 'close'> | undefined;
  /** avahi's name on the bus; '' while it does not run. */
  #owner = '';
  /** Why it tells nothing, though it runs. */
  #refusal = '';
  readonly #groups = new Map<string, Group>();
  #work: Promise<unknown> = Promise.resolve();

  constructor(deps: AvahiDeps) {
    this.#deps = deps;
  }

  get held(): ReadonlyMap<string, string> {
    const ours = [...this.#groups.values()].filter(({ isOurs }) => isOurs);
    return new Map(ours.map(({ wanted, number }) => [wanted, numbered(wanted, number)]));
  }

  /** Whether it runs and takes names; it is listened for from now on. */
  async isReady(): Promise<boolean> {
    await (this.#work = this.#work.then(() => this.#connect()));
    return this.#owner !== '' && this.#refusal === '';
  }

  /** Lets go of everything. */
  close(): void {
    this.#bus?.close();
    this.#gone();
    this.#bus = undefined;
  }

  async tell(links: ReadonlyMap<string, TellingLink>): Promise<string> {
    const work = this.#work.then(() => this.#follow(links));
    this.#work = work.catch(() => {});
    try {
      await work;
    } catch (error) {
      this.#refuse(error);
    }
    return this.#refusal;
  }

  async #connect(): Promise<void> {
    if (this.#bus !== undefined) return;
    try {
      this.#bus = await this.#deps.connect({
        onSignal: (signal) => this.#onSignal(signal),
        onEnd: () => this.#onEnd(),
      });
      const ofOwner = `type='signal',sender='${theBus.destination}',member='NameOwnerChanged',arg0='${avahi}'`;
      const ofGroups = `type='signal',sender='${avahi}',interface='${avahi}.EntryGroup'`;
      for (const rule of [ofOwner, ofGroups]) await this.#ask(theBus, 'AddMatch', 's', [rule]);
      const [owner] = await this.#ask(theBus, 'GetNameOwner', 's', [avahi]);
      this.#owner = String(owner);
    } catch (error) {
      // No bus is as good as no avahi; one without avahi is listened to.
      if (error instanceof BusError) return;
      this.#bus?.close();
      this.#bus = undefined;
    }
  }

  #ask(
    of: { readonly destination: string; readonly path: string; readonly interface: string },
    member: string,
    signature?: string,
    body?: readonly Value[],
  ): Promise<readonly Value[]> {
    if (this.#bus === undefined) return Promise.reject(new Error('the bus hung up'));
    const values = signature === undefined || body === undefined ? {} : { signature, body };
    return this.#bus.call({ ...of, member, ...values });
  }

  #askGroup(path: string, member: string, signature?: string, body?: readonly Value[]) {
    const group = { destination: avahi, path, interface: `${avahi}.EntryGroup` };
    return this.#ask(group, member, signature, body);
  }

  async #follow(links: ReadonlyMap<string, TellingLink>): Promise<void> {
    const names = namesOn(links);
    for (const [wanted, { path }] of this.#groups) {
      if (names.has(wanted)) continue;
      this.#groups.delete(wanted);
      if (path !== undefined) await this.#askGroup(path, 'Free');
    }
    const { interfaceIndex = readIndex } = this.#deps;
    const found = [...links.values()].map(async ({ name, address, names: there }) => {
      const index = await interfaceIndex(name);
      return index === undefined ? [] : [{ there, entry: { index, address } }];
    });
    const present = (await Promise.all(found)).flat();
    for (const wanted of names) {
      const entries = present.flatMap(({ there, entry }) => (there.has(wanted) ? [entry] : []));
      const fresh = { number: 1, conflicts: 0, path: undefined, told: '', isOurs: false };
      const group = this.#groups.get(wanted);
      if (group === undefined) this.#groups.set(wanted, { wanted, entries, ...fresh });
      else group.entries = entries;
    }
    for (const group of this.#groups.values()) await this.#publish(group);
  }

  /** Until the name is one that nobody on this machine has; whether another device has it comes as a signal. */
  async #publish(group: Group): Promise<void> {
    const told = (): string => JSON.stringify([group.number, group.entries]);
    while (group.told !== told()) {
      const telling = told();
      group.isOurs = false;
      if (group.path === undefined) {
        const server = { destination: avahi, path: '/', interface: `${avahi}.Server` };
        const [path] = await this.#ask(server, 'EntryGroupNew');
        group.path = String(path);
      } else await this.#askGroup(group.path, 'Reset');
      try {
        for (const { index, address } of group.entries) {
          const name = numbered(group.wanted, group.number);
          const entry = [index, ipv4, noReverse, name, address];
          await this.#askGroup(group.path, 'AddAddress', 'iiuss', entry);
        }
        // Told before it is asked for: avahi's word may come with the answer.
        group.told = telling;
        if (group.entries.length > 0) await this.#askGroup(group.path, 'Commit');
      } catch (error) {
        const isTaken = error instanceof BusError && error.errorName === taken;
        if (!isTaken || group.conflicts >= conflictsMax) throw error;
        group.conflicts++;
        group.number++;
      }
    }
  }

  #onSignal({ sender, path, member, body }: BusMessage): void {
    const isOwner = sender === theBus.destination && member === 'NameOwnerChanged';
    if (isOwner && body[0] === avahi) return this.#onOwner(String(body[2]));
    if (sender !== this.#owner || member !== 'StateChanged') return;
    const group = [...this.#groups.values()].find((one) => one.path === path);
    if (group === undefined) return;
    const [state, words] = body;
    const isOurs = state === states.established;
    if (isOurs) group.conflicts = 0;
    if (state === states.collision) this.#takeNext(group);
    if (state === states.failure) this.#refuse(new Error(String(words)));
    if (group.isOurs === isOurs) return;
    group.isOurs = isOurs;
    this.#deps.onChange();
  }

  #takeNext(group: Group): void {
    const next = (): void => {
      if (this.#groups.get(group.wanted) !== group) return;
      group.number++;
      const work = this.#work.then(() => this.#publish(group));
      this.#work = work.catch((error: unknown) => this.#refuse(error));
    };
    if (++group.conflicts <= conflictsMax) next();
    else this.#deps.clock.timer(slowMs, next);
  }

  /** avahi runs, and won't do it (`disable-publishing`): until it starts anew. */
  #refuse(error: unknown): void {
    // It went meanwhile; that is told by itself.
    if (this.#owner === '') return;
    this.#refusal = `avahi tells no names: ${messageOf(error)}`;
    this.#deps.logger.warn('avahi tells no names of apps', { error: messageOf(error) });
    this.#deps.onPresence();
  }

  #onOwner(owner: string): void {
    this.#gone();
    this.#owner = owner;
    this.#deps.onPresence();
  }

  #onEnd(): void {
    this.#bus = undefined;
    this.#gone();
    this.#deps.onPresence();
  }

  /** What it knew of us it has forgotten. */
  #gone(): void {
    this.#owner = '';
    this.#refusal = '';
    this.#groups.clear();
  }
}

/** Undefined: it went a moment ago. */
async function readIndex(name: string): Promise<number | undefined> {
  const file = `/sys/class/net/${name}/ifindex`;
  return readFile(file, 'utf8').then(Number, () => undefined);
}
