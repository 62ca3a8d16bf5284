// What annotations of an Ingress say of how it is served. Charts come with those of ingress-nginx: the
// ones that have a meaning here are understood, too.
export interface Settings {
  /** A larger body is refused; no bound by default: people upload films. */
  readonly bodyBytesMax: number | undefined;
  /** So long may a connection say nothing while an answer is waited for or on its way. */
  readonly idleMs: number;
  /** HTTP is answered with a redirection where there is a certificate for the host: of devices that don't trust it, none could open the app. */
  readonly redirectsToTls: boolean;
  /** How the pods are spoken to. Their certificates are not checked: nobody they could be checked with made them. */
  readonly protocol: 'http' | 'https';
}

const prefixes = ['ingress.flotilla.dev/', 'nginx.ingress.kubernetes.io/'];
const defaults: Settings = {
  bodyBytesMax: undefined,
  idleMs: 300_000,
  redirectsToTls: false,
  protocol: 'http',
};

export interface ReadSettings {
  readonly settings: Settings;
  /** A sentence for each annotation that can't be followed; its default holds. */
  readonly mistakes: readonly string[];
}

interface Reading<T> {
  readonly parse: (text: string) => T | undefined;
  /** What can be understood. */
  readonly words: string;
}

const size: Reading<number> = { parse: parseBytes, words: 'a size such as 100m' };
const duration: Reading<number> = { parse: parseSeconds, words: 'seconds such as 60' };
const truth: Reading<boolean> = { parse: parseBoolean, words: 'true or false' };
const protocol: Reading<Settings['protocol']> = { parse: parseProtocol, words: 'HTTP or HTTPS' };

export function settingsOf(annotations: Readonly<Record<string, string>>): ReadSettings {
  const mistakes: string[] = [];
  function read<T>(name: string, { parse, words }: Reading<T>, standard: T): T {
    const key = prefixes.map((prefix) => `${prefix}${name}`).find((one) => one in annotations);
    if (key === undefined) return standard;
    const text = annotations[key] ?? '';
    const value = parse(text.trim());
    if (value !== undefined) return value;
    mistakes.push(
      `The annotation ${key} can't be understood: ${JSON.stringify(text)}. Write ${words}.`,
    );
    return standard;
  }
  const bytes = read('proxy-body-size', size, defaults.bodyBytesMax ?? 0);
  const redirects = read('ssl-redirect', truth, defaults.redirectsToTls);
  const forced = read('force-ssl-redirect', truth, defaults.redirectsToTls);
  const settings = {
    bodyBytesMax: bytes === 0 ? undefined : bytes,
    idleMs: read('proxy-read-timeout', duration, defaults.idleMs),
    redirectsToTls: redirects || forced,
    protocol: read('backend-protocol', protocol, defaults.protocol),
  };
  return { settings, mistakes };
}

/** `0`: no bound. */
function parseBytes(text: string): number | undefined {
  const match = /^(\d{1,12})([kmg]?)b?$/i.exec(text);
  if (match === null) return undefined;
  const [, digits, unit = ''] = match;
  return Number(digits) * 1024 ** ['', 'k', 'm', 'g'].indexOf(unit.toLowerCase());
}

function parseSeconds(text: string): number | undefined {
  const match = /^(\d{1,7})s?$/.exec(text);
  const seconds = Number(match?.[1] ?? 0);
  return seconds === 0 ? undefined : Math.min(seconds * 1000, 2 ** 31 - 1);
}

function parseBoolean(text: string): boolean | undefined {
  return text === 'true' ? true : text === 'false' ? false : undefined;
}

function parseProtocol(text: string): Settings['protocol'] | undefined {
  const name = text.toLowerCase();
  return name === 'http' || name === 'https' ? name : undefined;
}
