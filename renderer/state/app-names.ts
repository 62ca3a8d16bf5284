// By which names an app is opened at home: hosts of the Ingresses that lead to one of its services and that some
// machine serves. Where the home's own certificate stands for the name, the page where a device learns to trust it.
import type { Service } from '#kube/api/core.ts';
import type { Ingress } from '#kube/api/networking.ts';
import { appDomains, isAppName } from '#kube/machinery/app-names.ts';
import { classNameOf, ingressClassName, servedPaths } from '#kube/machinery/ingress.ts';

export interface AppName {
  /** `http://films.local`, with a path where the app has one. */
  readonly url: string;
  readonly trustUrl: string | undefined;
}

const trustPath = '/.well-known/flotilla/trust';

export function appNames(
  services: readonly Service[],
  ingresses: readonly Ingress[],
): readonly AppName[] {
  const own = new Set(services.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`));
  const found = new Map<string, AppName>();
  for (const ingress of ingresses) {
    const served = ingress.status?.loadBalancer?.ingress ?? [];
    if (served.length === 0) continue;
    for (const { host, path, backend } of servedPaths(ingress)) {
      const isOurs = own.has(`${ingress.metadata.namespace}/${backend.service?.name}`);
      if (!isOurs || host === '' || host.startsWith('*')) continue;
      const url = `http://${host}${path === '/' ? '' : path}`;
      const trustUrl = isCertified(ingress, host) ? `http://${host}${trustPath}` : undefined;
      found.set(url, { url, trustUrl });
    }
  }
  return [...found.values()];
}

/** Domains of the home's own, which it may have named, too, are left out: their owner knows. */
function isCertified(ingress: Ingress, host: string): boolean {
  const withSecret = (ingress.spec.tls ?? []).filter(({ secretName = '' }) => secretName !== '');
  const hasSecret = withSecret.some(({ hosts = [] }) => hosts.length === 0 || hosts.includes(host));
  const isOfOurs = classNameOf(ingress) === ingressClassName;
  return isOfOurs && !hasSecret && isAppName(host, appDomains([]).domains);
}
