// The functions Kubernetes adds to CEL. Here: quantities, IPs and CIDRs, URLs, named formats.
// Source: kubernetes apiserver pkg/cel/library/{quantity,ip,cidr,urls,format}.go.
import { Optional, type Environment } from '@marcbachmann/cel-js';
import {
  formatQuantity,
  parseQuantity,
  compareQuantities,
  addQuantities,
  subtractQuantities,
  toNumber,
  validateQuantity,
} from '#kube/machinery/quantity.ts';
import {
  isDns1035Label,
  isDns1123Label,
  isDns1123Subdomain,
  isLabelValue,
  isQualifiedName,
} from '#kube/machinery/names.ts';
import { hasFormat, isCidr, isIPv4, isIPv6 } from '#kube/machinery/structural/formats.ts';
import { equalValues } from './equality.ts';
import { canonicalAddress, cidrContains, maskedAddress } from './addresses.ts';
import { registerLists } from './lists.ts';
import { registerMacros } from './macros.ts';
import { registerNamespace } from './namespaces.ts';
import { registerSemver } from './semver.ts';
import { registerTexts, type TextDeps } from './texts.ts';

export class Quantity {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
  compareTo(other: Quantity): number {
    return compareQuantities(this.text, other.text);
  }
}
export class IP {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
  compareTo(other: IP): number {
    return this.text === other.text ? 0 : this.text < other.text ? -1 : 1;
  }
}
export class CIDR {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
  compareTo(other: CIDR): number {
    return this.text === other.text ? 0 : this.text < other.text ? -1 : 1;
  }
}
export class Url {
  readonly url: URL;
  readonly text: string;
  constructor(text: string) {
    this.text = text;
    this.url = new URL(text.startsWith('/') ? `relative:${text}` : text);
  }
}
export class Format {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}

export function registerFunctions(env: Environment, deps: TextDeps): void {
  registerMacros(env);
  registerTexts(env, deps);
  registerLists(env, deps.budget);
  registerOptionals(env);
  registerQuantities(env);
  registerAddresses(env);
  registerUrls(env);
  registerFormats(env);
  registerSemver(env);
}

function registerOptionals(env: Environment): void {
  env.registerFunction(
    'OptionalNamespace.ofNonZeroValue(A): optional<A>',
    (_: unknown, value: unknown) => (isZero(value) ? Optional.none() : Optional.of(value)),
  );
  env.registerOperator('optional<A> == optional<A>', equalValues);
}

function isZero(value: unknown): boolean {
  if (Array.isArray(value) || value instanceof Uint8Array) return value.length === 0;
  if (value instanceof Map) return value.size === 0;
  return value === null || value === '' || value === false || value === 0 || value === 0n;
}

function registerQuantities(env: Environment): void {
  env.registerType('Quantity', Quantity);
  const isQuantity = (text: string): boolean => validateQuantity(text) === undefined;
  env.registerFunction('isQuantity(string): bool', isQuantity);
  env.registerFunction('quantity(string): Quantity', (text: string) => {
    if (!isQuantity(text))
      throw new Error(
        `quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'`,
      );
    return new Quantity(text);
  });
  const order = (a: Quantity, b: Quantity): number => compareQuantities(a.text, b.text);
  env.registerFunction(
    'Quantity.isLessThan(Quantity): bool',
    (a: Quantity, b: Quantity) => order(a, b) < 0,
  );
  env.registerFunction(
    'Quantity.isGreaterThan(Quantity): bool',
    (a: Quantity, b: Quantity) => order(a, b) > 0,
  );
  env.registerFunction('Quantity.compareTo(Quantity): int', (a: Quantity, b: Quantity) =>
    BigInt(Math.sign(order(a, b))),
  );
  env.registerFunction('Quantity.sign(): int', (a: Quantity) =>
    BigInt(Math.sign(compareQuantities(a.text, '0'))),
  );
  env.registerFunction('Quantity.isInteger(): bool', (a: Quantity) => integerIn(a) !== undefined);
  env.registerFunction('Quantity.asInteger(): int', (a: Quantity) => {
    const value = integerIn(a);
    if (value === undefined) throw new Error('cannot convert value to integer');
    return value;
  });
  env.registerFunction('Quantity.asApproximateFloat(): double', (a: Quantity) => toNumber(a.text));
  const textOf = (value: Quantity | bigint): string =>
    value instanceof Quantity ? value.text : String(value);
  for (const other of ['Quantity', 'int'] as const) {
    env.registerFunction(
      `Quantity.add(${other}): Quantity`,
      (a: Quantity, b: Quantity | bigint) => new Quantity(addQuantities(a.text, textOf(b))),
    );
    env.registerFunction(
      `Quantity.sub(${other}): Quantity`,
      (a: Quantity, b: Quantity | bigint) => new Quantity(subtractQuantities(a.text, textOf(b))),
    );
  }
  env.registerOperator('Quantity == Quantity', (a: Quantity, b: Quantity) => order(a, b) === 0);
  env.registerFunction('string(Quantity): string', (a: Quantity) =>
    formatQuantity(parseQuantity(a.text)),
  );
}

