// The API server's inner half in process, for tests: memory store, real resource table, no socket,
// no identity checks, a clock that the test moves. Requests go through parseRequestInfo and the
// router as in production; thrown StatusErrors become Status bodies.
import { Readable } from 'node:stream';
import { ManualClock, type Clock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { seededRandom, type Random } from '#kube/base/random.ts';
import type { HttpMethod, TransportStream } from '#kube/client/transport.ts';
import { SchemaRegistry } from '#kube/machinery/schema.ts';
import { makeKey } from '#platform/certificate.ts';
import { StatusError } from '#kube/machinery/status.ts';
import { WebhookError, type WebhookCaller } from '#kube/machinery/webhook.ts';
import {
  createAdmissionChain,
  type AdmissionPlugin,
} from '../../electron/controlplane/admission/chain.ts';
import type { EnrolMachine } from '../../electron/controlplane/apiserver/handlers/enrolment.ts';
import type {
  KubeletRequest,
  KubeletUpgrade,
} from '../../electron/controlplane/apiserver/handlers/kubelet-client.ts';
import type { Authorizer } from '../../electron/controlplane/apiserver/identity/authorizer.ts';
import type { Access } from '../../electron/controlplane/apiserver/handlers/scope.ts';
import { tokenVerifier } from '../../electron/controlplane/apiserver/identity/authentication.ts';
import { GrantCache } from '../../electron/controlplane/apiserver/identity/rbac/grants.ts';
import { indexRbac } from '../../electron/controlplane/apiserver/identity/rbac/objects.ts';
import { TokenKeys } from '../../electron/controlplane/apiserver/identity/tokens/jwt.ts';
import { ServiceAccountTokens } from '../../electron/controlplane/apiserver/identity/tokens/service-account-tokens.ts';
import type { ApiResponse } from '../../electron/controlplane/apiserver/http.ts';
import {
  bytesOfChunk,
  isSliced,
  joined,
} from '../../electron/controlplane/apiserver/response-body.ts';
import { parseRequestInfo } from '../../electron/controlplane/apiserver/request-info.ts';
import { ProtobufDecoder } from '../../electron/controlplane/apiserver/representation/protobuf.ts';
import { YamlReader } from '../../electron/controlplane/apiserver/representation/yaml.ts';
import { createRouter } from '../../electron/controlplane/apiserver/router.ts';
import { statusResponse } from '../../electron/controlplane/apiserver/status-response.ts';
import { createRegistry, type Registry } from '../../electron/controlplane/registry/registry.ts';
import { ResourceTable } from '../../electron/controlplane/registry/resource-table.ts';
import { builtInResources } from '../../electron/controlplane/registry/resources.ts';
import { schemaDocuments } from '../../electron/controlplane/schemas.ts';
import { openMemoryStore } from '../../electron/controlplane/store/memory-store.ts';
import type { Store } from '../../electron/controlplane/store/store.ts';

/** Nothing outside is called. */
export const noWebhooks: WebhookCaller = {
  call: () => Promise.reject(new WebhookError('no webhooks in this test')),
};

export const schemas = new SchemaRegistry(schemaDocuments);

/** Unchecked on purpose: tests look at whatever they expect to be there. */
export type Json = ReturnType<typeof JSON.parse>;

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
  readonly json: Json;
}

