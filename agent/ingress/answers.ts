// What the ingress says itself: a status, and a sentence for a person; as a page for a browser.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { STATUS_CODES } from 'node:http';

export interface Answer {
  readonly status: number;
  readonly sentence: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** On the page only. */
  readonly link?: { readonly path: string; readonly text: string };
}

export interface FileAnswer {
  readonly type: string;
  /** What it is to be called where it is kept. */
  readonly fileName?: string;
  readonly body: string | Buffer;
}

/** `trustPath`: where the home's certificates can be trusted, for who came here by an address. */
export function noSuchHost(host: string, trustPath?: string): Answer {
  const link = trustPath && { path: trustPath, text: 'Trust the apps of this home on this device' };
  return {
    status: 404,
    sentence: `No app of this home answers at ${host}.`,
    ...(link && { link }),
  };
}

export function noPods(backend: string): Answer {
  return {
    status: 503,
    sentence: `The app behind this address (${backend}) is not running yet, or not any more.`,
    headers: { 'Retry-After': '5' },
  };
}

export function noCertificateYet(host: string): Answer {
  return {
    status: 503,
    sentence: `${host} is for HTTPS only, and its certificate is not known here until this machine reaches the cluster's API server.`,
    headers: { 'Retry-After': '5' },
  };
}

export function unreachable(backend: string): Answer {
  return { status: 502, sentence: `The app behind this address (${backend}) does not answer.` };
}

export function tooSlow(backend: string): Answer {
  return { status: 504, sentence: `The app behind this address (${backend}) takes too long.` };
}

export function tooLarge(bytesMax: number): Answer {
  return { status: 413, sentence: `More than ${bytesMax} bytes are not taken here.` };
}

export const ambiguous: Answer = {
  status: 400,
  sentence: 'The path has dot segments: ask for what it means instead.',
};

export function redirection(location: string): Answer {
  return { status: 308, sentence: `This is at ${location}.`, headers: { Location: location } };
}

export function send(request: IncomingMessage, response: ServerResponse, answer: Answer): void {
  const isPage = (request.headers.accept ?? '').includes('text/html');
  const body = Buffer.from(isPage ? page(answer) : `${answer.sentence}\n`);
  // What is left of the request is not read: the connection can't be used again.
  const ends = request.complete || request.httpVersionMajor === 2 ? {} : { Connection: 'close' };
  response.writeHead(answer.status, {
    'Content-Type': isPage ? 'text/html; charset=utf-8' : 'text/plain; charset=utf-8',
    'Content-Length': body.length,
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    ...answer.headers,
    ...ends,
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

/** Of our own, with no scripts and nothing from elsewhere. */
export function sendFile(
  request: IncomingMessage,
  response: ServerResponse,
  { type, fileName, body }: FileAnswer,
): void {
  const bytes = Buffer.from(body);
  response.writeHead(200, {
    'Content-Type': type,
    'Content-Length': bytes.length,
    'Cache-Control': 'no-store',
    'Content-Security-Policy':
      "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    'X-Content-Type-Options': 'nosniff',
    ...(fileName === undefined
      ? {}
      : { 'Content-Disposition': `attachment; filename="${fileName}"` }),
  });
  response.end(request.method === 'HEAD' ? undefined : bytes);
}

/** For a connection that is no longer HTTP's. */
export function rawAnswer({ status, sentence }: Answer): string {
  const head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\n`;
  const body = `${sentence}\n`;
  return `${head}Content-Type: text/plain; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

function page({ status, sentence, headers, link }: Answer): string {
  const refresh = headers?.['Retry-After'];
  const again = refresh === undefined ? '' : `<meta http-equiv="refresh" content="${refresh}">`;
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">${again}
<title>${status} ${escaped(STATUS_CODES[status] ?? '')}</title>
<style>
  body { font: 1rem/1.5 system-ui, sans-serif; max-width: 32rem; margin: 20vh auto; padding: 0 1.5rem }
  h1 { font-size: 1.25rem; margin: 0 0 .5rem }
  small { opacity: .7 }
</style>
<h1>${escaped(sentence)}</h1>${link === undefined ? '' : `\n<p><a href="${link.path}">${link.text}</a></p>`}
<small>${status} ${escaped(STATUS_CODES[status] ?? '')} · Flotilla</small>
</html>
`;
}

function escaped(text: string): string {
  const entities: Record<string, string> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
  };
  return text.replaceAll(/[&<>"]/g, (character) => entities[character] ?? '');
}
