// The tokens that machines join by: bootstrap tokens as Kubernetes knows them, each for one machine name, good once and
// for ten minutes. What makes them and what judges them agree on this. One that kubeadm made knows none of it, and is as
// good as Kubernetes has it.
import type { Secret } from '../api/core.ts';
import { rfc3339 } from '../base/clock.ts';
import type { Random } from '../base/random.ts';

/** Who may ask for a node's certificate. */
export const joiningGroup = 'system:bootstrappers:flotilla:machines';
/** Of tokens for one machine: whoever is in it is judged by `tokenRefusal`. */
export const oneMachineGroup = 'system:bootstrappers:flotilla:one-machine';
export const bootstrapTokenType = 'bootstrap.kubernetes.io/token';
export const tokenLifeMs = 10 * 60_000;

const namespace = 'kube-system';
const nodeAnnotation = 'flotilla.dev/joins-as';
/** The uid of the certificate request that it was spent on. */
const usedAnnotation = 'flotilla.dev/used-by';
const alphabet = 'abcdefghijklmnopqrstuvwxyz0123456789';

export interface MachineToken {
  /** `id.secret`. */
  readonly token: string;
  readonly id: string;
  readonly secret: Secret;
}

/** `random`: of a cryptographic source. */
export function machineToken(nodeName: string, nowMs: number, random: Random): MachineToken {
  const [id, secret] = [text(6, random), text(16, random)];
  const metadata = { ...tokenRef(id), annotations: { [nodeAnnotation]: nodeName } };
  const stringData = {
    'token-id': id,
    'token-secret': secret,
    expiration: rfc3339(nowMs + tokenLifeMs),
    'usage-bootstrap-authentication': 'true',
    'auth-extra-groups': `${joiningGroup},${oneMachineGroup}`,
  };
  const made = { apiVersion: 'v1', kind: 'Secret', metadata, type: bootstrapTokenType, stringData };
  return { token: `${id}.${secret}`, id, secret: made as Secret };
}

function text(length: number, random: Random): string {
  return Array.from({ length }, () => alphabet[Math.floor(random.next() * alphabet.length)]).join(
    '',
  );
}

export function tokenRef(id: string): { readonly namespace: string; readonly name: string } {
  return { namespace, name: `bootstrap-token-${id}` };
}

/** Of whoever came with a bootstrap token; undefined: another user. */
export function tokenIdOf(userName: string): string | undefined {
  return /^system:bootstrap:([a-z0-9]{6})$/.exec(userName)?.[1];
}

/** In ms; undefined: never. */
export function tokenExpiryMs({ data = {} }: Secret): number | undefined {
  const { expiration } = data;
  return expiration === undefined ? undefined : Date.parse(atob(expiration));
}

export interface TokenUse {
  readonly id: string;
  /** Of the certificate request. */
  readonly requestUid: string;
  /** That is asked for, such as `system:node:pi`. */
  readonly commonName: string;
  readonly nowMs: number;
}

/** Why this use of a token for one machine is none, in words; undefined: it is good. */
export function tokenRefusal(
  secret: Secret | undefined,
  { id, requestUid, commonName, nowMs }: TokenUse,
): string | undefined {
  const again = 'make a new one to add the machine';
  if (secret === undefined)
    return `the token ${id} was revoked, or has ended and was cleared away: ${again}`;
  const { [nodeAnnotation]: nodeName, [usedAnnotation]: usedBy } =
    secret.metadata.annotations ?? {};
  if (`system:node:${nodeName ?? ''}` !== commonName)
    return `the token ${id} is for the machine ${nodeName ?? ''}, not for ${commonName}`;
  if (usedBy !== undefined && usedBy !== requestUid)
    return `the token ${id} was used already, and is good once: ${again}, and look who used it if that was not you`;
  const expiryMs = tokenExpiryMs(secret);
  // Its use was written down in time: what is left is only to sign.
  const isOver = expiryMs !== undefined && !(nowMs < expiryMs) && usedBy === undefined;
  return isOver ? `the token ${id} has ended: ${again}` : undefined;
}

/** Why it is good for nothing any more, in words; undefined: it is good. Of other bootstrap tokens nothing is known. */
export function tokenProblem(secret: Secret | undefined, id: string): string | undefined {
  if (secret === undefined) return `the token ${id} was revoked, or has ended`;
  return secret.metadata.annotations?.[usedAnnotation] === undefined
    ? undefined
    : `the token ${id} was used already, and is good once`;
}

/** The same, spent; undefined: it is already. */
export function spentToken(secret: Secret, requestUid: string): Secret | undefined {
  const { metadata } = secret;
  if (metadata.annotations?.[usedAnnotation] !== undefined) return undefined;
  const annotations = { ...metadata.annotations, [usedAnnotation]: requestUid };
  return { ...secret, metadata: { ...metadata, annotations } };
}