export interface Asked {
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface StreamedAnswer {
  readonly status: number;
  /** The next event, parsed; undefined at the end. */
  next(): Promise<Json>;
  close(): Promise<void>;
}

export interface TestApi {
  readonly clock: ManualClock;
  readonly store: Store;
  readonly registry: Registry;
  readonly kubeletRequests: { nodeName: string; request: KubeletRequest }[];
  request(method: HttpMethod, url: string, asked?: Asked): Promise<Answer>;
  /** The router's own answer, body as it came. */
  raw(method: HttpMethod, url: string, asked?: Asked): Promise<ApiResponse>;
  watch(url: string, headers?: Readonly<Record<string, string>>): Promise<StreamedAnswer>;
  stop(): Promise<void>;
}

export interface TestApiOptions {
  readonly plugins?: (registry: Registry) => readonly AdmissionPlugin[];
  readonly kubelet?: (request: KubeletRequest) => TransportStream;
  readonly kubeletUpgrade?: (request: KubeletRequest) => KubeletUpgrade | Promise<KubeletUpgrade>;
  readonly authorize?: Authorizer;
  readonly store?: Store;
  readonly clock?: ManualClock;
  readonly webhooks?: WebhookCaller;
  readonly storeProblem?: () => string | undefined;
  readonly enrol?: EnrolMachine;
}

export async function startTestApi(options: TestApiOptions = {}): Promise<TestApi> {
  const clock = options.clock ?? new ManualClock();
  const random = seededRandom(1);
  const store = options.store ?? openMemoryStore();
  const stop = new AbortController();
  const registry = createRegistry({
    store,
    table: new ResourceTable(builtInResources),
    schemas,
    webhooks: options.webhooks ?? noWebhooks,
    clock,
    random,
    config: { serviceCidr: '10.96.0.0/16', nodePortRange: [30000, 32767] },
    logger: silentLogger,
  });
  const kubeletRequests: TestApi['kubeletRequests'] = [];
  const route = createRouter({
    registry,
    schemas,
    protobuf: new ProtobufDecoder({ descriptors: {}, shapeOf: () => undefined }),
    yaml: new YamlReader(clock),
    admission: createAdmissionChain(options.plugins?.(registry) ?? []),
    ...(options.enrol !== undefined && { enrol: options.enrol }),
    kubelet: {
      stream(nodeName, request) {
        kubeletRequests.push({ nodeName, request });
        if (options.kubelet === undefined) throw new Error('no kubelet in this test');
        return Promise.resolve(options.kubelet(request));
      },
      upgrade(nodeName, request) {
        kubeletRequests.push({ nodeName, request });
        if (options.kubeletUpgrade === undefined) throw new Error('no kubelet in this test');
        return Promise.resolve(options.kubeletUpgrade(request));
      },
    },
    storeProblem: async () => options.storeProblem?.(),
    access: accessOf(registry, options.authorize, { clock, random }),
    clock,
    random,
    logger: silentLogger,
  });
  await registry.start(stop.signal);

  async function call(
    method: HttpMethod,
    url: string,
    { body, headers = {} }: Asked,
  ): Promise<ApiResponse> {
    const { pathname: path, searchParams: query } = new URL(url, 'https://test');
    const bytes = bytesOf(body);
    const request = {
      method,
      path,
      query,
      headers,
      readBody: () => Promise.resolve(bytes),
      openBody: () => Readable.from([bytes]),
      signal: stop.signal,
      user: { name: 'admin', groups: ['system:masters'] },
    };
    try {
      return await route(request, parseRequestInfo(request));
    } catch (error) {
      if (error instanceof StatusError) return statusResponse(error);
      throw error;
    }
  }

  return {
    clock,
    store,
    registry,
    kubeletRequests,
    async request(method, url, asked = {}) {
      const { status, headers, body } = await call(method, url, asked);
      const text = await textOf(body);
      const isJson = headers['content-type'] === 'application/json';
      return { status, headers, text, json: isJson ? JSON.parse(text) : undefined };
    },
    raw: (method, url, asked = {}) => call(method, url, asked),
    async watch(url, headers = {}) {
      const { status, body } = await call('GET', url, { headers });
      if (typeof body !== 'object' || !(Symbol.asyncIterator in body))
        throw new Error(`not a stream: ${status} ${await textOf(body)}`);
      const chunks = body[Symbol.asyncIterator]();
      return {
        status,
        async next() {
          const chunk = await chunks.next();
          return chunk.done === true
            ? undefined
            : JSON.parse(await textOf(bytesOfChunk(chunk.value)));
        },
        async close() {
          await chunks.return?.();
        },
      };
    },
    async stop() {
      stop.abort();
      await store.close();
    },
  };
}

/** Everybody may do everything, unless the test says otherwise. */
function accessOf(
  registry: Registry,
  authorize: Authorizer = () => ({ allowed: true, reason: '' }),
  { clock, random }: { readonly clock: Clock; readonly random: Random },
): Access {
  const keys = new TokenKeys(makeKey());
  const issuer = 'https://issuer.test';
  const objects = registry.reader;
  const tokens = new ServiceAccountTokens({ keys, issuer, objects, clock, random });
  return {
    authorize,
    grants: new GrantCache(() => indexRbac([])),
    tokens,
    verifyToken: tokenVerifier([(token, audiences) => tokens.verify(token, audiences)]),
  };
}

function bytesOf(body: unknown): Uint8Array {
  if (body === undefined) return new Uint8Array();
  if (body instanceof Uint8Array) return body;
  return new TextEncoder().encode(typeof body === 'string' ? body : JSON.stringify(body));
}

async function textOf(body: ApiResponse['body']): Promise<string> {
  if (body === undefined || typeof body === 'string') return body ?? '';
  if (body instanceof Uint8Array) return new TextDecoder().decode(body);
  if (isSliced(body)) return textOf(joined(body));
  let text = '';
  for await (const chunk of body) text += await textOf(bytesOfChunk(chunk));
  return text;
}
