// Requests for groups that other servers answer for: passed on with the name of who asks. To clients
// it is one API.
// Source: kubernetes kube-aggregator pkg/apiserver/handler_proxy.go.
import type { Socket } from 'node:net';
import { delay, type Clock } from '#kube/base/clock.ts';
import { unauthorized } from '#kube/machinery/status.ts';
import { askBackend, backendResponse } from '../handlers/backend.ts';
import type { ApiHandler, ApiRequest, ApiResponse, RequestInfo, UserInfo } from '../http.ts';
import type { RouteRequest } from '../router.ts';
import { textResponse } from '../status-response.ts';
import type { ApiServices, RemoteApi } from './api-services.ts';
import type { Backends } from './backends.ts';
import type { ServiceAddress } from './endpoints.ts';
import { headersAs } from './remote-user.ts';

/** Who asks when nobody does: for availability, discovery and OpenAPI. */
const ourselves: UserInfo = { name: 'system:kube-aggregator', groups: ['system:masters'] };
const deadlineMs = 5000;
const maxDocumentBytes = 32 * 1024 * 1024;

export interface AggregatorDeps {
  readonly apiServices: ApiServices;
  readonly backends: Backends;
  readonly clock: Clock;
}

export interface RemoteDocument {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

export class Aggregator {
  readonly #deps: AggregatorDeps;

  constructor(deps: AggregatorDeps) {
    this.#deps = deps;
  }

  /** Resource requests: here, or behind. */
  around(local: RouteRequest): RouteRequest {
    return (request: ApiRequest, info: RequestInfo) => {
      const remote = this.#deps.apiServices.remote(info.group, info.version);
      return remote === undefined ? local(request, info) : this.#pass(remote, request);
    };
  }

  /** `/apis/GROUP/VERSION` and its OpenAPI document. */
  aroundPaths(local: ApiHandler): ApiHandler {
    return (request) => {
      const match = /^(?:\/openapi\/v3)?\/apis\/([^/]+)\/([^/]+)\/*$/.exec(request.path);
      const [, group = '', version = ''] = match ?? [];
      const remote = this.#deps.apiServices.remote(group, version);
      return remote === undefined ? local(request) : this.#pass(remote, request);
    };
  }

  async #pass(remote: RemoteApi, request: ApiRequest): Promise<ApiResponse> {
    const { user } = request;
    if (user === undefined) throw unauthorized();
    // In Kubernetes' words, which are no Status either. The APIService's condition says why.
    if (!remote.isAvailable) return textResponse(503, 'service unavailable\n');
    const [address] = await this.#deps.backends.addresses(remote);
    if (address === undefined) return textResponse(503, 'service unavailable\n');
    try {
      return await this.#ask(remote, address, request, user);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      return textResponse(503, `error trying to reach service: ${why}\n`);
    }
  }

  async #ask(
    remote: RemoteApi,
    address: ServiceAddress,
    request: ApiRequest,
    user: UserInfo,
  ): Promise<ApiResponse> {
    let connection: Socket | undefined;
    try {
      connection = await this.#deps.backends.connect(remote, address, request.signal);
      const query = request.query.toString();
      const answer = await askBackend(request, connection, {
        path: query === '' ? request.path : `${request.path}?${query}`,
        host: `${address.host}:${address.port}`,
        headers: headersAs(user, request.headers),
      });
      return backendResponse(answer, connection);
    } catch (error) {
      connection?.destroy();
      throw error;
    }
  }

  /** A document of the server's own, as ourselves. Throws when it does not come in time. */
  async fetch(
    remote: RemoteApi,
    path: string,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<RemoteDocument> {
    const [address] = await this.#deps.backends.addresses(remote);
    if (address === undefined) throw new Error('no endpoints available');
    return this.#fetchAt(remote, address, path, headers);
  }

  async #fetchAt(
    remote: RemoteApi,
    address: ServiceAddress,
    path: string,
    headers: Readonly<Record<string, string>>,
  ): Promise<RemoteDocument> {
    const expiry = new AbortController();
    const limit = delay(this.#deps.clock, deadlineMs, expiry.signal).then(() => {
      expiry.abort();
      throw new Error(`no answer within ${deadlineMs / 1000} s`);
    });
    const request: ApiRequest = {
      method: 'GET',
      path,
      query: new URLSearchParams(),
      headers,
      readBody: () => Promise.resolve(new Uint8Array()),
      signal: expiry.signal,
    };
    const answered = this.#ask(remote, address, request, ourselves).then(readDocument);
    try {
      return await Promise.race([answered, limit]);
    } finally {
      expiry.abort();
    }
  }

  /** Why the server behind does not answer as it has to; undefined: it does. */
  async probe(remote: RemoteApi): Promise<string | undefined> {
    const addresses = await this.#deps.backends.addresses(remote);
    const path = `/apis/${remote.group}/${remote.version}`;
    // Its certificate is looked at when something depends on it, as in Kubernetes.
    const { caBundle: _, ...spec } = remote.spec;
    const lenient = { ...remote, spec: { ...spec, insecureSkipTLSVerify: true } };
    const problems = await Promise.all(
      addresses.slice(0, maxProbes).map(async (address) => {
        const url = `https://${address.host}:${address.port}${path}`;
        try {
          const { status } = await this.#fetchAt(lenient, address, path, {});
          if (status >= 200 && status < 300) return undefined;
          return `failing or missing response from ${url}: bad status from ${url}: ${status}`;
        } catch (error) {
          const why = error instanceof Error ? error.message : String(error);
          return `failing or missing response from ${url}: ${why}`;
        }
      }),
    );
    if (problems.length === 0) return 'no endpoints available';
    return problems.includes(undefined) ? undefined : problems[0];
  }
}

const maxProbes = 5;

async function readDocument({ status, headers, body }: ApiResponse): Promise<RemoteDocument> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    parts.push(chunk);
    length += chunk.length;
    if (length > maxDocumentBytes)
      throw new Error(`the answer is longer than ${maxDocumentBytes} bytes`);
  }
  return { status, headers, body: Buffer.concat(parts) };
}