/** Undefined: it has a fraction, or more than 64 bits. */
function integerIn({ text }: Quantity): bigint | undefined {
  const { nanos } = parseQuantity(text);
  const value = nanos / 1_000_000_000n;
  const isWhole = nanos % 1_000_000_000n === 0n && BigInt.asIntN(64, value) === value;
  return isWhole ? value : undefined;
}

const isAddress = (text: string): boolean => isIPv4(text) || (isIPv6(text) && !text.includes('.'));

const ip = (text: string): IP => {
  if (!isAddress(text)) throw new Error(`IP Address ${JSON.stringify(text)} parse error`);
  return new IP(canonicalAddress(text));
};

const cidr = (text: string): CIDR => {
  if (!isCidr(text))
    throw new Error(
      `network address parse error during conversion from string: ${JSON.stringify(text)}`,
    );
  return new CIDR(text);
};

function registerAddresses(env: Environment): void {
  env.registerType('IP', IP);
  env.registerType('CIDR', CIDR);
  env.registerFunction('isIP(string): bool', isAddress);
  env.registerFunction('isCIDR(string): bool', isCidr);
  env.registerFunction('ip(string): IP', ip);
  env.registerFunction('cidr(string): CIDR', cidr);
  const isV4 = ({ text }: IP): boolean => isIPv4(text);
  env.registerFunction('IP.family(): int', (one: IP) => (isV4(one) ? 4n : 6n));
  env.registerFunction(
    'IP.isUnspecified(): bool',
    ({ text }: IP) => text === '0.0.0.0' || text === '::',
  );
  env.registerFunction(
    'IP.isLoopback(): bool',
    ({ text }: IP) => text === '::1' || text.startsWith('127.'),
  );
  env.registerFunction(
    'IP.isGlobalUnicast(): bool',
    ({ text }: IP) =>
      !['0.0.0.0', '255.255.255.255', '::', '::1'].includes(text) &&
      !['127.0.0.0/8', '224.0.0.0/4', '169.254.0.0/16', 'ff00::/8', 'fe80::/10'].some((one) =>
        cidrContains(one, text),
      ),
  );
  registerNamespace(env, 'ip', 'IPNamespace');
  env.registerFunction(
    'IPNamespace.isCanonical(string): bool',
    (_: unknown, text: string) => ip(text).text === text,
  );
  env.registerFunction('IP.isLinkLocalMulticast(): bool', ({ text }: IP) =>
    cidrContains(isIPv4(text) ? '224.0.0.0/24' : 'ff02::/16', text),
  );
  env.registerFunction('IP.isLinkLocalUnicast(): bool', ({ text }: IP) =>
    cidrContains(isIPv4(text) ? '169.254.0.0/16' : 'fe80::/10', text),
  );
  env.registerFunction('string(CIDR): string', ({ text }: CIDR) => text);
  env.registerFunction('string(IP): string', ({ text }: IP) => text);
  env.registerOperator('IP == IP', (a: IP, b: IP) => a.text === b.text);
  env.registerOperator('CIDR == CIDR', (a: CIDR, b: CIDR) => a.text === b.text);
  registerNetworks(env);
}

function registerNetworks(env: Environment): void {
  env.registerFunction('CIDR.containsIP(string): bool', ({ text }: CIDR, address: string) =>
    cidrContains(text, ip(address).text),
  );
  env.registerFunction('CIDR.containsIP(IP): bool', ({ text }: CIDR, address: IP) =>
    cidrContains(text, address.text),
  );
  const contains = (outer: CIDR, inner: CIDR): boolean => {
    const [address = '', bits = '0'] = inner.text.split('/');
    return Number(outer.text.split('/')[1]) <= Number(bits) && cidrContains(outer.text, address);
  };
  env.registerFunction('CIDR.containsCIDR(string): bool', (outer: CIDR, inner: string) =>
    contains(outer, cidr(inner)),
  );
  env.registerFunction('CIDR.containsCIDR(CIDR): bool', contains);
  env.registerFunction(
    'CIDR.ip(): IP',
    ({ text }: CIDR) => new IP(canonicalAddress(text.split('/')[0] ?? '')),
  );
  env.registerFunction('CIDR.prefixLength(): int', ({ text }: CIDR) =>
    BigInt(text.split('/')[1] ?? 0),
  );
  env.registerFunction('CIDR.masked(): CIDR', ({ text }: CIDR) => new CIDR(maskedAddress(text)));
}

