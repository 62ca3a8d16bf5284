// Pure: the variables that tell a container of the services in its namespace, as Docker links did.
// Source: kubernetes pkg/kubelet/envvars/envvars.go, kubelet_pods.go (getServiceEnvVarMap).
import type { Service } from '#kube/api/core.ts';

/** `services` of the pod's namespace, plus `kubernetes` of the default one. */
export function serviceEnvironment(
  services: readonly Service[],
  namespace: string,
  enableServiceLinks: boolean,
): Map<string, string> {
  const byName = new Map<string, Service>();
  for (const service of services) {
    const { clusterIP } = service.spec;
    if (clusterIP === undefined || clusterIP === '' || clusterIP === 'None') continue;
    const isApi =
      service.metadata.namespace === 'default' && service.metadata.name === 'kubernetes';
    const isOwn = service.metadata.namespace === namespace;
    if (isApi && !byName.has('kubernetes')) byName.set('kubernetes', service);
    else if (isOwn && enableServiceLinks) byName.set(service.metadata.name, service);
  }
  const variables = new Map<string, string>();
  for (const service of byName.values()) addService(variables, service);
  return variables;
}

function addService(variables: Map<string, string>, service: Service): void {
  const ip = service.spec.clusterIP ?? '';
  const prefix = variableName(service.metadata.name);
  const ports = service.spec.ports ?? [];
  const [first] = ports;
  if (first === undefined) return;
  const host = ip.includes(':') ? `[${ip}]` : ip;
  variables.set(`${prefix}_SERVICE_HOST`, ip);
  variables.set(`${prefix}_SERVICE_PORT`, String(first.port));
  for (const port of ports)
    if (port.name !== undefined && port.name !== '')
      variables.set(`${prefix}_SERVICE_PORT_${variableName(port.name)}`, String(port.port));
  for (const [index, port] of ports.entries()) {
    const protocol = (port.protocol ?? 'TCP').toUpperCase();
    const url = `${protocol.toLowerCase()}://${host}:${port.port}`;
    const name = `${prefix}_PORT_${port.port}_${protocol}`;
    if (index === 0) variables.set(`${prefix}_PORT`, url);
    variables.set(name, url);
    variables.set(`${name}_PROTO`, protocol.toLowerCase());
    variables.set(`${name}_PORT`, String(port.port));
    variables.set(`${name}_ADDR`, ip);
  }
}

function variableName(name: string): string {
  return name.replaceAll('-', '_').toUpperCase();
}
