// Webhooks as their configurations name them: by URL, or by a service of the cluster. Whoever calls one
// gets its answer as JSON, or an error that says in a client's words why there is none.
// Source: kubernetes apiserver pkg/util/webhook/client.go.

export interface WebhookAddress {
  readonly url?: string;
  readonly service?: {
    readonly namespace: string;
    readonly name: string;
    readonly path?: string;
    readonly port?: number;
  };
  /** PEM in base64: who signed its certificate. The system's authorities if left out. */
  readonly caBundle?: string;
}

export interface WebhookCall {
  readonly address: WebhookAddress;
  readonly review: object;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

export interface WebhookCaller {
  /** Its answer, parsed. Throws WebhookError. */
  call(call: WebhookCall): Promise<unknown>;
}

/** Could not be called, or gave no answer that could be understood. */
export class WebhookError extends Error {
  override readonly name = 'WebhookError';
}

/** A service is known to its certificate by its name in the cluster. */
export function webhookUrl({ url, service }: WebhookAddress): URL {
  if (service === undefined) return new URL(url ?? '');
  const { namespace, name, path = '/', port = 443 } = service;
  const target = new URL(`https://${name}.${namespace}.svc:${port}`);
  target.pathname = path;
  return target;
}
