// Who may use the agent's port: a client certificate of the cluster's CA or a bearer token says who
// somebody is, the API server says whether they may. Nobody is anonymous. While the API server can't
// be asked, only what it said lately holds: what the agent must do meanwhile goes by no request.
// Source: kubernetes pkg/kubelet/server/{auth,server}.go, cmd/kubelet/app/auth.go.
import { createHash } from 'node:crypto';
import type { SubjectAccessReviewSpec } from '#kube/api/authorization.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { apiServerHintPath, kubeletClientIdentity } from '#kube/machinery/api-servers.ts';
import { subjectAccessReviews, tokenReviews } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { messageOf } from '../../error-message.ts';
import { isForNodes } from './image-share-routes.ts';
import { isVolumePath } from './volume-share-routes.ts';
import { VerdictCache } from './verdict-cache.ts';

export interface User {
  readonly name: string;
  readonly uid: string;
  readonly groups: readonly string[];
  readonly extra: Readonly<Record<string, readonly string[]>>;
}

/** As a TLS socket gives it. */
export interface PeerCertificate {
  readonly subject?: { readonly CN?: string | string[]; readonly O?: string | string[] };
}

export interface AccessRequest {
  readonly method: string;
  readonly pathname: string;
  /** Undefined: the client showed none that the cluster's CA signed. */
  readonly certificate: PeerCertificate | undefined;
  /** The Authorization header. */
  readonly authorization: string | undefined;
}

export interface Refusal {
  readonly status: 401 | 403 | 500;
  readonly why: string;
}

export interface AccessDeps {
  readonly client: Pick<RestClient, 'create'>;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly logger: Pick<Logger, 'warn'>;
  readonly nodeName: string;
}

/** As kubelet's defaults. */
const tokenTtlMs = 120_000;
const allowedTtlMs = 300_000;
const deniedTtlMs = 30_000;
const entriesMax = 1_024;
/** No token is larger; what is, is no token. */
const tokenMax = 16_384;
/** The API server doesn't answer: somebody waits. */
const askTimeoutMs = 10_000;

export class Access {
  readonly #deps: AccessDeps;
  readonly #tokens: VerdictCache<User | undefined>;
  readonly #verdicts: VerdictCache<boolean>;

  constructor(deps: AccessDeps) {
    this.#deps = deps;
    const { clock } = deps;
    this.#tokens = new VerdictCache({ clock, entriesMax, ttlMs: () => tokenTtlMs });
    const ttlMs = (isAllowed: boolean) => (isAllowed ? allowedTtlMs : deniedTtlMs);
    this.#verdicts = new VerdictCache({ clock, entriesMax, ttlMs });
  }

