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

/** Sightings by what was seen, each until it expires. */
export class SightingBook {
  readonly #untilMs = new Map<string, { sighting: Sighting; untilMs: number }>();

  /** Returns whether it is news. `forMs` 0: it is gone. What is too much is left out. */
  note(sighting: Sighting, nowMs: number, forMs: number): boolean {
    const key = JSON.stringify(sighting);
    const known = this.#untilMs.has(key);
    if (forMs <= 0) return this.#untilMs.delete(key);
    if (!known && this.#untilMs.size >= mostKept) return false;
    this.#untilMs.set(key, { sighting, untilMs: nowMs + forMs });
    return !known;
  }

  /** Puts `sightings` in the place of all that `by` said of the interface. */
  replace(
    by: MachineSource,
    networkInterface: string,
    sightings: readonly Sighting[],
    [nowMs, forMs]: readonly [nowMs: number, forMs: number],
  ): void {
    for (const [key, { sighting }] of this.#untilMs)
      if (sighting.by === by && sighting.interface === networkInterface) this.#untilMs.delete(key);
    for (const sighting of sightings) this.note(sighting, nowMs, forMs);
  }

  /** What holds now, in the order in which it was noticed. */
  current(nowMs: number): readonly Sighting[] {
    for (const [key, { untilMs }] of this.#untilMs) if (untilMs <= nowMs) this.#untilMs.delete(key);
    return [...this.#untilMs.values()].map(({ sighting }) => sighting);
  }
}