function registerUrls(env: Environment): void {
  env.registerType('Url', Url);
  env.registerOperator('Url == Url', (a: Url, b: Url) => a.url.href === b.url.href);
  const isUrl = (text: string): boolean =>
    text.startsWith('/')
      ? URL.canParse(`relative:${text}`)
      : /^[a-z][a-z0-9+.-]*:/i.test(text) && URL.canParse(text);
  env.registerFunction('isURL(string): bool', isUrl);
  env.registerFunction('url(string): Url', (text: string) => {
    if (!isUrl(text))
      throw new Error(
        `URL parse error during conversion from string: parse ${JSON.stringify(text)}: invalid URI for request`,
      );
    return new Url(text);
  });
  const get = (name: string, read: (one: Url) => string): void =>
    void env.registerFunction(`Url.${name}(): string`, read);
  get('getScheme', ({ url, text }) => (text.startsWith('/') ? '' : url.protocol.slice(0, -1)));
  get('getHost', ({ url }) => url.host);
  get('getHostname', ({ url }) => url.hostname.replace(/^\[(.*)\]$/, '$1'));
  get(
    'getPort',
    ({ url, text }) => /^[a-z][a-z0-9+.-]*:\/\/[^/]*:(\d+)(?:[/?#]|$)/i.exec(text)?.[1] ?? url.port,
  );
  get('getEscapedPath', ({ url, text }) =>
    text.startsWith('/')
      ? (text.split(/[?#]/)[0] ?? '')
      : url.pathname === '/' && !/^[^/]*\/\/[^/]*\//.test(text)
        ? ''
        : url.pathname,
  );
  env.registerFunction('Url.getQuery(): map<string, dyn>', ({ url }: Url) => {
    const query = new Map<string, string[]>();
    for (const [key, value] of url.searchParams) query.set(key, [...(query.get(key) ?? []), value]);
    return query;
  });
}

type Rule = (text: string) => readonly string[];

const said =
  (isRight: (text: string) => boolean, complaint: string): Rule =>
  (text) =>
    isRight(text) ? [] : [complaint];

/** `format.NAME().validate(text)` gives what is wrong, or nothing. */
const formats: Readonly<Record<string, Rule>> = {
  dns1123Label: isDns1123Label,
  dns1123Subdomain: isDns1123Subdomain,
  dns1035Label: isDns1035Label,
  qualifiedName: isQualifiedName,
  labelValue: isLabelValue,
  dns1123LabelPrefix: (text) => isDns1123Label(text.replace(/-$/, '')),
  dns1123SubdomainPrefix: (text) => isDns1123Subdomain(text.replace(/-$/, '')),
  dns1035LabelPrefix: (text) => isDns1035Label(text.replace(/-$/, '')),
  uri: said((text) => hasFormat('uri', text), 'invalid URI'),
  uuid: said((text) => hasFormat('uuid', text), 'does not match the UUID format'),
  byte: said((text) => hasFormat('byte', text), 'invalid base64'),
  date: said((text) => hasFormat('date', text), 'invalid date'),
  datetime: said((text) => hasFormat('date-time', text), 'invalid datetime'),
};

function registerFormats(env: Environment): void {
  env.registerType('Format', Format);
  registerNamespace(env, 'format', 'FormatNamespace');
  for (const name of Object.keys(formats))
    env.registerFunction(`FormatNamespace.${name}(): Format`, () => new Format(name));
  env.registerFunction(
    'FormatNamespace.named(string): optional<Format>',
    (_: unknown, name: string) =>
      Object.hasOwn(formats, name) ? Optional.of(new Format(name)) : Optional.none(),
  );
  env.registerFunction(
    'Format.validate(string): optional<list<string>>',
    ({ name }: Format, text: string) => {
      const complaints = formats[name]?.(text) ?? [];
      return complaints.length === 0 ? Optional.none() : Optional.of([...complaints]);
    },
  );
}
