// Headers as a reverse proxy passes them on: pure. What concerns one connection only stays there; who
// asks is told in the headers that apps know, and what the client says of that itself is dropped: it
// would be believed.
// Source: RFC 9110 section 7.6, RFC 9112 section 9.6.
import type { IncomingHttpHeaders } from 'node:http';

const hopByHop = new Set([
  'connection',
  // Answered by our own server.
  'expect',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Said anew by us. */
const aboutTheClient = new Set([
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-proto',
  'x-forwarded-scheme',
  'x-real-ip',
  'x-scheme',
]);

export interface Client {
  readonly address: string;
  readonly isTls: boolean;
  /** Ours, which it connected to. */
  readonly port: number;
}

/** As a client of HTTP/2 says it, or any other. */
export function authorityOf({ headers }: { readonly headers: IncomingHttpHeaders }): string {
  const { ':authority': authority, host = '' } = headers;
  return typeof authority === 'string' ? authority : host;
}

/** Names and values in turn, as Node has them raw. How a body is framed is for each connection to say. */
export function requestHeaders(raw: readonly string[], client: Client): string[] {
  const kept = endToEnd(raw, aboutTheClient);
  const authority = valueOf(raw, ':authority');
  const host = authority ?? valueOf(raw, 'host') ?? '';
  if (authority !== undefined) asOlderHttp(kept, authority);
  const scheme = client.isTls ? 'https' : 'http';
  kept.push('X-Forwarded-For', client.address, 'X-Real-IP', client.address);
  kept.push('X-Forwarded-Host', host, 'X-Forwarded-Port', String(client.port));
  kept.push('X-Forwarded-Proto', scheme);
  return kept;
}

export function responseHeaders(raw: readonly string[]): string[] {
  return endToEnd(raw);
}

/** Of HTTP/2: one Host, and one Cookie of the many (RFC 9113 section 8.2.3). */
function asOlderHttp(kept: string[], authority: string): void {
  const cookies: string[] = [];
  for (let i = kept.length - 2; i >= 0; i -= 2) {
    const isCookie = kept[i] === 'cookie';
    if (isCookie) cookies.unshift(kept[i + 1] ?? '');
    if (isCookie || kept[i] === 'host') kept.splice(i, 2);
  }
  kept.push('Host', authority);
  if (cookies.length > 0) kept.push('Cookie', cookies.join('; '));
}

const none: ReadonlySet<string> = new Set();

function endToEnd(raw: readonly string[], without = none): string[] {
  const named = namedByConnection(raw);
  const kept: string[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? '';
    const lower = name.toLowerCase();
    // HTTP/2's own.
    if (lower.startsWith(':')) continue;
    if (hopByHop.has(lower) || without.has(lower) || named?.has(lower) === true) continue;
    kept.push(name, raw[i + 1] ?? '');
  }
  return kept;
}

/** `Connection: close, X-Custom` makes X-Custom this connection's, too. */
function namedByConnection(raw: readonly string[]): Set<string> | undefined {
  let named: Set<string> | undefined;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    if (raw[i]?.toLowerCase() !== 'connection') continue;
    named ??= new Set();
    for (const token of (raw[i + 1] ?? '').split(',')) named.add(token.trim().toLowerCase());
  }
  // Nobody may have these taken away on the way.
  for (const name of ['host', 'content-length', 'authorization', 'cookie']) named?.delete(name);
  return named;
}

/** The first of that name. */
export function valueOf(raw: readonly string[], name: string): string | undefined {
  for (let i = 0; i + 1 < raw.length; i += 2) if (raw[i]?.toLowerCase() === name) return raw[i + 1];
  return undefined;
}

/**
 * Whether a path says one thing and means another: with dot segments in it, also encoded, a rule for
 * `/public` would let `/public/../private` through to those who resolve it. Browsers resolve before
 * they ask.
 */
export function isAmbiguousPath(path: string): boolean {
  return /(?:^|[/\\])(?:\.|%2e){1,2}(?:[/\\;]|$)/i.test(path);
}
