// What a probe noticed of a device, and for how long that holds. Pure.
import type { MachineSource } from '#kube/api/fleet.ts';
import type { Announcement } from '#kube/machinery/announcement.ts';

export interface Sighting {
  readonly by: MachineSource;
  /** IPv4. */
  readonly address: string;
  /** Of this machine. */
  readonly interface: string;
  /** `b8:27:eb:12:34:56`. */
  readonly hardwareAddress?: string;
  /** `raspberrypi`: what it calls itself by multicast DNS, without `.local`. */
  readonly hostName?: string;
  /** `_ssh._tcp`: what it offers by multicast DNS. */
  readonly service?: string;
  /** What it says to belong to. */
  readonly member?: Announcement;
}

/** A hostile device may make up names without end. */
const mostKept = 2000;
/** Of one address: a machine has a few names and offers a dozen services. */
const mostOfOne = 64;

/** Sightings by what was seen, each until it expires. */
export class SightingBook {
  readonly #untilMs = new Map<string, { sighting: Sighting; untilMs: number }>();
  /** By address, in the order in which they were noticed. */
  readonly #keysOf = new Map<string, Set<string>>();

  /**
   * Returns whether it is news. `forMs` 0: it is gone. An address of which too much is told already is told no more of; and
   * where all together is too much, whoever told the most loses of it, so that a machine that says little is heard in any flood.
   */
  note(sighting: Sighting, nowMs: number, forMs: number): boolean {
    const key = JSON.stringify(sighting);
    if (forMs <= 0) return this.#forget(key);
    const isKnown = this.#untilMs.has(key);
    if (!isKnown && !this.#makeRoom(sighting.address)) return false;
    this.#untilMs.set(key, { sighting, untilMs: nowMs + forMs });
    const own = this.#keysOf.get(sighting.address) ?? new Set();
    this.#keysOf.set(sighting.address, own.add(key));
    return !isKnown;
  }

  #makeRoom(address: string): boolean {
    const own = this.#keysOf.get(address)?.size ?? 0;
    if (own >= mostOfOne) return false;
    if (this.#untilMs.size < mostKept) return true;
    let most: Set<string> = new Set();
    for (const keys of this.#keysOf.values()) if (keys.size > most.size) most = keys;
    if (own >= most.size) return false;
    const [oldest = ''] = most;
    return this.#forget(oldest);
  }

  #forget(key: string): boolean {
    const kept = this.#untilMs.get(key);
    if (kept === undefined) return false;
    this.#untilMs.delete(key);
    const { address } = kept.sighting;
    const own = this.#keysOf.get(address);
    own?.delete(key);
    if (own?.size === 0) this.#keysOf.delete(address);
    return true;
  }

  /** Puts `sightings` in the place of all that `by` said of the interface. */
  replace(
    by: MachineSource,
    networkInterface: string,
    sightings: readonly Sighting[],
    [nowMs, forMs]: readonly [nowMs: number, forMs: number],
  ): void {
    for (const [key, { sighting }] of this.#untilMs)
      if (sighting.by === by && sighting.interface === networkInterface) this.#forget(key);
    for (const sighting of sightings) this.note(sighting, nowMs, forMs);
  }

  /** What holds now, in the order in which it was noticed. */
  current(nowMs: number): readonly Sighting[] {
    for (const [key, { untilMs }] of this.#untilMs) if (untilMs <= nowMs) this.#forget(key);
    return [...this.#untilMs.values()].map(({ sighting }) => sighting);
  }
}
