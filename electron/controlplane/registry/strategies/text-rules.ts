// Which texts and numbers are legal values of particular fields: ports, IPs, keys, environment
// variables. Each rule returns messages in Kubernetes' wording; an empty list means legal.
// Names, labels and qualified names are in kube/machinery/names.ts.
// Source: kubernetes apimachinery pkg/util/validation/{validation,ip}.go.
import type { IntOrString } from '#kube/api/scalars.ts';
import {
  invalid,
  notSupported,
  required,
  type FieldError,
  type FieldPath,
} from '#kube/machinery/field.ts';
import {
  byteLength,
  isDns1123Subdomain,
  maxLengthMessage,
  regexMessage,
} from '#kube/machinery/names.ts';

export const negativeMessage = 'must be greater than or equal to 0';
export const immutableMessage = 'field is immutable';
export const maxInt32 = 2_147_483_647;

/** A required field of the types may be missing all the same: reporting that is our task. */
export function asGiven<T>(value: T): Partial<T> {
  return value;
}

/** The errors of a value under one rule. */
export function check(path: FieldPath, value: unknown, messages: readonly string[]): FieldError[] {
  return messages.map((message) => invalid(path, value, message));
}

export function checkNonNegative(path: FieldPath, value: number | undefined): FieldError[] {
  return value !== undefined && value < 0 ? [invalid(path, value, negativeMessage)] : [];
}

/** One of a few texts; an empty one is missing. */
export function checkChoice(
  path: FieldPath,
  value: string | undefined,
  supported: readonly string[],
): FieldError[] {
  if (value === undefined || value === '') return [required(path, '')];
  return supported.includes(value) ? [] : [notSupported(path, value, supported)];
}

/** Like `check`, of a text that may be missing but must not be empty. */
export function checkRequired(
  path: FieldPath,
  value: string | undefined,
  rule: (text: string) => readonly string[],
): FieldError[] {
  return value === undefined || value === ''
    ? [required(path, '')]
    : check(path, value, rule(value));
}

export function rangeMessage(low: number, high: number): string {
  return `must be between ${low} and ${high}, inclusive`;
}

export function isPortNumber(port: number): string[] {
  return port >= 1 && port <= 65_535 ? [] : [rangeMessage(1, 65_535)];
}

/** IANA service name: at most 15 characters, at least one letter. */
export function isPortName(name: string): string[] {
  const messages: string[] = [];
  if (byteLength(name) > 15) messages.push(maxLengthMessage(15));
  if (!/^[-a-z0-9]+$/.test(name))
    messages.push('must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)');
  if (!/[a-z]/.test(name)) messages.push('must contain at least one letter (a-z)');
  if (name.includes('--')) messages.push('must not contain consecutive hyphens');
  if (name.startsWith('-') || name.endsWith('-'))
    messages.push('must not begin or end with a hyphen');
  return messages;
}

export function checkPort(path: FieldPath, port: IntOrString | undefined): FieldError[] {
  if (typeof port === 'string') return check(path, port, isPortName(port));
  return check(path, port ?? 0, isPortNumber(port ?? 0));
}

/** Any printable ASCII but `=`. */
export function isEnvVarName(name: string): string[] {
  if (name === '') return ['environment variable name must be non-empty'];
  if (/^[\u0020-\u003c\u003e-\u007e]*$/.test(name)) return [];
  return [
    "a valid environment variable name must consist only of printable ASCII characters other than '='",
  ];
}

const configKeyPattern = '[-._a-zA-Z0-9]+';

/** Key of a ConfigMap or Secret: it becomes a file name. */
export function isConfigKey(key: string): string[] {
  const messages: string[] = [];
  if (byteLength(key) > 253) messages.push(maxLengthMessage(253));
  if (!/^[-._a-zA-Z0-9]+$/.test(key))
    messages.push(
      regexMessage(
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
        configKeyPattern,
        ['key.name', 'KEY_NAME', 'key-name'],
      ),
    );
  if (key === '.' || key === '..') messages.push(`must not be '${key}'`);
  else if (key.startsWith('..')) messages.push("must not start with '..'");
  return messages;
}

