// Tokens of the service accounts that this node's pods run as, each asked for in the name of one pod
// and for one audience, and again when four fifths of its time, or a day, are over.
// Source: kubernetes pkg/kubelet/token/token_manager.go.
import type { TokenRequest } from '#kube/api/authentication.ts';
import type { Pod, ServiceAccountTokenProjection } from '#kube/api/core.ts';
import type { KubeObject } from '#kube/api/object.ts';
import type { Clock } from '#kube/base/clock.ts';
import type { ClientDeps } from '#kube/client/reflector.ts';
import { serviceAccounts } from '#kube/client/resources.ts';

export interface TokenSourceDeps {
  readonly client: ClientDeps;
  /** A token of the pod has to be asked for again. */
  readonly onDue: (podUid: string) => void;
}

interface Kept {
  readonly token: string;
  readonly refreshMs: number;
  readonly expiresMs: number;
  readonly timer: ReturnType<Clock['timer']>;
}

const maxAgeMs = 24 * 3_600_000;
const defaultSeconds = 3600;

export class TokenSource {
  readonly #deps: TokenSourceDeps;
  /** By pod uid, then by audience and lifetime. */
  readonly #kept = new Map<string, Map<string, Kept>>();

  constructor(deps: TokenSourceDeps) {
    this.#deps = deps;
  }

  /** The token of each projection in the pod's volumes. Throws what the API server said. */
  async load(pod: Pod): Promise<ReadonlyMap<string, string>> {
    const tokens = new Map<string, string>();
    for (const { projected } of pod.spec.volumes ?? [])
      for (const { serviceAccountToken } of projected?.sources ?? [])
        if (serviceAccountToken !== undefined) {
          const key = tokenKey(serviceAccountToken);
          tokens.set(key, await this.#token(pod, serviceAccountToken, key));
        }
    return tokens;
  }

  release(podUid: string): void {
    for (const { timer } of this.#kept.get(podUid)?.values() ?? []) timer.cancel();
    this.#kept.delete(podUid);
  }

  stop(): void {
    for (const podUid of this.#kept.keys()) this.release(podUid);
  }

  async #token(pod: Pod, source: ServiceAccountTokenProjection, key: string): Promise<string> {
    const { clock, logger } = this.#deps.client;
    const { uid = '', name } = pod.metadata;
    const kept = this.#kept.get(uid)?.get(key);
    if (kept !== undefined && clock.now() < kept.refreshMs) return kept.token;
    try {
      return await this.#request(pod, source, key);
    } catch (error) {
      // The old one does for as long as it is good.
      if (kept === undefined || clock.now() >= kept.expiresMs) throw error;
      logger.warn('A token could not be renewed yet', { pod: name, error });
      return kept.token;
    }
  }

  async #request(pod: Pod, source: ServiceAccountTokenProjection, key: string): Promise<string> {
    const { client, clock } = this.#deps.client;
    const { uid = '', name, namespace = '' } = pod.metadata;
    const { audience = '', expirationSeconds = defaultSeconds } = source;
    const account = { namespace, name: pod.spec.serviceAccountName ?? 'default' };
    const asked: TokenRequest = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      metadata: account,
      spec: {
        audiences: audience === '' ? [] : [audience],
        expirationSeconds,
        boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name, uid },
      },
    };
    const body = asked as unknown as KubeObject;
    const made = await client.createSubresource(serviceAccounts, account, 'token', body);
    const { status } = made as TokenRequest;
    const token = status?.token ?? '';
    const now = clock.now();
    const expiresMs = Date.parse(status?.expirationTimestamp ?? '');
    const refreshMs = Math.min(now + maxAgeMs, now + (expiresMs - now) * 0.8);
    const ofPod = this.#kept.get(uid) ?? new Map<string, Kept>();
    this.#kept.set(uid, ofPod);
    ofPod.get(key)?.timer.cancel();
    const timer = clock.timer(refreshMs - now, () => this.#deps.onDue(uid));
    ofPod.set(key, { token, refreshMs, expiresMs, timer });
    return token;
  }
}

export function tokenKey({ audience, expirationSeconds }: ServiceAccountTokenProjection): string {
  return `${audience ?? ''} ${expirationSeconds ?? defaultSeconds}`;
}