  /** Undefined: they may. */
  async refusal(request: AccessRequest): Promise<Refusal | undefined> {
    let user: User | undefined;
    try {
      user = await this.#authenticate(request);
    } catch (error) {
      // As kubelet: whose token can't be checked is nobody.
      this.#deps.logger.warn('A token could not be reviewed', { error: messageOf(error) });
    }
    if (user === undefined) return { status: 401, why: 'Unauthorized' };
    const { name } = user;
    if (isOfNodes(request)) return undefined;
    // Where API servers are is said while none can be asked who may.
    if (request.pathname === apiServerHintPath)
      return isApiServer(request) ? undefined : { status: 403, why: `Forbidden (user=${name})` };
    const verb = verbOf(request.method);
    const subresources = subresourcesOf(request.pathname);
    const what = `(user=${name}, verb=${verb}, resource=nodes, subresource(s)=[${subresources.join(' ')}])`;
    try {
      for (const subresource of subresources)
        if (await this.#mayUse(user, verb, subresource)) return undefined;
    } catch (error) {
      this.#deps.logger.warn('Access could not be reviewed', {
        user: name,
        error: messageOf(error),
      });
      return { status: 500, why: `Authorization error ${what}` };
    }
    return { status: 403, why: `Forbidden ${what}` };
  }

  async #authenticate(request: AccessRequest): Promise<User | undefined> {
    const { certificate, authorization = '' } = request;
    if (certificate !== undefined) return userOf(certificate);
    const [, token = ''] = /^bearer +(\S+)$/i.exec(authorization) ?? [];
    if (token === '' || token.length > tokenMax) return undefined;
    // The tokens themselves are not kept.
    const key = createHash('sha256').update(token).digest('base64');
    return this.#tokens.get(key, () => this.#reviewToken(token));
  }

  async #reviewToken(token: string): Promise<User | undefined> {
    const { status } = await this.#deps.client.create(
      tokenReviews,
      { ...nameless('authentication.k8s.io/v1', 'TokenReview'), spec: { token } },
      { signal: AbortSignal.timeout(askTimeoutMs) },
    );
    if (status?.authenticated !== true) return undefined;
    const { username = '', uid = '', groups = [], extra = {} } = status.user ?? {};
    return { name: username, uid, groups, extra };
  }

  #mayUse(user: User, verb: string, subresource: string): Promise<boolean> {
    const { nodeName: name } = this.#deps;
    const spec: SubjectAccessReviewSpec = {
      user: user.name,
      ...(user.uid === '' ? {} : { uid: user.uid }),
      groups: [...user.groups],
      extra: Object.fromEntries(
        Object.entries(user.extra).map(([key, values]) => [key, [...values]]),
      ),
      resourceAttributes: { verb, version: 'v1', resource: 'nodes', subresource, name },
    };
    return this.#verdicts.get(JSON.stringify(spec), () => this.#review(spec));
  }

  async #review(spec: SubjectAccessReviewSpec): Promise<boolean> {
    const { status } = await this.#deps.client.create(
      subjectAccessReviews,
      { ...nameless('authorization.k8s.io/v1', 'SubjectAccessReview'), spec },
      { signal: AbortSignal.timeout(askTimeoutMs) },
    );
    return status?.allowed === true;
  }
}

function nameless<V extends string, K extends string>(apiVersion: V, kind: K) {
  return { apiVersion, kind, metadata: { name: '' } };
}

/** Undefined: it names nobody. */
export function userOf({ subject = {} }: PeerCertificate): User | undefined {
  const [name = ''] = [subject.CN ?? ''].flat();
  if (name === '') return undefined;
  const organizations = [subject.O ?? []].flat();
  const groups = [...new Set([...organizations, 'system:authenticated'])];
  return { name, uid: '', groups, extra: {} };
}

/** Machines hand images to each other, also while the control plane is away; and volumes, to whom they are for. */
function isOfNodes({ method, pathname, certificate }: AccessRequest): boolean {
  const isTheirs = (method === 'GET' && isForNodes(pathname)) || isVolumePath(method, pathname);
  return isTheirs && nodeOf(certificate) !== undefined;
}

/** Whoever else may everything is none. */
function isApiServer({ certificate }: AccessRequest): boolean {
  const user = certificate && userOf(certificate);
  const { name, group } = kubeletClientIdentity;
  return user?.name === name && user.groups.includes(group);
}

const nodePrefix = 'system:node:';

/** The machine of the cluster whose certificate it is. */
export function nodeOf(certificate: PeerCertificate | undefined): string | undefined {
  const user = certificate && userOf(certificate);
  const isNode = user?.name.startsWith(nodePrefix) && user.groups.includes('system:nodes');
  return isNode ? user?.name.slice(nodePrefix.length) : undefined;
}

const verbs: Readonly<Record<string, string>> = {
  POST: 'create',
  GET: 'get',
  // Differs: the kubelet has no verb for it, and so nobody but a `*` may.
  HEAD: 'get',
  PUT: 'update',
  PATCH: 'patch',
  DELETE: 'delete',
};

export function verbOf(method: string): string {
  return (Object.hasOwn(verbs, method) ? verbs[method] : undefined) ?? '';
}

/** By the first part of the path. What has none of its own is `proxy`'s. */
const subresources: Readonly<Record<string, readonly string[]>> = {
  stats: ['stats'],
  metrics: ['metrics'],
  logs: ['log'],
  pods: ['pods', 'proxy'],
  runningpods: ['pods', 'proxy'],
  healthz: ['healthz', 'proxy'],
  configz: ['configz', 'proxy'],
};

/** Of `nodes`: any of them will do. */
export function subresourcesOf(pathname: string): readonly string[] {
  const first = pathname.split('/')[1] ?? '';
  return (Object.hasOwn(subresources, first) ? subresources[first] : undefined) ?? ['proxy'];
}
