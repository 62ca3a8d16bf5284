// ConfigMaps, Secrets and ServiceAccounts.
// Source: kubernetes pkg/apis/core/validation/validation.go, pkg/apis/core/v1/conversion.go.
import type { ConfigMap, Secret, ServiceAccount } from '#kube/api/core.ts';
import { deepEqual } from '#kube/machinery/equality.ts';
import {
  field,
  forbidden,
  invalid,
  required,
  tooLong,
  type FieldError,
} from '#kube/machinery/field.ts';
import { byteLength, dns1123SubdomainName } from '#kube/machinery/names.ts';
import { badRequest } from '#kube/machinery/status.ts';
import type { Strategy } from '../../resource.ts';
import { base64Problem, base64Size, decodeBase64, encodeBase64 } from './base64.ts';
import { check, immutableMessage, isConfigKey } from '../text-rules.ts';

const maxSizeBytes = 1024 * 1024;
const frozenMessage = 'field is immutable when `immutable` is set';

export const configMapStrategy: Strategy<ConfigMap> = {
  validateName: dns1123SubdomainName,
  applyDefaults: ({ binaryData }) => refuseBadBase64('ConfigMap', binaryData),
  validate: validateConfigMap,
  validateUpdate: (next, old) => validateFrozen(next, old, ['data', 'binaryData']),
  generationFields: 'none',
};

function validateConfigMap({ data = {}, binaryData = {} }: ConfigMap): FieldError[] {
  const errors: FieldError[] = [];
  let sizeBytes = 0;
  for (const [key, value] of Object.entries(data)) {
    const at = field('data').key(key);
    errors.push(...check(at, key, isConfigKey(key)));
    if (Object.hasOwn(binaryData, key))
      errors.push(invalid(at, key, 'duplicate of key present in binaryData'));
    sizeBytes += byteLength(value);
  }
  for (const [key, value] of Object.entries(binaryData)) {
    errors.push(...check(field('binaryData').key(key), key, isConfigKey(key)));
    sizeBytes += base64Size(value);
  }
  // The whole object is too long: its path is empty, which Go writes so.
  if (sizeBytes > maxSizeBytes) errors.push(tooLong(field('[]'), maxSizeBytes));
  return errors;
}

/** An object marked immutable keeps its content and the mark. */
function validateFrozen<T extends ConfigMap | Secret>(
  next: T,
  old: T,
  contents: readonly (keyof T & string)[],
): FieldError[] {
  if (old.immutable !== true) return [];
  const changed = contents.filter((name) => !deepEqual(next[name] ?? {}, old[name] ?? {}));
  return [
    ...(next.immutable === true ? [] : [forbidden(field('immutable'), frozenMessage)]),
    ...changed.map((name) => forbidden(field(name), frozenMessage)),
  ];
}

export const secretStrategy: Strategy<Secret> = {
  validateName: dns1123SubdomainName,
  applyDefaults(secret) {
    secret.type ||= 'Opaque';
    const { stringData } = secret;
    if (stringData !== undefined) {
      secret.data = { ...secret.data };
      for (const [key, text] of Object.entries(stringData)) secret.data[key] = encodeBase64(text);
      delete secret.stringData;
    }
    refuseBadBase64('Secret', secret.data);
  },
  validate: validateSecret,
  validateUpdate: (next, old) => [
    ...(next.type === old.type ? [] : [invalid(field('type'), next.type, immutableMessage)]),
    ...validateFrozen(next, old, ['data']),
  ],
  generationFields: 'none',
};

/** Kubernetes fails while decoding, before any rule of the kind is looked at. */
function refuseBadBase64(kind: string, data: Readonly<Record<string, string>> | undefined): void {
  for (const text of Object.values(data ?? {})) {
    const problem = base64Problem(text);
    if (problem !== undefined)
      throw badRequest(`${kind} in version "v1" cannot be handled as a ${kind}: ${problem}`);
  }
}

function validateSecret(secret: Secret): FieldError[] {
  const path = field('data');
  const { data = {} } = secret;
  const errors = Object.keys(data).flatMap((key) => check(path.key(key), key, isConfigKey(key)));
  const sizeBytes = Object.values(data).reduce((sum, text) => sum + base64Size(text), 0);
  if (sizeBytes > maxSizeBytes) errors.push(tooLong(path, maxSizeBytes));
  return [...errors, ...validateSecretType(secret)];
}

const serviceAccountName = 'kubernetes.io/service-account.name';

function validateSecretType({ type, data = {}, metadata }: Secret): FieldError[] {
  const path = field('data');
  const need = (...keys: readonly string[]) =>
    keys.filter((key) => !Object.hasOwn(data, key)).map((key) => required(path.key(key), ''));
  switch (type) {
    case 'kubernetes.io/service-account-token':
      return (metadata.annotations?.[serviceAccountName] ?? '') === ''
        ? [required(field('metadata', 'annotations').key(serviceAccountName), '')]
        : [];
    case 'kubernetes.io/dockercfg':
      return [...need('.dockercfg'), ...validateJson(data, '.dockercfg')];
    case 'kubernetes.io/dockerconfigjson':
      return [...need('.dockerconfigjson'), ...validateJson(data, '.dockerconfigjson')];
    case 'kubernetes.io/basic-auth': {
      const missing = need('username', 'password');
      return missing.length === 2 ? missing : [];
    }
    case 'kubernetes.io/ssh-auth':
      return (data['ssh-privatekey'] ?? '') === ''
        ? [required(path.key('ssh-privatekey'), '')]
        : [];
    case 'kubernetes.io/tls':
      return need('tls.crt', 'tls.key');
    default:
      return [];
  }
}

/** Never shows the content: it holds credentials. */
function validateJson(data: Readonly<Record<string, string>>, key: string): FieldError[] {
  const text = data[key];
  if (text === undefined) return [];
  try {
    JSON.parse(decodeBase64(text));
    return [];
  } catch {
    // The parser's own message quotes the text.
    const detail = 'must be a JSON object';
    return [invalid(field('data').key(key), '<secret contents redacted>', detail)];
  }
}

export const serviceAccountStrategy: Strategy<ServiceAccount> = {
  validateName: dns1123SubdomainName,
  validate: () => [],
  generationFields: 'none',
};
