// A bucket in memory that answers as Amazon S3 does, as far as S3Store asks: whole objects, parts, lists of two at a time.
// It works out each signature for itself, from Amazon's description of version 4.
import { createHash, createHmac } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export const fakeKeys = { accessKeyId: 'AKIDTEST', secretAccessKey: 'secret/of+tests' } as const;
const pageSize = 2;

interface Answer {
  readonly status: number;
  readonly body?: string | Buffer;
  readonly headers?: Readonly<Record<string, string>>;
}

export class FakeS3 {
  readonly objects = new Map<string, Buffer>();
  readonly uploads = new Map<string, Map<number, Buffer>>();
  /** What the next requests are answered instead. */
  readonly failures: Answer[] = [];
  requests = 0;
  largestBody = 0;
  readonly #bucket: string;
  readonly #server = createServer((request, response) => void this.#serve(request, response));

  constructor(bucket: string) {
    this.#bucket = bucket;
  }

  listen(): Promise<string> {
    return new Promise((resolve) => {
      this.#server.listen(0, '127.0.0.1', () =>
        resolve(`http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`),
      );
    });
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece as Buffer);
    const body = Buffer.concat(pieces);
    this.requests++;
    this.largestBody = Math.max(this.largestBody, body.length);
    const {
      status,
      body: text = '',
      headers = {},
    } = this.failures.shift() ?? this.#answer(request, body);
    response.writeHead(status, headers).end(text);
  }

  #answer(request: IncomingMessage, body: Buffer): Answer {
    const url = new URL(request.url ?? '/', 'http://fake');
    const why = signatureProblem(request, url, body);
    if (why !== undefined) return failure(403, why);
    const [, bucket = '', ...rest] = url.pathname.split('/').map(decodeURIComponent);
    if (bucket !== this.#bucket) return failure(404, 'NoSuchBucket');
    const key = rest.join('/');
    const query = url.searchParams;
    if (key === '') return this.#list(query);
    if (query.has('uploads')) {
      const id = `upload&${this.uploads.size}`;
      this.uploads.set(id, new Map());
      return { status: 200, body: `<R><UploadId>${id.replace('&', '&amp;')}</UploadId></R>` };
    }
    const uploadId = query.get('uploadId');
    if (uploadId !== null) return this.#upload(request.method, key, { uploadId, query, body });
    return this.#object(request.method, key, body);
  }

  #object(method: string | undefined, key: string, body: Buffer): Answer {
    const object = this.objects.get(key);
    if (method === 'PUT') this.objects.set(key, body);
    if (method === 'DELETE') this.objects.delete(key);
    if (method === 'DELETE') return { status: 204 };
    if (method === 'PUT') return { status: 200 };
    return object === undefined ? failure(404, 'NoSuchKey') : { status: 200, body: object };
  }

  #upload(
    method: string | undefined,
    key: string,
    { uploadId, query, body }: { uploadId: string; query: URLSearchParams; body: Buffer },
  ): Answer {
    const parts = this.uploads.get(uploadId);
    if (parts === undefined) return failure(404, 'NoSuchUpload');
    if (method === 'PUT') {
      const number = Number(query.get('partNumber'));
      parts.set(number, body);
      return { status: 200, headers: { etag: `"part-${number}"` } };
    }
    this.uploads.delete(uploadId);
    if (method === 'DELETE') return { status: 204 };
    const numbers = [...body.toString().matchAll(/<PartNumber>(\d+)<.*?"part-(\d+)"/g)];
    const listed = numbers.map(([, number]) => parts.get(Number(number)) ?? Buffer.alloc(0));
    this.objects.set(key, Buffer.concat(listed));
    return { status: 200, body: '<CompleteMultipartUploadResult/>' };
  }

  #list(query: URLSearchParams): Answer {
    const keys = [...this.objects.keys()]
      .filter((key) => key.startsWith(query.get('prefix') ?? ''))
      .toSorted();
    const from = Number(query.get('continuation-token') ?? 0);
    const page = keys.slice(from, from + pageSize).map((key) => {
      const size = this.objects.get(key)?.length;
      return `<Contents><Key>${key}</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified><Size>${size}</Size></Contents>`;
    });
    const isMore = from + pageSize < keys.length;
    const next = isMore ? `<NextContinuationToken>${from + pageSize}</NextContinuationToken>` : '';
    const body = `<ListBucketResult><IsTruncated>${isMore}</IsTruncated>${page.join('')}${next}</ListBucketResult>`;
    return { status: 200, body };
  }
}

export function failure(status: number, code: string): Answer {
  return { status, body: `<?xml version="1.0"?><Error><Code>${code}</Code></Error>` };
}

/** Source: docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html. */
function signatureProblem(
  { method = '', headers }: IncomingMessage,
  url: URL,
  body: Buffer,
): string | undefined {
  const given =
    /Credential=([^/]+)\/(\d+)\/([^/]+)\/s3\/aws4_request, SignedHeaders=([^,]+), Signature=(\w+)/.exec(
      headers.authorization ?? '',
    );
  const [, keyId, day = '', region = '', signedHeaders = '', signature] = given ?? [];
  if (keyId !== fakeKeys.accessKeyId) return 'InvalidAccessKeyId';
  const sha256 = (content: string | Buffer) => createHash('sha256').update(content).digest('hex');
  if (headers['x-amz-content-sha256'] !== sha256(body)) return 'XAmzContentSHA256Mismatch';
  const query = [...url.searchParams]
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
    .toSorted();
  const lines = signedHeaders.split(';').map((name) => `${name}:${String(headers[name])}\n`);
  const canonical = [
    method,
    url.pathname,
    query.join('&'),
    lines.join(''),
    signedHeaders,
    sha256(body),
  ];
  const scope = `${day}/${region}/s3/aws4_request`;
  const date = String(headers['x-amz-date']);
  const toSign = ['AWS4-HMAC-SHA256', date, scope, sha256(canonical.join('\n'))].join('\n');
  const hmac = (key: string | Buffer, text: string) =>
    createHmac('sha256', key).update(text).digest();
  let key = hmac(`AWS4${fakeKeys.secretAccessKey}`, day);
  for (const part of [region, 's3', 'aws4_request']) key = hmac(key, part);
  return hmac(key, toSign).toString('hex') === signature ? undefined : 'SignatureDoesNotMatch';
}
