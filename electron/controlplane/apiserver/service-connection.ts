// How the API server reaches a service of the cluster: one of its pods, by that pod's node's agent. No
// pod has to be reachable from here. Proxies and webhooks go this way.
// Source: kubernetes apiserver pkg/util/proxy/proxy.go (ResolveEndpoint).
import type { Socket } from 'node:net';
import type { Service } from '#kube/api/core.ts';
import type { EndpointSlice } from '#kube/api/discovery.ts';
import { assert } from '#kube/base/assert.ts';
import type { Random } from '#kube/base/random.ts';
import { endpointSlices } from '#kube/client/resources.ts';
import { fieldMatcher } from '#kube/machinery/field-selector.ts';
import { parseLabelSelector } from '#kube/machinery/selector.ts';
import { notFound } from '#kube/machinery/status.ts';
import type { Registry } from '../registry/registry.ts';
import type { KubeletClient } from './handlers/kubelet-client.ts';
import { serviceTargets, type ProxyTarget } from './handlers/proxy-target.ts';

/** Of an agent's refusal. */
const maxWords = 4096;

export interface ServiceName {
  readonly namespace: string;
  readonly name: string;
  readonly port: number;
}

export interface ServiceConnectionDeps {
  readonly registry: Registry;
  readonly kubelet: KubeletClient;
  readonly random: Random;
}

/** Throws a StatusError, or an Error with the agent's words. */
export async function connectToService(
  { registry, kubelet, random }: ServiceConnectionDeps,
  { namespace, name, port }: ServiceName,
  signal: AbortSignal,
): Promise<Socket> {
  const services = { group: '', version: 'v1', resource: 'services' };
  const service = registry.reader.cached(services, namespace, name);
  if (service === undefined) throw notFound(services, name);
  const targets = await targetsOf(registry, service as Service, String(port));
  const target = targets[Math.floor(random.next() * targets.length)];
  assert(target, 'one of some');
  return dialPod(kubelet, target, signal);
}

/** All that a request to this port may go to. Throws 503 when there is none. */
export async function targetsOf(
  registry: Registry,
  service: Service,
  port: string,
): Promise<readonly ProxyTarget[]> {
  const { namespace = '', name } = service.metadata;
  return serviceTargets(service, port, await slicesOf(registry, namespace, name));
}

/** As the cache has them. */
export async function slicesOf(
  registry: Registry,
  namespace: string,
  service: string,
): Promise<readonly EndpointSlice[]> {
  const { group, version, resource } = endpointSlices;
  const definition = registry.table.lookup(group, version, resource);
  assert(definition, 'endpointslices are in the table');
  const { items } = await registry.resource(definition).list({
    namespace,
    labels: parseLabelSelector(`kubernetes.io/service-name=${service}`),
    fields: fieldMatcher([]),
    limit: 0,
    continueToken: '',
    resourceVersion: '0',
    resourceVersionMatch: '',
  });
  return items.map(({ object }) => object as unknown as EndpointSlice);
}

export interface PodPort {
  readonly namespace: string;
  readonly pod: string;
  readonly nodeName: string;
  readonly port: number;
}

/** A connection to the pod's port. Throws an Error with the agent's words. */
export async function dialPod(
  kubelet: KubeletClient,
  { namespace, pod, nodeName, port }: PodPort,
  signal: AbortSignal,
): Promise<Socket> {
  const answer = await kubelet.upgrade(nodeName, {
    method: 'GET',
    path: `/dial/${encodeURIComponent(namespace)}/${encodeURIComponent(pod)}`,
    query: new URLSearchParams({ port: String(port) }),
    headers: { connection: 'Upgrade', upgrade: 'tcp' },
    signal,
  });
  if ('connection' in answer) return answer.connection as Socket;
  let words = '';
  for await (const chunk of answer.chunks) {
    words += Buffer.from(chunk).toString();
    if (words.length > maxWords) break;
  }
  throw new Error(words.slice(0, maxWords));
}
