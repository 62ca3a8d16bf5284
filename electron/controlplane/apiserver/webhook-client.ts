// Calls webhooks over TLS: those with a URL directly, those with a service through the cluster. Bounded in
// time and in what is read of an answer; connections to URLs are kept for the next call.
// Errors are in the words of Go's HTTP client, which people look up.
// Source: kubernetes apiserver pkg/util/webhook/client.go, client-go rest/request.go.
import type { IncomingMessage } from 'node:http';
import { Agent, request as httpsRequest, type RequestOptions } from 'node:https';
import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Clock } from '#kube/base/clock.ts';
import { exactJson } from '#kube/machinery/exact-json.ts';
import {
  WebhookError,
  webhookUrl,
  type WebhookAddress,
  type WebhookCall,
  type WebhookCaller,
} from '#kube/machinery/webhook.ts';
import type { ServiceName } from './service-connection.ts';

export interface WebhookClientDeps {
  readonly clock: Clock;
  readonly connect: (service: ServiceName, signal: AbortSignal) => Promise<Socket>;
}

const maxAnswerBytes = 3 * 1024 * 1024;
/** Of one webhook's, under way at once; more wait for their turn. */
const maxSockets = 32;

export class HttpsWebhookCaller implements WebhookCaller {
  readonly #deps: WebhookClientDeps;
  readonly #agent = new Agent({ keepAlive: true, maxSockets, maxFreeSockets: 4, timeout: 60_000 });

  constructor(deps: WebhookClientDeps) {
    this.#deps = deps;
  }

  async call({ address, review, timeoutMs, signal }: WebhookCall): Promise<unknown> {
    const url = webhookUrl(address);
    url.searchParams.set('timeout', `${Math.ceil(timeoutMs / 1000)}s`);
    const ended = new AbortController();
    let isLate = false;
    const timer = this.#deps.clock.timer(timeoutMs, () => {
      isLate = true;
      ended.abort();
    });
    const onAbort = (): void => ended.abort();
    signal?.addEventListener('abort', onAbort);
    if (signal?.aborted === true) ended.abort();
    try {
      const body = Buffer.from(JSON.stringify(review));
      const text = await this.#post(url, { address, body, signal: ended.signal });
      return parsed(text);
    } catch (error) {
      if (error instanceof WebhookError) throw error;
      const why = isLate
        ? 'context deadline exceeded'
        : ended.signal.aborted
          ? 'context canceled'
          : goWords(error, url);
      throw new WebhookError(`Post "${url.href}": ${why}`);
    } finally {
      timer.cancel();
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Ends what is kept open. */
  close(): void {
    this.#agent.destroy();
  }

  async #post(url: URL, call: Post): Promise<string> {
    const options = await this.#options(url, call);
    try {
      return await send(options, call);
    } catch (error) {
      // The other side closed a connection that was kept just when it was used again.
      if (!(error instanceof StaleConnectionError)) throw error;
      return await send({ ...options, agent: false }, call);
    }
  }

  async #options(url: URL, { address, body, signal }: Post): Promise<RequestOptions> {
    const ca =
      address.caBundle === undefined || address.caBundle === ''
        ? {}
        : { ca: Buffer.from(address.caBundle, 'base64') };
    const options: RequestOptions = {
      method: 'POST',
      host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
      port: url.port === '' ? 443 : Number(url.port),
      path: `${url.pathname}${url.search}`,
      headers: {
        'content-type': 'application/json',
        'content-length': body.length,
        accept: 'application/json, */*',
        'user-agent': 'kube-apiserver-admission',
      },
      signal,
      ...ca,
    };
    const { service } = address;
    if (service === undefined) return { ...options, agent: this.#agent };
    const { namespace, name, port = 443 } = service;
    const socket = await this.#deps.connect({ namespace, name, port }, signal);
    const servername = `${name}.${namespace}.svc`;
    return {
      ...options,
      // No agent: it would make a connection of its own.
      createConnection: () =>
        connectTls({ socket, servername, ALPNProtocols: ['http/1.1'], ...ca }),
    };
  }
}

interface Post {
  readonly address: WebhookAddress;
  readonly body: Buffer;
  readonly signal: AbortSignal;
}

class StaleConnectionError extends Error {
  override readonly name = 'StaleConnectionError';
}

function send(options: RequestOptions, { body }: Post): Promise<string> {
  return new Promise((resolve, reject) => {
    const outgoing = httpsRequest(options, (answer) => {
      readAll(answer).then((text) => {
        const status = answer.statusCode ?? 0;
        if (status >= 200 && status < 300) resolve(text);
        else reject(refused(status, text));
      }, reject);
    });
    outgoing.once('error', (error: NodeJS.ErrnoException) => {
      const isStale = outgoing.reusedSocket && error.code === 'ECONNRESET';
      reject(isStale ? new StaleConnectionError(error.message) : error);
    });
    outgoing.end(body);
  });
}

async function readAll(answer: IncomingMessage): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of answer as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > maxAnswerBytes)
      throw new WebhookError(`the answer is larger than ${maxAnswerBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function refused(status: number, text: string): WebhookError {
  if (status === 404) return new WebhookError('the server could not find the requested resource');
  const said = JSON.stringify(text.slice(0, 2048));
  return new WebhookError(
    status >= 500
      ? `an error on the server (${said}) has prevented the request from succeeding`
      : `the server rejected our request: status ${status} (${said})`,
  );
}

function parsed(text: string): unknown {
  try {
    return exactJson(text);
  } catch {
    throw new WebhookError(
      `couldn't get version/kind; json parse error: ${JSON.stringify(text.slice(0, 200))} is no JSON`,
    );
  }
}

const unknownAuthority =
  'tls: failed to verify certificate: x509: certificate signed by unknown authority';

function goWords(error: unknown, url: URL): string {
  const { code = '', message } = error as NodeJS.ErrnoException;
  const place = error as { readonly address?: string; readonly port?: number };
  switch (code) {
    case 'ECONNREFUSED':
      return `dial tcp ${place.address ?? url.hostname}:${place.port ?? url.port}: connect: connection refused`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `dial tcp: lookup ${url.hostname}: no such host`;
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
      return unknownAuthority;
    case 'CERT_HAS_EXPIRED':
      return 'tls: failed to verify certificate: x509: certificate has expired or is not yet valid';
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return `tls: failed to verify certificate: x509: ${message}`;
    default:
      return message;
  }
}
