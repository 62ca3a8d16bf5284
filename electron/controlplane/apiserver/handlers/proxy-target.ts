// Pure: where a proxy request goes. `pods/web:8080/proxy/a` means the pod, its port, and what is
// asked of it; a service leads to one of its endpoints.
// Source: kubernetes apimachinery pkg/util/net/port_split.go, pkg/registry/core/{pod,service}
// (ResourceLocation).
import type { Pod, Service } from '#kube/api/core.ts';
import type { EndpointSlice } from '#kube/api/discovery.ts';
import { badRequest, serviceUnavailable } from '#kube/machinery/status.ts';
import { trimSlashes } from '../request-info.ts';

export interface ProxyName {
  readonly scheme: 'http' | 'https';
  readonly name: string;
  /** A number, a name, or '' when none is given. */
  readonly port: string;
}

export interface ProxyTarget {
  readonly namespace: string;
  readonly pod: string;
  readonly nodeName: string;
  readonly port: number;
}

/** `name`, `name:port` or `scheme:name:port`. Throws 400. */
export function parseProxyName(text: string, kind: 'pod' | 'service'): ProxyName {
  const parts = text.split(':');
  const [scheme = '', name = '', port = ''] = parts.length < 3 ? ['', ...parts] : parts;
  const isScheme = scheme === '' || scheme === 'http' || scheme === 'https';
  if (parts.length > 3 || name === '' || !isScheme)
    throw badRequest(`invalid ${kind} request ${JSON.stringify(text)}`);
  return { scheme: scheme === 'https' ? 'https' : 'http', name, port };
}

/** Throws 400. */
export function podTarget({ metadata, spec, status }: Pod, port: string): ProxyTarget {
  const { name, namespace = '' } = metadata;
  const nodeName = spec.nodeName ?? '';
  if (nodeName === '' || (status?.podIP ?? '') === '') throw badRequest('address not allowed');
  const [declared] = spec.containers.flatMap(({ ports = [] }) => ports);
  const number = port === '' ? (declared?.containerPort ?? 80) : Number(port);
  if (!Number.isInteger(number) || number < 1 || number > 65_535)
    throw badRequest(`invalid port ${JSON.stringify(port)}`);
  return { namespace, pod: name, nodeName, port: number };
}

/** All that a request to this port may go to. Throws 503 when there is none. */
export function serviceTargets(
  { metadata, spec }: Service,
  port: string,
  slices: readonly EndpointSlice[],
): readonly ProxyTarget[] {
  const { name, namespace = '' } = metadata;
  const ports = spec.ports ?? [];
  const found =
    port === '' && ports.length === 1
      ? ports[0]
      : ports.find((entry) => entry.name === port || String(entry.port) === port);
  if (found === undefined)
    throw serviceUnavailable(
      `no service port ${JSON.stringify(port)} found for service "${name}"`,
      0,
    );
  const portName = found.name ?? '';
  const targets = slices.flatMap((slice) => {
    const number = slice.ports?.find((entry) => (entry.name ?? '') === portName)?.port;
    if (number === undefined) return [];
    return (slice.endpoints ?? []).flatMap(({ conditions, targetRef, nodeName = '' }) => {
      // Differs: an endpoint that is no pod of the cluster is not reached.
      const isUsable = conditions?.ready !== false && targetRef?.kind === 'Pod' && nodeName !== '';
      return isUsable ? [{ namespace, pod: targetRef.name ?? '', nodeName, port: number }] : [];
    });
  });
  if (targets.length === 0)
    throw serviceUnavailable(`no endpoints available for service "${name}"`, 0);
  return targets;
}

/** The path up to and with `/proxy`, and what comes behind it, as it was sent. */
export function splitProxyPath(
  path: string,
  restCount: number,
): { readonly prefix: string; readonly rest: string } {
  const inner = trimSlashes(path);
  const segments = inner.split('/');
  const kept = segments.slice(0, segments.length - restCount).join('/');
  const end = path.indexOf(inner) + kept.length;
  return { prefix: path.slice(0, end), rest: path.slice(end) };
}

/** Headers that are about one connection, and those that are between client and API server. */
const notPassed =
  /^(connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|http2-settings|authorization|impersonate-.*)$/;

export function passedHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !notPassed.test(name)));
}

/** A redirect inside the pod stays behind the proxy. */
export function proxiedLocation(location: string, prefix: string, host: string): string {
  if (location.startsWith('/') && !location.startsWith('//')) return prefix + location;
  for (const scheme of ['http', 'https']) {
    const own = `${scheme}://${host}`;
    if (location === own || location.startsWith(`${own}/`))
      return prefix + location.slice(own.length);
  }
  return location;
}
