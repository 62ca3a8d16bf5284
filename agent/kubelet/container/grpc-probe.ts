// One call of grpc.health.v1.Health/Check over HTTP/2 without TLS, its frames and its two tiny
// protobuf messages made by hand. What counts as healthy and how failures read.
// Source: kubernetes pkg/probe/grpc/grpc.go; the gRPC over HTTP/2 protocol; grpc/health/v1.
import {
  connect,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type IncomingHttpHeaders,
} from 'node:http2';
import { STATUS_CODES } from 'node:http';
import { isIPv6 } from 'node:net';
import { connectionFailure } from './connection-failure.ts';
import type { ProbeOutcome } from './probe.ts';

export interface GrpcProbe {
  readonly host: string;
  readonly port: number;
  /** '': the server as a whole. */
  readonly service: string;
  readonly timeoutMs: number;
  /** Aborts when that time is over. */
  readonly signal: AbortSignal;
}

/** A health answer is two bytes long; who sends more than this is no health service. */
const messageLimitBytes = 64 * 1024;
const frameHeaderBytes = 5;

interface RpcStatus {
  readonly code: number;
  readonly message: string;
}

interface Answer {
  headers: IncomingHttpHeaders;
  trailers: IncomingHttpHeaders;
  body: Buffer;
}

/** Never rejects. The time allowed is for connecting and the call together. */
export function grpcProbe(probe: GrpcProbe): Promise<ProbeOutcome> {
  const { host, port, timeoutMs, signal } = probe;
  const address = isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
  const within = `${timeoutMs / 1000}s`;
  return new Promise((resolve) => {
    let isConnected = false;
    const session = connect(`http://${address}`);
    const end = (outcome: ProbeOutcome) => {
      signal.removeEventListener('abort', onTimeout);
      session.destroy();
      resolve(outcome);
    };
    const fail = (output: string) => end({ isSuccess: false, output });
    const onTimeout = () =>
      fail(
        isConnected
          ? `timeout: health rpc did not complete within ${within}`
          : `timeout: failed to connect service "${address}" within ${within}: context deadline exceeded`,
      );
    signal.addEventListener('abort', onTimeout);
    // Differs: a refused connection is told at once; Kubernetes tries until the time is over.
    session.on('error', (error) =>
      fail(
        isConnected
          ? rpcFailure({ code: codes.Unavailable, message: error.message })
          : `error: failed to connect service at "${address}": ${connectionFailure(error)}`,
      ),
    );
    session.once('close', () =>
      fail(rpcFailure({ code: codes.Unavailable, message: 'the connection was closed' })),
    );
    // Only a server that speaks HTTP/2 sends its settings.
    session.once('remoteSettings', () => {
      isConnected = true;
      void check(session, probe, address).then(
        (answer) => end(verdict(answer)),
        (error: unknown) => fail(rpcFailure({ code: codes.Unavailable, message: String(error) })),
      );
    });
  });
}

function check(session: ClientHttp2Session, probe: GrpcProbe, address: string): Promise<Answer> {
  const stream = session.request({
    ':method': 'POST',
    ':path': '/grpc.health.v1.Health/Check',
    ':authority': address,
    'content-type': 'application/grpc',
    te: 'trailers',
    'user-agent': 'kube-probe/1.35',
    'grpc-timeout': `${probe.timeoutMs}m`,
  });
  stream.end(frame(healthCheckRequest(probe.service)));
  return answerOf(stream);
}

function answerOf(stream: ClientHttp2Stream): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const answer: Answer = { headers: {}, trailers: {}, body: Buffer.alloc(0) };
    stream.on('response', (headers) => (answer.headers = headers));
    stream.on('trailers', (trailers) => (answer.trailers = trailers));
    stream.on('data', (chunk: Buffer) => {
      answer.body = Buffer.concat([answer.body, chunk]);
      if (answer.body.length > messageLimitBytes)
        stream.destroy(new Error(`the answer is larger than ${messageLimitBytes} bytes`));
    });
    stream.on('error', reject);
    stream.on('close', () => resolve(answer));
  });
}

/** Pure: what the server answered → whether it is healthy. */
function verdict(answer: Answer): ProbeOutcome {
  const fail = (output: string) => ({ isSuccess: false, output });
  const status = statusOf(answer);
  if (status.code === codes.Unimplemented)
    return fail(
      `error: this server does not implement the grpc health protocol (grpc.health.v1.Health): ${status.message}`,
    );
  if (status.code !== codes.OK) return fail(rpcFailure(status));
  const message = unframe(answer.body);
  if (typeof message === 'string') return fail(rpcFailure({ code: codes.Internal, message }));
  const serving = servingStatus(message);
  if (serving === undefined)
    return fail(rpcFailure({ code: codes.Internal, message: 'the answer is no protobuf message' }));
  if (serving === servingStatuses.indexOf('SERVING'))
    return { isSuccess: true, output: 'service healthy' };
  return fail(`service unhealthy (responded with "${servingStatuses[serving] ?? serving}")`);
}

