// Ingresses: which host and path lead to which service; and the classes of who sees to that.
// Source: kubernetes pkg/registry/networking/ingress/strategy.go,
// pkg/apis/networking/{v1/defaults.go,validation/validation.go}.
import type {
  HTTPIngressPath,
  Ingress,
  IngressBackend,
  IngressClass,
  IngressClassParametersReference,
  IngressRule,
  IngressServiceBackend,
  IngressSpec,
  IngressTLS,
} from '#kube/api/networking.ts';
import {
  field,
  forbidden,
  invalid,
  notSupported,
  required,
  tooLong,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import {
  byteLength,
  dns1123SubdomainName,
  isDns1035Label,
  isDns1123Label,
  isDns1123Subdomain,
  isPathSegmentName,
} from '#kube/machinery/names.ts';
import { validateImmutable } from '#kube/machinery/object-meta.ts';
import type { StatusSubresource, Strategy } from '../../resource.ts';
import { noAddress, validateAddresses } from './load-balancer-status.ts';
import {
  asGiven,
  check,
  checkDomainPrefixedPath,
  checkRequired,
  isIP,
  isPortName,
  isPortNumber,
  isWildcardSubdomain,
} from '../text-rules.ts';

const classAnnotation = 'kubernetes.io/ingress.class';

export const ingressStrategy: Strategy<Ingress> = {
  validateName: dns1123SubdomainName,
  applyDefaults({ status }) {
    if (status !== undefined) status.loadBalancer ??= {};
  },
  prepareForCreate(ingress) {
    ingress.status = { loadBalancer: {} };
  },
  validate: ({ spec }) => validateIngressSpec(spec, field('spec')),
  warnings: ({ metadata }) =>
    metadata.annotations?.[classAnnotation] === undefined
      ? []
      : [
          `annotation "${classAnnotation}" is deprecated, please use ` +
            "'spec.ingressClassName' instead",
        ],
};

export const ingressStatus: StatusSubresource<Ingress> = {
  type: 'status',
  validateUpdate: ({ status }) => validateAddresses(status?.loadBalancer?.ingress),
};

function validateIngressSpec(spec: IngressSpec, path: FieldPath): FieldError[] {
  const { rules = [], defaultBackend, tls = [], ingressClassName } = spec;
  const errors: FieldError[] = [];
  if (rules.length === 0 && defaultBackend === undefined)
    errors.push(
      invalid(path, spec.rules ?? [], 'either `defaultBackend` or `rules` must be specified'),
    );
  if (defaultBackend !== undefined)
    errors.push(...validateBackend(defaultBackend, path.child('defaultBackend')));
  for (const [index, rule] of rules.entries())
    errors.push(...validateRule(rule, path.child('rules').index(index)));
  for (const [index, entry] of tls.entries())
    errors.push(...validateTls(entry, path.child('tls').index(index)));
  if (ingressClassName !== undefined)
    errors.push(
      ...check(
        path.child('ingressClassName'),
        ingressClassName,
        isDns1123Subdomain(ingressClassName),
      ),
    );
  return errors;
}

function hostMessages(host: string): string[] {
  return host.includes('*') ? isWildcardSubdomain(host) : isDns1123Subdomain(host);
}

function validateTls({ hosts = [], secretName = '' }: IngressTLS, path: FieldPath): FieldError[] {
  return [
    ...hosts.flatMap((host, index) =>
      check(path.child('hosts').index(index), host, hostMessages(host)),
    ),
    ...(secretName === ''
      ? []
      : check(path.child('secretName'), secretName, isDns1123Subdomain(secretName))),
  ];
}

function validateRule({ host = '', http }: IngressRule, path: FieldPath): FieldError[] {
  const errors: FieldError[] = [];
  const at = path.child('host');
  if (host !== '' && isIP(host).length === 0) errors.push(invalid(at, host, noAddress));
  if (host !== '') errors.push(...check(at, host, hostMessages(host)));
  if (http === undefined) return errors;
  const pathsAt = path.child('http', 'paths');
  const paths = (http.paths as HTTPIngressPath[] | undefined) ?? [];
  if (paths.length === 0) errors.push(required(pathsAt, ''));
  for (const [index, entry] of paths.entries())
    errors.push(...validatePath(entry, pathsAt.index(index)));
  return errors;
}

const pathTypes = ['Exact', 'ImplementationSpecific', 'Prefix'];
const badSequences = ['//', '/./', '/../', '%2f', '%2F'];
const badEnds = ['/..', '/.'];

function validatePath(entry: HTTPIngressPath, path: FieldPath): FieldError[] {
  const { path: text = '', pathType, backend } = asGiven(entry);
  const at = path.child('path');
  const errors: FieldError[] = [];
  const mustBeAbsolute = () => {
    if (!text.startsWith('/')) errors.push(invalid(at, text, 'must be an absolute path'));
  };
  switch (pathType) {
    case undefined:
      return [required(path.child('pathType'), 'pathType must be specified')];
    case 'Exact':
    case 'Prefix':
      mustBeAbsolute();
      for (const bad of badSequences)
        if (text.includes(bad)) errors.push(invalid(at, text, `must not contain '${bad}'`));
      for (const end of badEnds)
        if (text.endsWith(end)) errors.push(invalid(at, text, `cannot end with '${end}'`));
      break;
    case 'ImplementationSpecific':
      if (text !== '') mustBeAbsolute();
      break;
    default:
      errors.push(notSupported(path.child('pathType'), pathType, pathTypes));
  }
  return [...errors, ...validateBackend(backend ?? {}, path.child('backend'))];
}

function validateBackend({ resource, service }: IngressBackend, path: FieldPath): FieldError[] {
  if (resource !== undefined && service !== undefined)
    return [invalid(path, '', 'cannot set both resource and service backends')];
  if (resource !== undefined) return validateReference(resource, path.child('resource'));
  if (service !== undefined) return validateServiceBackend(service, path);
  return [invalid(path, '', 'resource or service backend is required')];
}

function validateServiceBackend(service: IngressServiceBackend, path: FieldPath): FieldError[] {
  const { name, port = {} } = asGiven(service);
  const { name: portName = '', number = 0 } = port;
  const errors = checkRequired(path.child('service', 'name'), name, isDns1035Label);
  const at = path.child('service', 'port');
  if (portName !== '' && number !== 0)
    errors.push(invalid(path, '', 'cannot set both port name & port number'));
  else if (portName !== '') errors.push(...check(at.child('name'), portName, isPortName(portName)));
  else if (number !== 0) errors.push(...check(at.child('number'), number, isPortNumber(number)));
  else errors.push(required(path, 'port name or number is required'));
  return errors;
}

interface TypedReference {
  readonly apiGroup?: string;
  readonly kind?: string;
  readonly name?: string;
}

function validateReference(
  { apiGroup, kind, name }: TypedReference,
  path: FieldPath,
): FieldError[] {
  return [
    ...(apiGroup === undefined
      ? []
      : check(path.child('apiGroup'), apiGroup, isDns1123Subdomain(apiGroup))),
    ...checkRequired(path.child('kind'), kind, isPathSegmentName),
    ...checkRequired(path.child('name'), name, isPathSegmentName),
  ];
}

const maxControllerLength = 250;

export const ingressClassStrategy: Strategy<IngressClass> = {
  validateName: dns1123SubdomainName,
  applyDefaults({ spec }) {
    if (spec.parameters !== undefined) spec.parameters.scope ??= 'Cluster';
  },
  validate({ spec }) {
    const path = field('spec');
    const { controller = '', parameters } = spec;
    const isLong = byteLength(controller) > maxControllerLength;
    return [
      ...(isLong ? [tooLong(path.child('controller'), maxControllerLength)] : []),
      ...checkDomainPrefixedPath(path.child('controller'), controller),
      ...(parameters === undefined ? [] : validateParameters(parameters, path.child('parameters'))),
    ];
  },
  validateUpdate: (next, old) =>
    validateImmutable(next.spec.controller, old.spec.controller, field('spec', 'controller')),
};

const scopes = ['Cluster', 'Namespace'];

function validateParameters(
  parameters: IngressClassParametersReference,
  path: FieldPath,
): FieldError[] {
  const { scope = '', namespace } = parameters;
  const at = path.child('namespace');
  const errors = validateReference(parameters, path);
  if (!scopes.includes(scope)) errors.push(notSupported(path.child('scope'), scope, scopes));
  if (scope === 'Namespace' && namespace === undefined)
    errors.push(required(at, "`parameters.scope` is set to 'Namespace'"));
  if (scope === 'Namespace' && namespace !== undefined)
    errors.push(...check(at, namespace, isDns1123Label(namespace)));
  if (scope === 'Cluster' && namespace !== undefined)
    errors.push(forbidden(at, "`parameters.scope` is set to 'Cluster'"));
  return errors;
}
