// Tokens of service accounts: issued for an audience and a time, and bound to an object (a pod, say)
// with which they end. Nothing of them is stored: a token is as good as the account and the object it
// names. Tokens in Secrets have no end, and are good while the Secret holds them.
// Source: kubernetes pkg/serviceaccount/{claims,legacy,jwt}.go.
import type { Secret } from '#kube/api/core.ts';
import type { GroupVersionResource, KubeObject } from '#kube/api/object.ts';
import type { Clock } from '#kube/base/clock.ts';
import { uuid, type Random } from '#kube/base/random.ts';
import { serviceAccountGroups, TokenError, type VerifiedToken } from '../authentication.ts';
import { parseToken, type Claims, type TokenKeys } from './jwt.ts';

export interface TokenObjects {
  get(
    resource: GroupVersionResource,
    namespace: string,
    name: string,
  ): Promise<KubeObject | undefined>;
  cached(resource: GroupVersionResource, namespace: string, name: string): KubeObject | undefined;
}

export interface ServiceAccountTokensDeps {
  readonly keys: TokenKeys;
  /** The URL that tokens say they are of. */
  readonly issuer: string;
  readonly objects: TokenObjects;
  readonly clock: Clock;
  readonly random: Random;
}

export interface ObjectRef {
  readonly name: string;
  readonly uid: string;
}

export interface TokenSubject {
  readonly namespace: string;
  readonly serviceaccount: ObjectRef;
  readonly pod?: ObjectRef;
  readonly secret?: ObjectRef;
  readonly node?: ObjectRef;
}

const legacyIssuer = 'kubernetes/serviceaccount';
const legacy = {
  namespace: `${legacyIssuer.replace('/', '.io/')}/namespace`,
  secretName: `${legacyIssuer.replace('/', '.io/')}/secret.name`,
  accountName: `${legacyIssuer.replace('/', '.io/')}/service-account.name`,
  accountUid: `${legacyIssuer.replace('/', '.io/')}/service-account.uid`,
};

const core = (resource: string): GroupVersionResource => ({ group: '', version: 'v1', resource });
const accounts = core('serviceaccounts');
/** Verified signatures that are remembered: a pod sends the same token again and again. */
const rememberedTokens = 2048;

export class ServiceAccountTokens {
  readonly #deps: ServiceAccountTokensDeps;
  readonly #verified = new Map<string, Claims>();

  constructor(deps: ServiceAccountTokensDeps) {
    this.#deps = deps;
  }

  get issuer(): string {
    return this.#deps.issuer;
  }

