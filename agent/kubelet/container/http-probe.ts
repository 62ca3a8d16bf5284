// One HTTP request of a probe or hook. Redirects are followed on the same host; one that leads
// elsewhere is a success with a warning. Source: kubernetes pkg/probe/http/{http,request}.go.
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connectionFailure } from './connection-failure.ts';

export interface HttpProbe {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
}

export interface HttpOutcome {
  readonly isSuccess: boolean;
  readonly output: string;
  /** Worth telling though it succeeded. */
  readonly warning?: string;
}

interface Answer {
  readonly status: number;
  readonly location: string | undefined;
  readonly body: string;
}

const bodyLimitBytes = 10 * 1024;
const redirectsMax = 10;

export async function httpProbe({ url, headers, timeoutMs }: HttpProbe): Promise<HttpOutcome> {
  const signal = AbortSignal.timeout(timeoutMs);
  let at = url;
  let sent = headers;
  for (let redirects = 0; ; redirects++) {
    const answer = await ask(at, sent, signal).catch((error: Error) => error);
    if (answer instanceof BodyError) return { isSuccess: false, output: answer.message };
    if (answer instanceof Error)
      return { isSuccess: false, output: `Get "${textOf(at)}": ${answer.message}` };
    const next = redirectOf(answer, at);
    const isElsewhere = next !== undefined && next.hostname !== url.hostname;
    if (next === undefined || isElsewhere) return verdict(answer);
    if (redirects + 1 >= redirectsMax)
      return {
        isSuccess: false,
        output: `Get "${textOf(next)}": stopped after ${redirectsMax} redirects`,
      };
    // A host name that was asked for goes along only where the redirect names none.
    if (URL.canParse(answer.location ?? '')) sent = without(sent, 'host');
    at = next;
  }
}

function verdict({ status, body }: Answer): HttpOutcome {
  if (status < 200 || status >= 400)
    return { isSuccess: false, output: `HTTP probe failed with statuscode: ${status}` };
  const success = { isSuccess: true, output: '' };
  if (status < 300) return success;
  return { ...success, warning: `Probe terminated redirects, Response body: ${body}` };
}

function redirectOf({ status, location }: Answer, at: URL): URL | undefined {
  if (![301, 302, 303, 307, 308].includes(status) || location === undefined) return undefined;
  return URL.canParse(location, at.href) ? new URL(location, at) : undefined;
}

function portOf({ port, protocol }: URL): number {
  return Number(port === '' ? (protocol === 'https:' ? 443 : 80) : port);
}

/** With its port, also where that is the scheme's own: so people search for it. */
function textOf(url: URL): string {
  return `${url.protocol}//${url.hostname}:${portOf(url)}${url.pathname}${url.search}`;
}

function without(headers: Readonly<Record<string, string>>, name: string): Record<string, string> {
  const { [name]: _unused, ...rest } = headers;
  return rest;
}

function ask(url: URL, headers: HttpProbe['headers'], signal: AbortSignal): Promise<Answer> {
  const isHttps = url.protocol === 'https:';
  const send = isHttps ? httpsRequest : httpRequest;
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const port = portOf(url);
  const path = url.pathname + url.search;
  const options = { host, port, path, headers, agent: false, rejectUnauthorized: false, signal };
  return new Promise((resolve, reject) => {
    let isDialed = false;
    let isAnswered = false;
    const request = send(options, (response) => {
      isAnswered = true;
      readAnswer(response).then(resolve, (error: unknown) => {
        const timeout =
          'context deadline exceeded (Client.Timeout or context cancellation while reading body)';
        reject(new BodyError(signal.aborted ? timeout : 'unexpected EOF', { cause: error }));
      });
    });
    request.once('socket', (socket) => socket.once('connect', () => (isDialed = true)));
    request.on('error', (error) => {
      // Told by the reading of the body.
      if (isAnswered) return;
      const timeout = 'context deadline exceeded (Client.Timeout exceeded while awaiting headers)';
      const failure = connectionFailure(error);
      const why = isDialed ? failure : `dial tcp ${url.hostname}:${port}: ${failure}`;
      reject(new Error(signal.aborted ? timeout : why, { cause: error }));
    });
    request.end();
  });
}

/**
 * The status came, and not all that should follow. Differs: Kubernetes tells it and counts nothing, so that
 * a program that hangs there is ready, and alive, for ever.
 */
class BodyError extends Error {
  override readonly name = 'BodyError';
}

/** A huge body is not waited for. */
async function readAnswer(response: IncomingMessage): Promise<Answer> {
  const parts: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    parts.push(chunk);
    sizeBytes += chunk.length;
    if (sizeBytes > bodyLimitBytes) break;
  }
  const body = Buffer.concat(parts).subarray(0, bodyLimitBytes).toString();
  return { status: response.statusCode ?? 0, location: response.headers.location, body };
}