export function isHttpHeaderName(name: string): string[] {
  if (/^[-A-Za-z0-9]+$/.test(name)) return [];
  const message = "a valid HTTP header must consist of alphanumeric characters or '-'";
  return [regexMessage(message, '[-A-Za-z0-9]+', ['X-Header-Name'])];
}

export function isPercent(text: string): string[] {
  if (/^[0-9]+%$/.test(text)) return [];
  const message = "a valid percent string must be a numeric value followed by an ending '%'";
  return [regexMessage(message, '[0-9]+%', ['1%', '93%'])];
}

/** User and group ids. */
export function isUnixId(id: number): string[] {
  return id >= 0 && id <= maxInt32 ? [] : [rangeMessage(0, maxInt32)];
}

/** As Kubernetes' older fields are read: zeros in front count for nothing. Formats and CEL refuse them. */
export function isIPv4(text: string): boolean {
  const parts = text.split('.');
  return parts.length === 4 && parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) < 256);
}

export function isIPv6(text: string): boolean {
  const halves = text.split('::');
  if (halves.length > 2) return false;
  const groups = halves.map((half) => (half === '' ? [] : half.split(':')));
  const last = groups.at(-1)?.at(-1) ?? '';
  const embedsIPv4 = last.includes('.');
  if (embedsIPv4 && !isIPv4(last)) return false;
  const all = groups.flat();
  const hexGroups = embedsIPv4 ? all.slice(0, -1) : all;
  if (!hexGroups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return false;
  const count = hexGroups.length + (embedsIPv4 ? 2 : 0);
  return halves.length === 2 ? count < 8 : count === 8;
}

export function isIP(text: string): string[] {
  if (isIPv4(text) || isIPv6(text)) return [];
  return ['must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'];
}

export function isCidr(text: string): string[] {
  const [address = '', bits = '', ...more] = text.split('/');
  const limit = isIPv4(address) ? 32 : isIPv6(address) ? 128 : -1;
  if (more.length === 0 && /^\d{1,3}$/.test(bits) && Number(bits) <= limit) return [];
  return ['must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)'];
}

/** An address that can be an endpoint: not unspecified, loopback or link-local. */
export function isEndpointIP(text: string): string[] {
  const messages = isIP(text);
  if (messages.length > 0) return messages;
  const lower = text.toLowerCase();
  if (lower === '0.0.0.0' || lower === '::') return [`may not be unspecified (${text})`];
  if (lower.startsWith('127.') || lower === '::1')
    return ['may not be in the loopback range (127.0.0.0/8, ::1/128)'];
  if (lower.startsWith('169.254.') || /^fe[89ab]/.test(lower))
    return ['may not be in the link-local range (169.254.0.0/16, fe80::/10)'];
  if (lower.startsWith('224.0.0.') || lower.startsWith('ff02:'))
    return ['may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)'];
  return [];
}

const wildcardPattern = `\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*`;
const wildcardRegex = new RegExp(`^${wildcardPattern}$`);

/** `*.example.com`. */
export function isWildcardSubdomain(text: string): string[] {
  const messages = byteLength(text) > 253 ? [maxLengthMessage(253)] : [];
  if (!wildcardRegex.test(text))
    messages.push(
      regexMessage(
        "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, " +
          "which must consist of lower case alphanumeric characters, '-' or '.' and end with an " +
          'alphanumeric character',
        wildcardPattern,
        ['*.example.com'],
      ),
    );
  return messages;
}

const httpPathPattern = "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+";
const httpPathRegex = new RegExp(`^${httpPathPattern}$`);

/** `acme.io/foo`: who acts on an object. */
export function checkDomainPrefixedPath(path: FieldPath, text: string): FieldError[] {
  if (text === '') return [required(path, '')];
  const slash = text.indexOf('/');
  const [host, rest] = [text.slice(0, slash), text.slice(slash + 1)];
  if (slash <= 0 || rest === '')
    return [invalid(path, text, 'must be a domain-prefixed path (such as "acme.io/foo")')];
  const errors = check(path, host, isDns1123Subdomain(host));
  if (!httpPathRegex.test(rest))
    errors.push(invalid(path, rest, regexMessage('Invalid path', httpPathPattern, [])));
  return errors;
}
