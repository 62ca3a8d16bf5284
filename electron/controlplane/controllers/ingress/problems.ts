// What can't be served as an Ingress says it, and what to do: pure. The agents serve the rest, and say nothing of it.
import type { Service } from '#kube/api/core.ts';
import type { Ingress, IngressBackend, IngressClass } from '#kube/api/networking.ts';
import type { EventType } from '#kube/client/event-recorder.ts';
import {
  appDomains,
  homeDomainsAnnotation,
  isAppName,
  isHomeDomain,
  isLanName,
} from '#kube/machinery/app-names.ts';
import { isHomePageName } from '#kube/machinery/home-page.ts';
import {
  classNameOf,
  olderFirst,
  servedPaths,
  servicePortOf,
  type ServedPath,
} from '#kube/machinery/ingress.ts';
import { settingsOf } from '#kube/machinery/ingress-settings.ts';

export interface IngressProblem {
  readonly type: EventType;
  readonly reason: string;
  readonly sentence: string;
}

export interface ProblemWorld {
  /** All of our class. */
  readonly own: readonly Ingress[];
  readonly classes: readonly IngressClass[];
  /** Of the Ingress' namespace. */
  readonly service: (name: string) => Service | undefined;
  /** What is the matter with a Secret of its namespace that it names (`does not exist`); undefined: nothing. */
  readonly secretProblem: (name: string) => string | undefined;
}

export function ingressProblems(ingress: Ingress, world: ProblemWorld): IngressProblem[] {
  const sentences = [
    ...settingsOf(ingress.metadata.annotations ?? {}).mistakes,
    ...backendsOf(ingress).flatMap((backend) => backendProblem(ingress, backend, world)),
    ...rivals(ingress, world),
    ...secretProblems(ingress, world),
    ...reservedHosts(ingress),
  ];
  const warnings = [...new Set(sentences)].map((sentence) => ({
    type: 'Warning' as const,
    reason: 'IngressProblem',
    sentence,
  }));
  return [...warnings, ...untold(ingress), ...namesOfOthers(ingress, world)];
}

function reservedHosts(ingress: Ingress): string[] {
  return hostsOf(ingress)
    .filter(isHomePageName)
    .map(
      (host) => `${host} is the name of Flotilla's own page, and not served: choose another host.`,
    );
}

function refOf({ metadata }: Ingress, name = metadata.name): string {
  return `${metadata.namespace}/${name}`;
}

/** The default one first. */
export function backendsOf(ingress: Ingress): IngressBackend[] {
  const { defaultBackend } = ingress.spec;
  const ofPaths = servedPaths(ingress).map(({ backend }) => backend);
  return defaultBackend === undefined ? ofPaths : [defaultBackend, ...ofPaths];
}

function backendProblem(
  ingress: Ingress,
  { service: wanted }: IngressBackend,
  { service: find }: ProblemWorld,
): string[] {
  if (wanted === undefined)
    return [
      'Only Services can be behind an Ingress here, no other resources: name a Service in its backend.',
    ];
  const name = refOf(ingress, wanted.name);
  const service = find(wanted.name);
  if (service === undefined)
    return [
      `The Service ${name} does not exist: requests are answered with 503 until it is created, or another one is named.`,
    ];
  if (servicePortOf(service, wanted.port) !== undefined) return [];
  const ports = (service.spec.ports ?? []).map(({ name: port, port: number }) =>
    port === undefined || port === '' ? `${number}` : `${number} (${port})`,
  );
  return [
    `The Service ${name} has no port ${wanted.port?.name ?? wanted.port?.number ?? ''}: it has ${ports.join(', ') || 'none'}. Name one of its ports in the backend.`,
  ];
}

/** The same host and path twice: the older Ingress has it, and in one Ingress the first. */
function rivals(ingress: Ingress, { own }: ProblemWorld): string[] {
  const paths = servedPaths(ingress).filter(({ backend }) => backend.service !== undefined);
  const older = own.filter((other) => olderFirst(other, ingress) < 0);
  return paths.flatMap((path, index) => {
    const at = `${path.host}${path.path}`;
    if (paths.slice(0, index).some(isSamePath(path)))
      return [`${at} stands in this Ingress twice: only the first counts. Take the other away.`];
    const rival = older.find((other) =>
      servedPaths(other)
        .filter(({ backend }) => backend.service !== undefined)
        .some(isSamePath(path)),
    );
    return rival === undefined
      ? []
      : [
          `${at} is served for the older Ingress ${refOf(rival)} already: choose another host or path, or delete that one.`,
        ];
  });
}

