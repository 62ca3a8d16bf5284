// Makes and revokes the tokens that machines join by. Whether one is good when it is used is decided where the
// certificate is approved (controllers/access/certificate-approval.ts).
import { rfc3339, type Clock } from '#kube/base/clock.ts';
import type { Random } from '#kube/base/random.ts';
import { configMaps, secrets } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { removedMachinesRef, withoutRemoved } from '#kube/machinery/removed-machines.ts';
import { hasReason } from '#kube/machinery/status.ts';
import { machineToken, tokenLifeMs, tokenRef } from '#kube/machinery/machine-tokens.ts';

export interface TokenDeps {
  readonly client: Pick<RestClient, 'create' | 'delete' | 'get' | 'update'>;
  readonly clock: Clock;
  readonly random: Random;
}

export interface IssuedToken {
  /** `id.secret`: never logged. */
  readonly token: string;
  readonly id: string;
  readonly expires: string;
}

/** Good once, for ten minutes, for the machine that will be this node. */
export async function issueToken(
  { client, clock, random }: TokenDeps,
  nodeName: string,
): Promise<IssuedToken> {
  const nowMs = clock.now();
  const { token, id, secret } = machineToken(nodeName, nowMs, random);
  // Whoever was taken out under this name may be a node again: a person wants it.
  const removed = await client.get(configMaps, removedMachinesRef).catch(ignoreMissing);
  const next = withoutRemoved(removed, nodeName);
  if (next !== undefined) await client.update(configMaps, next);
  await client.create(secrets, secret);
  return { token, id, expires: rfc3339(nowMs + tokenLifeMs) };
}

/** From now on it is refused. Throws NotFound when there is none. */
export async function revokeToken(
  { client }: Pick<TokenDeps, 'client'>,
  id: string,
): Promise<void> {
  await client.delete(secrets, tokenRef(id));
}

function ignoreMissing(error: unknown): undefined {
  if (!hasReason(error, 'NotFound')) throw error;
}