  /** Whom a token is for that says nothing else: this API server. */
  get apiAudiences(): readonly string[] {
    return [this.#deps.issuer];
  }

  issue(
    subject: TokenSubject,
    audiences: readonly string[],
    lifetimeSeconds: number,
  ): { readonly token: string; readonly expiresMs: number } {
    const { keys, issuer, clock, random } = this.#deps;
    const now = Math.floor(clock.now() / 1000);
    const exp = now + lifetimeSeconds;
    const { namespace, serviceaccount } = subject;
    const token = keys.sign({
      aud: audiences,
      exp,
      iat: now,
      iss: issuer,
      jti: uuid(random),
      'kubernetes.io': subject,
      nbf: now,
      sub: userName(namespace, serviceaccount.name),
    });
    return { token, expiresMs: exp * 1000 };
  }

  /** Without an end: for a Secret of type kubernetes.io/service-account-token. */
  issueForSecret(namespace: string, account: ObjectRef, secretName: string): string {
    return this.#deps.keys.sign({
      iss: legacyIssuer,
      [legacy.namespace]: namespace,
      [legacy.secretName]: secretName,
      [legacy.accountName]: account.name,
      [legacy.accountUid]: account.uid,
      sub: userName(namespace, account.name),
    });
  }

  /** Undefined: not a token of a service account. Throws TokenError for one that is no good. */
  async verify(token: string, audiences: readonly string[]): Promise<VerifiedToken | undefined> {
    const claims = this.#claims(token);
    if (claims === undefined) return undefined;
    if (claims['iss'] === legacyIssuer) return this.#verifyLegacy(token, claims, audiences);
    const nowSeconds = this.#deps.clock.now() / 1000;
    if (nowSeconds > Number(claims['exp']))
      throw new TokenError('service account token has expired');
    if (nowSeconds < Number(claims['nbf']) - 60)
      throw new TokenError('service account token is not valid yet');
    const named = Array.isArray(claims['aud']) ? claims['aud'].map(String) : [];
    const shared = audiences.filter((audience) => named.includes(audience));
    if (shared.length === 0)
      throw new TokenError(
        `token audiences ${JSON.stringify(named)} is invalid for the target audiences ${JSON.stringify(audiences)}`,
      );
    const subject = claims['kubernetes.io'] as TokenSubject;
    await this.#mustLive(subject);
    const extra = extraOf(subject, String(claims['jti']));
    return {
      user: { ...userOf(subject.namespace, subject.serviceaccount), extra },
      audiences: shared,
    };
  }

  #claims(token: string): Claims | undefined {
    const known = this.#verified.get(token);
    if (known !== undefined) return known;
    const parsed = parseToken(token);
    const issuer = parsed?.claims['iss'];
    if (parsed === undefined || (issuer !== this.#deps.issuer && issuer !== legacyIssuer))
      return undefined;
    if (!this.#deps.keys.isSigned(parsed))
      throw new TokenError('service account token signature is invalid');
    if (this.#verified.size >= rememberedTokens) this.#verified.clear();
    this.#verified.set(token, parsed.claims);
    return parsed.claims;
  }

  async #mustLive({ namespace, serviceaccount, pod, secret, node }: TokenSubject): Promise<void> {
    await this.#mustBe(accounts, namespace, serviceaccount);
    if (pod !== undefined) await this.#mustBe(core('pods'), namespace, pod);
    if (secret !== undefined) await this.#mustBe(core('secrets'), namespace, secret);
    // The node of a pod's token is only told, the pod is what it ends with.
    if (node !== undefined && pod === undefined) await this.#mustBe(core('nodes'), '', node);
  }

  /** The very object, and not on its way out for longer than its grace period and a minute. */
  async #mustBe(
    resource: GroupVersionResource,
    namespace: string,
    ref: ObjectRef,
  ): Promise<KubeObject> {
    const { objects, clock } = this.#deps;
    let found = objects.cached(resource, namespace, ref.name);
    // The cache may not have seen it yet.
    if (found?.metadata.uid !== ref.uid) found = await objects.get(resource, namespace, ref.name);
    const what = resource.resource.slice(0, -1);
    if (found?.metadata.uid !== ref.uid)
      throw new TokenError(
        found === undefined
          ? `${what} ${namespace}/${ref.name} not found: service account token has been invalidated`
          : `${what} UID (${found.metadata.uid ?? ''}) does not match service account ${what} ref claim (${ref.uid})`,
      );
    const { deletionTimestamp } = found.metadata;
    const isGone =
      deletionTimestamp !== undefined && Date.parse(deletionTimestamp) + 60_000 < clock.now();
    if (isGone) throw new TokenError('service account token has been invalidated');
    return found;
  }

  async #verifyLegacy(
    token: string,
    claims: Claims,
    audiences: readonly string[],
  ): Promise<VerifiedToken> {
    const namespace = String(claims[legacy.namespace]);
    const name = String(claims[legacy.accountName]);
    const account = { name, uid: String(claims[legacy.accountUid]) };
    const secretName = String(claims[legacy.secretName]);
    const secret = (await this.#deps.objects.get(core('secrets'), namespace, secretName)) as
      | Secret
      | undefined;
    const kept = Buffer.from(secret?.data?.['token'] ?? '', 'base64').toString('utf8');
    if (kept !== token) throw new TokenError('service account token has been invalidated');
    await this.#mustBe(accounts, namespace, account);
    return { user: userOf(namespace, account), audiences };
  }
}

function userName(namespace: string, name: string): string {
  return `system:serviceaccount:${namespace}:${name}`;
}

function userOf(namespace: string, { name, uid }: ObjectRef) {
  const user = userName(namespace, name);
  return { name: user, uid, groups: serviceAccountGroups(user) ?? [] };
}

function extraOf({ pod, node }: TokenSubject, tokenId: string): Record<string, readonly string[]> {
  const prefix = 'authentication.kubernetes.io/';
  const extra: Record<string, readonly string[]> = {
    [`${prefix}credential-id`]: [`JTI=${tokenId}`],
  };
  for (const [kind, ref] of Object.entries({ node, pod })) {
    if (ref === undefined) continue;
    extra[`${prefix}${kind}-name`] = [ref.name];
    extra[`${prefix}${kind}-uid`] = [ref.uid];
  }
  return extra;
}