function isSamePath({ host, path, isExact }: ServedPath): (other: ServedPath) => boolean {
  return (other) => other.host === host && other.path === path && other.isExact === isExact;
}

function secretProblems(ingress: Ingress, { classes, secretProblem }: ProblemWorld): string[] {
  const { domains } = appDomains(classes);
  const { namespace } = ingress.metadata;
  return (ingress.spec.tls ?? []).flatMap(({ hosts: named = [], secretName = '' }) => {
    const why = secretName === '' ? undefined : secretProblem(secretName);
    const hosts = named.length > 0 ? named : hostsOf(ingress);
    if (why === undefined || hosts.length === 0) return [];
    const make = `kubectl create secret tls ${secretName} -n ${namespace} --cert=FILE --key=FILE`;
    const orOurs = hosts.every((host) => isAppName(host.toLowerCase(), domains))
      ? ' Or take it out of spec.tls: the home makes a certificate itself then.'
      : '';
    return [
      `No HTTPS for ${hosts.join(', ')}: the Secret ${namespace}/${secretName} ${why}. Create it${why === missing ? '' : ' anew'}: ${make}.${orOurs}`,
    ];
  });
}

export const missing = 'does not exist';

/** `deep.nas.local`: phones and computers ask nobody at home for such, and it is told to nobody. */
function untold(ingress: Ingress): IngressProblem[] {
  return hostsOf(ingress)
    .filter((host) => host.endsWith('.local') && !isLanName(host))
    .map((host) => ({
      type: 'Warning',
      reason: 'NameNotTold',
      sentence: `${host} is served, but the home is not told of it: below .local only names of one label can be found by everybody. Choose one, as ${host.replace(/^\*\./, '').split('.')[0]}.local, or a name that your router's DNS answers for.`,
    }));
}

/** Hosts that no Secret is named for and the home's own authority may not vouch for: by HTTP only. */
function namesOfOthers(ingress: Ingress, { classes }: ProblemWorld): IngressProblem[] {
  const { domains } = appDomains(classes);
  const { tls = [] } = ingress.spec;
  const withSecret = tls.filter(({ secretName = '' }) => secretName !== '');
  const isFor = (entries: typeof tls, host: string): boolean =>
    entries.some(({ hosts = [] }) => hosts.length === 0 || hosts.some(covers(host)));
  return hostsOf(ingress)
    .filter(
      (host) => !isFor(withSecret, host) && !isAppName(host, domains) && !isHomePageName(host),
    )
    .map((host) => ({
      // Who asks for TLS has to know; for others plain HTTP may be what they want.
      type: isFor(tls, host) ? 'Warning' : 'Normal',
      reason: 'NoCertificate',
      sentence: `No HTTPS for ${host}: this home's own certificates are for names below ${listed(domains)} only. Name a Secret with its certificate in spec.tls${orOwnIt(ingress, host)}.`,
    }));
}

function orOwnIt(ingress: Ingress, host: string): string {
  const domain = host.replace(/^\*\./, '').replace(/^[^.]*\./, '');
  return isHomeDomain(domain) && isAppName(host, [domain])
    ? `, or, if the home owns ${domain}, write it into the annotation ${homeDomainsAnnotation} of the IngressClass ${classNameOf(ingress)}`
    : '';
}

function covers(host: string): (name: string) => boolean {
  const parent = `*${host.slice(host.indexOf('.'))}`;
  return (name) => name.toLowerCase() === host || name.toLowerCase() === parent;
}

function hostsOf({ spec }: Ingress): string[] {
  const hosts = (spec.rules ?? []).map(({ host = '' }) => host.toLowerCase());
  return [...new Set(hosts)].filter((host) => host !== '');
}

function listed(words: readonly string[]): string {
  const [last = '', ...others] = words.toReversed();
  return others.length === 0 ? last : `${others.toReversed().join(', ')} and ${last}`;
}
