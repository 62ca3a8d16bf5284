// The one-time tokens that open a session. Those of the printed address live in this process; those for the home's
// other devices lie in the store, so that whichever member of the control plane answers can take them.
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Secret } from '#kube/api/core.ts';
import { rfc3339, type Clock } from '#kube/base/clock.ts';
import type { Random } from '#kube/base/random.ts';
import { secrets } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { hasReason } from '#kube/machinery/status.ts';

export interface Tokens {
  /** Whether it opens a session: it is spent by this. */
  redeem(token: string): Promise<boolean>;
}

/** Unused ones kept at most; the oldest go first. */
const maxTokens = 32;
const lifeMs = 10 * 60_000;
const namespace = 'kube-system';
const type = 'flotilla.dev/page-token';

/** Of the address that is printed at each start. */
export class PrintedTokens implements Tokens {
  readonly #random: Random;
  readonly #tokens = new Set<string>();

  constructor(random: Random) {
    this.#random = random;
  }

  mint(): string {
    const token = newToken(this.#random);
    this.#tokens.add(token);
    const [oldest] = this.#tokens;
    if (this.#tokens.size > maxTokens && oldest !== undefined) this.#tokens.delete(oldest);
    return token;
  }

  async redeem(token: string): Promise<boolean> {
    return this.#tokens.delete(token);
  }
}

export interface StoredTokensDeps {
  readonly client: Pick<RestClient, 'create' | 'get' | 'list' | 'delete'>;
  readonly clock: Clock;
  readonly random: Random;
}

/** For another device: `NAME.SECRET`, of which the store has the name and a hash. */
export class StoredTokens implements Tokens {
  readonly #deps: StoredTokensDeps;

  constructor(deps: StoredTokensDeps) {
    this.#deps = deps;
  }

  /** Good for ten minutes. Those that have ended are cleared away by the way. */
  async mint(): Promise<{ readonly token: string; readonly expires: string }> {
    const { client, clock, random } = this.#deps;
    await this.#clear();
    const [id, secret] = [Buffer.from(random.bytes(8)).toString('hex'), newToken(random)];
    const expires = rfc3339(clock.now() + lifeMs);
    const made: Secret = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { namespace, name: nameOf(id) },
      type,
      data: { hash: hashOf(secret).toString('base64'), expires: btoa(expires) },
    };
    await client.create(secrets, made);
    return { token: `${id}.${secret}`, expires };
  }

  /** By two at the same time, one gets it: the store removes it once. */
  async redeem(token: string): Promise<boolean> {
    const { client, clock } = this.#deps;
    const [, id, secret = ''] = /^([0-9a-f]{16})\.([\w-]{43})$/.exec(token) ?? [];
    if (id === undefined) return false;
    const ref = { namespace, name: nameOf(id) };
    try {
      const found = await client.get(secrets, ref);
      if (found.type !== type || hasEnded(found, clock.now())) return false;
      const kept = Buffer.from(found.data?.['hash'] ?? '', 'base64');
      const given = hashOf(secret);
      if (kept.length !== given.length || !timingSafeEqual(kept, given)) return false;
      const { uid } = found.metadata;
      await client.delete(secrets, ref, uid === undefined ? {} : { preconditions: { uid } });
      return true;
    } catch (error) {
      if (hasReason(error, 'NotFound') || hasReason(error, 'Conflict')) return false;
      throw error;
    }
  }

  async #clear(): Promise<void> {
    const { client, clock } = this.#deps;
    const { items } = await client.list(secrets, { namespace, fieldSelector: `type=${type}` });
    for (const one of items.filter((secret) => hasEnded(secret, clock.now())))
      await client.delete(secrets, one.metadata).catch((error: unknown) => {
        if (!hasReason(error, 'NotFound')) throw error;
      });
  }
}

function newToken(random: Random): string {
  return Buffer.from(random.bytes(32)).toString('base64url');
}

function nameOf(id: string): string {
  return `page-token-${id}`;
}

function hashOf(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}

/** What says nothing that can be read has ended, too. */
function hasEnded({ data }: Secret, nowMs: number): boolean {
  return !(Date.parse(atob(data?.['expires'] ?? '')) > nowMs);
}
