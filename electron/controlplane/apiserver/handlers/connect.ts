// Requests that a node's agent answers: a pod's logs, and the node's own HTTP server behind
// nodes/proxy. The API server checks, addresses and passes the stream through.
// Source: kubernetes pkg/registry/core/pod/{strategy.go,rest/log.go}, apiserver
// pkg/registry/generic/rest/response_checker.go.
import type { Readable } from 'node:stream';
import type { Node, Pod } from '#kube/api/core.ts';
import {
  field,
  forbidden,
  invalid as invalidField,
  type FieldError,
} from '#kube/machinery/field.ts';
import {
  badRequest,
  internalError,
  invalid,
  kubeletFailure,
  notFound,
  serviceUnavailable,
} from '#kube/machinery/status.ts';
import { TransportError, type TransportStream } from '#kube/client/transport.ts';
import type { ApiRequest, ApiResponse } from '../http.ts';
import { admitConnect, proxyOptions } from './connect-options.ts';
import type { KubeletRequest } from './kubelet-client.ts';
import { parseInteger } from './options.ts';
import type { RequestScope } from './scope.ts';

export type { KubeletClient, KubeletRequest } from './kubelet-client.ts';

/** Parameters of pods/log that the agent understands, passed on as they came. */
const logParameters = [
  'follow',
  'previous',
  'timestamps',
  'sinceSeconds',
  'sinceTime',
  'tailLines',
  'limitBytes',
] as const;

export async function handlePodLog(scope: RequestScope): Promise<ApiResponse> {
  const { info, resource, request } = scope;
  const { namespace, name } = info;
  validateLogQuery(request.query, name);
  const stored = await resource.get(namespace, name);
  const pod = stored.object as Pod;
  const container = containerOf(pod, request.query.get('container') ?? '');
  const nodeName = pod.spec?.nodeName ?? '';
  // Not scheduled yet: no logs, and no error.
  if (nodeName === '') return { status: 204, headers: {} };
  const query = new URLSearchParams();
  for (const parameter of logParameters) {
    const value = request.query.get(parameter);
    if (value !== null) query.set(parameter, value);
  }
  const path = ['/containerLogs', namespace, name, container]
    .map((segment, index) => (index === 0 ? segment : encodeURIComponent(segment)))
    .join('/');
  const { signal } = request;
  const stream = await reach(scope, nodeName, { method: 'GET', path, query, signal });
  if (stream.status !== 200) throw await failureOf(scope, stream);
  return {
    status: 200,
    headers: { 'content-type': 'text/plain', 'cache-control': 'no-cache, private' },
    body: stream.chunks,
  };
}

/** Throws 422 with Kubernetes' texts. */
function validateLogQuery(query: URLSearchParams, name: string): void {
  const errors: FieldError[] = [];
  const atLeast = (parameter: string, minimum: number, rule: string): void => {
    const text = query.get(parameter);
    if (text === null) return;
    const value = parseInteger(parameter, text);
    if (value < minimum) errors.push(invalidField(field(parameter), value, rule));
  };
  atLeast('tailLines', 0, 'must be greater than or equal to 0');
  atLeast('limitBytes', 1, 'must be greater than 0');
  if (query.get('sinceSeconds') !== null && query.get('sinceTime') !== null)
    errors.push(
      forbidden(field(''), 'at most one of `sinceTime` or `sinceSeconds` may be specified'),
    );
  else atLeast('sinceSeconds', 1, 'must be greater than 0');
  const sinceTime = query.get('sinceTime');
  if (sinceTime !== null && Number.isNaN(Date.parse(sinceTime)))
    throw badRequest(
      `parsing time ${JSON.stringify(sinceTime)} as "2006-01-02T15:04:05Z07:00": cannot parse ` +
        `${JSON.stringify(sinceTime)} as "2006"`,
    );
  if (errors.length > 0) throw invalid({ group: '', kind: 'PodLogOptions' }, name, errors);
}

/** The container whose log is meant. Throws 400 when that is not clear. */
export function containerOf(pod: Pod, wanted: string): string {
  const name = pod.metadata.name ?? '';
  const containers = (pod.spec?.containers ?? []).map((container) => container.name);
  const initContainers = (pod.spec?.initContainers ?? []).map((container) => container.name);
  const ephemeral = (pod.spec?.ephemeralContainers ?? []).map((container) => container.name);
  if (wanted !== '') {
    if ([...containers, ...initContainers, ...ephemeral].includes(wanted)) return wanted;
    throw badRequest(`container ${wanted} is not valid for pod ${name}`);
  }
  const [only] = containers;
  if (containers.length === 1 && only !== undefined) return only;
  if (containers.length === 0)
    throw badRequest(`a container name must be specified for pod ${name}`);
  let message =
    `a container name must be specified for pod ${name}, ` +
    `choose one of: [${containers.join(' ')}]`;
  if (initContainers.length > 0)
    message += ` or one of the init containers: [${initContainers.join(' ')}]`;
  if (ephemeral.length > 0)
    message += ` or one of the ephemeral containers: [${ephemeral.join(' ')}]`;
  throw badRequest(message);
}

async function reach(
  { deps }: RequestScope,
  nodeName: string,
  request: KubeletRequest,
): Promise<TransportStream> {
  try {
    return await deps.kubelet.stream(nodeName, request);
  } catch (error) {
    if (!(error instanceof TransportError)) throw error;
    throw serviceUnavailable(`error dialing node ${nodeName}: ${error.message}`);
  }
}

const maxFailureBytes = 10_000;

/** What the agent says is wrong, as the client should see it. */
export async function failureOf({ definition, info }: RequestScope, stream: TransportStream) {
  const text = await readText(stream, maxFailureBytes);
  if (stream.status === 400) return badRequest(text);
  if (stream.status === 500) return internalError(text);
  const resource = { group: definition.group, resource: definition.plural };
  if (stream.status === 404) return notFound(resource, info.name);
  return kubeletFailure(stream.status, resource, info.name, text);
}

async function readText({ chunks }: TransportStream, maxBytes: number): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of chunks) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > maxBytes) break;
  }
  return text.slice(0, maxBytes).trim();
}

/** `nodes/NAME/proxy/PATH`: whatever the agent's HTTP server has, by whatever method. */
export async function handleNodeProxy(scope: RequestScope): Promise<ApiResponse> {
  const { info, resource, request } = scope;
  const { method, query, signal, headers } = request;
  const stored = await resource.get('', info.name);
  const nodeName = (stored.object as Node).metadata.name ?? '';
  const passed: Record<string, string> = {};
  for (const name of ['accept', 'content-type', 'content-length']) {
    const value = headers[name];
    if (value !== undefined) passed[name] = value;
  }
  const { path = '/' } = await admitConnect(
    scope,
    info.name,
    proxyOptions('NodeProxyOptions', `/${info.rest.join('/')}`),
  );
  const hasBody = method === 'GET' || method === 'HEAD' ? {} : { body: await bodyOf(request) };
  const stream = await reach(scope, nodeName, {
    method,
    path,
    query,
    headers: passed,
    ...hasBody,
    signal,
  });
  const type = stream.headers['content-type'];
  return {
    status: stream.status,
    headers: type === undefined ? {} : { 'content-type': type },
    body: stream.chunks,
  };
}

/** As it comes, where it can be had so: an image may be handed over, of any size. */
async function bodyOf({ openBody, readBody }: ApiRequest): Promise<Readable | Uint8Array> {
  return openBody === undefined ? readBody() : openBody();
}