/** A server that answers at once puts the status into its headers, all others into trailers. */
function statusOf({ headers, trailers }: Answer): RpcStatus {
  const fields = trailers['grpc-status'] === undefined ? headers : trailers;
  const code = fields['grpc-status'];
  if (code !== undefined) {
    const number = /^\d+$/.test(String(code)) ? Number(code) : codes.Unknown;
    return { code: number, message: percentDecoded(String(fields['grpc-message'] ?? '')) };
  }
  const http = Number(headers[':status'] ?? 0);
  if (http !== 200) {
    const text = `${http} (${STATUS_CODES[http] ?? ''})`;
    const message = `unexpected HTTP status code received from server: ${text}`;
    return { code: codeOfHttp(http), message };
  }
  const contentType = headers['content-type'] ?? '';
  if (!contentType.startsWith('application/grpc')) {
    const message = `unexpected content-type ${JSON.stringify(contentType)}`;
    return { code: codes.Unknown, message };
  }
  return { code: codes.Internal, message: 'server closed the stream without sending trailers' };
}

const codeNames = [
  'OK',
  'Canceled',
  'Unknown',
  'InvalidArgument',
  'DeadlineExceeded',
  'NotFound',
  'AlreadyExists',
  'PermissionDenied',
  'ResourceExhausted',
  'FailedPrecondition',
  'Aborted',
  'OutOfRange',
  'Unimplemented',
  'Internal',
  'Unavailable',
  'DataLoss',
  'Unauthenticated',
] as const;

const codes = Object.fromEntries(codeNames.map((name, code) => [name, code])) as Readonly<
  Record<(typeof codeNames)[number], number>
>;

const servingStatuses = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'];

function rpcFailure({ code, message }: RpcStatus): string {
  const name = codeNames[code] ?? `Code(${code})`;
  return `error: health rpc probe failed: rpc error: code = ${name} desc = ${message}`;
}

function codeOfHttp(status: number): number {
  const known: Readonly<Record<number, number>> = {
    400: codes.Internal,
    401: codes.Unauthenticated,
    403: codes.PermissionDenied,
    404: codes.Unimplemented,
    429: codes.Unavailable,
    502: codes.Unavailable,
    503: codes.Unavailable,
    504: codes.Unavailable,
  };
  return known[status] ?? codes.Unknown;
}

function percentDecoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // Not encoded as it should be: better as it came than not at all.
    return text;
  }
}

/** Length-prefixed and not compressed. */
function frame(message: Buffer): Buffer {
  const header = Buffer.alloc(frameHeaderBytes);
  header.writeUInt32BE(message.length, 1);
  return Buffer.concat([header, message]);
}

/** The one message of a body, or what is wrong with it. */
function unframe(body: Buffer): Buffer | string {
  if (body.length < frameHeaderBytes) return 'the answer has no message';
  if (body[0] !== 0) return 'the answer is compressed, which was not asked for';
  const end = frameHeaderBytes + body.readUInt32BE(1);
  return end > body.length ? 'the answer is cut off' : body.subarray(frameHeaderBytes, end);
}

/** `string service = 1`. */
function healthCheckRequest(service: string): Buffer {
  const text = Buffer.from(service);
  if (text.length === 0) return text;
  return Buffer.concat([Buffer.from([0x0a, ...varint(text.length)]), text]);
}

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)];
}

/** `ServingStatus status = 1`, 0 when left out; unknown fields are passed over. */
function servingStatus(message: Buffer): number | undefined {
  let position = 0;
  const readVarint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 64; shift += 7) {
      const byte = message[position++] ?? NaN;
      value += (byte & 0x7f) * 2 ** shift;
      if (!(byte & 0x80)) return Number.isNaN(byte) ? NaN : value;
    }
    return NaN;
  };
  let status = 0;
  while (position < message.length) {
    const tag = readVarint();
    const wireType = tag % 8;
    if (wireType === 0) {
      const value = readVarint();
      if (tag === 0x08) status = value;
    } else if (wireType === 1) position += 8;
    else if (wireType === 2) position += readVarint();
    else if (wireType === 5) position += 4;
    else return undefined;
  }
  return position === message.length && Number.isFinite(status) ? status : undefined;
}
