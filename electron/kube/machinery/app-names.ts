// For which names of apps the cluster makes certificates itself: hosts of its own Ingresses, below domains
// that nobody else on the internet can own, or that the home owns and says so. Pure.
import type { Ingress, IngressClass } from '../api/networking.ts';
import { isHomePageName } from './home-page.ts';
import { ingressController, ownIngresses } from './ingress.ts';

/** Of the certificate signing requests for them. */
export const appSigner = 'flotilla.dev/app-serving';
/** Where everybody finds whom to trust for them: the issuer's certificate, then the root's. */
export const appsCaMap = { namespace: 'kube-public', name: 'flotilla-apps-ca', key: 'ca.crt' };
/** On the IngressClass: domains of the home itself, with commas. */
export const homeDomainsAnnotation = 'ingress.flotilla.dev/home-domains';

/** RFC 6762, RFC 8375, ICANN's for private use, and what many routers give out; none is on the internet. */
const privateDomains = ['home.arpa', 'internal', 'lan', 'local'];
/** Services of the cluster: not apps, although below `local`. */
export const neverDomains = ['cluster.local'];

export interface AppDomains {
  /** Sorted, in small letters. */
  readonly domains: readonly string[];
  /** A sentence for each that was said and can't be. */
  readonly mistakes: readonly string[];
}

export function appDomains(classes: readonly IngressClass[]): AppDomains {
  const domains = new Set(privateDomains);
  const mistakes: string[] = [];
  for (const { metadata, spec } of classes) {
    if (spec.controller !== ingressController) continue;
    for (const given of (metadata.annotations?.[homeDomainsAnnotation] ?? '').split(',')) {
      const domain = given.trim().toLowerCase();
      if (domain === '') continue;
      if (isHomeDomain(domain)) domains.add(domain);
      else
        mistakes.push(
          `${JSON.stringify(domain)} in ${homeDomainsAnnotation} is no domain a home can own: write one such as home.example.org.`,
        );
    }
  }
  return { domains: [...domains].toSorted(), mistakes };
}

/** Two labels at least: whole top-level domains are nobody's. */
export function isHomeDomain(domain: string): boolean {
  return (
    domain.length < 200 &&
    /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]$/.test(domain)
  );
}

/** `*.` stands for one label, and not for the first below a domain: that would be everything there. */
export function isAppName(name: string, domains: readonly string[]): boolean {
  const host = name.startsWith('*.') ? name.slice(2) : name;
  if (!/^(?:[a-z0-9-]{1,63}\.)+[a-z0-9-]+$/.test(host) || host.length > 253) return false;
  // Nobody's app: whoever had it could pass for Flotilla itself.
  if (isHomePageName(host)) return false;
  if (neverDomains.some((domain) => isBelow(host, domain) || host === domain)) return false;
  return domains.some((domain) => isBelow(host, domain));
}

function isBelow(host: string, domain: string): boolean {
  return host.endsWith(`.${domain}`);
}

/** Hosts of our Ingresses that a certificate of the cluster's can be for. Sorted. */
export function appHosts(
  ingresses: readonly Ingress[],
  classes: readonly IngressClass[],
): readonly string[] {
  const { domains } = appDomains(classes);
  const hosts = ownIngresses(ingresses, classes).flatMap(({ spec }) =>
    (spec.rules ?? []).map(({ host = '' }) => host.toLowerCase()),
  );
  return [...new Set(hosts)].filter((host) => isAppName(host, domains)).toSorted();
}

/** What mDNS can carry: one label and `.local`; more are not asked for everywhere. */
export function isLanName(host: string): boolean {
  return /^[a-z0-9](?:[a-z0-9-]{0,57}[a-z0-9])?\.local$/.test(host);
}

/** Whether it is one of `hosts`, or what it is called where another device has that name (`films-2.local`). */
export function isNameOf(name: string, hosts: readonly string[]): boolean {
  return (
    hosts.includes(name) || hosts.includes(name.replace(/^([^.]+)-\d{1,3}\.local$/, '$1.local'))
  );
}
