// Two of one cluster: the computer that was thought lost comes back. The one that adopted the backup knows where
// the old ones served, and tells them until they have heard it; whoever is told by an administrator of its own
// authority that another goes on from its state stops for good, with a sentence. What it holds stays.
// Nothing is said to anybody whose certificate is not of the authority.
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { delay, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { readFileIfExists, writeFileAtomic } from '#platform/atomic-file.ts';

/** In a data directory that adopted a backup: whom to tell. */
export const adoptedName = 'adopted.json';
const supersededName = 'superseded.json';

/** What the one that goes on says of itself. */
export interface Succession {
  /** Its id, then those it comes from. */
  readonly lineage: readonly string[];
  readonly nodeName: string;
  readonly since: string;
}

/** Its message is a sentence for a person: this computer must not go on. */
export class SupersededError extends Error {
  override readonly name = 'SupersededError';
}

/** Undefined: what is told does not end the cluster of `own`, the newest id first. */
export function supersedes({ lineage }: Succession, own: readonly string[]): boolean {
  const [self] = own;
  return self !== undefined && lineage[0] !== self && lineage.slice(1).includes(self);
}

/** Undefined: it is not one. */
export function parseSuccession(text: string): Succession | undefined {
  try {
    const { lineage, nodeName, since } = JSON.parse(text) as Partial<Succession>;
    const isSound =
      Array.isArray(lineage) &&
      lineage.length > 1 &&
      lineage.every((id) => typeof id === 'string') &&
      typeof nodeName === 'string' &&
      typeof since === 'string';
    return isSound ? { lineage, nodeName, since } : undefined;
  } catch {
    return undefined;
  }
}

/** From now on no start goes on; durable when it resolves. */
export async function noteSuperseded(
  dataDirectory: string,
  by: Succession,
): Promise<SupersededError> {
  await writeFileAtomic(path.join(dataDirectory, supersededName), `${JSON.stringify(by)}\n`);
  return errorOf(dataDirectory, by);
}

/** At a start. Throws SupersededError. */
export function assertNotSuperseded(dataDirectory: string): void {
  const file = path.join(dataDirectory, supersededName);
  if (!existsSync(file)) return;
  const by = parseSuccession(readFileSync(file, 'utf8'));
  throw errorOf(
    dataDirectory,
    by ?? { lineage: [], nodeName: 'another computer', since: 'some time' },
  );
}

function errorOf(dataDirectory: string, { nodeName, since }: Succession): SupersededError {
  return new SupersededError(
    `The cluster of ${dataDirectory} goes on on ${nodeName}, which adopted its backup on ${since}: this computer has stopped, and changes nothing any more. To make it a machine of that cluster, start it with an unused --data directory. To go on from here all the same, stop the other one and delete ${path.join(dataDirectory, supersededName)}.`,
  );
}

export interface Adopted {
  readonly since: string;
  /** `host:port` of each that served the cluster before, and has not heard it yet. */
  readonly addresses: readonly string[];
}

export interface TellingDeps {
  readonly dataDirectory: string;
  /** True: whoever serves there has heard it, and is none of before any more. Rejects: nobody answers as one. */
  readonly tell: (address: string, since: string) => Promise<boolean>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A computer that was switched on is found within so long. */
const everyMs = 60_000;

/** Until all have heard it, or `signal` aborts. Does nothing where no backup was adopted. */
export async function tellPredecessors(deps: TellingDeps, signal: AbortSignal): Promise<void> {
  const { dataDirectory, tell, clock, logger } = deps;
  const file = path.join(dataDirectory, adoptedName);
  const text = await readFileIfExists(file);
  if (text === undefined) return;
  let adopted = JSON.parse(text) as Adopted;
  while (adopted.addresses.length > 0 && !signal.aborted) {
    for (const address of adopted.addresses) {
      const hasHeard = await tell(address, adopted.since).catch(() => false);
      if (!hasHeard || signal.aborted) continue;
      logger.warn('A computer of before has heard that the cluster goes on here', { address });
      adopted = { ...adopted, addresses: adopted.addresses.filter((one) => one !== address) };
      await writeFileAtomic(file, `${JSON.stringify(adopted)}\n`);
    }
    await delay(clock, everyMs, signal);
  }
}
