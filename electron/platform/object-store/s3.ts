// Objects in a bucket that is spoken to as Amazon S3 is: a NAS, MinIO, Garage, Backblaze, Amazon. What is larger than a part
// goes up in parts and becomes one object at once when all are there: never more than one of them is in memory.
// Source: docs.aws.amazon.com/AmazonS3/latest/API (PutObject, UploadPart, CompleteMultipartUpload, ListObjectsV2).
import { createHash } from 'node:crypto';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { AwsV4Signer } from 'aws4fetch';
import { delay, type Clock } from '#kube/base/clock.ts';
import type { Chunks } from '../age/byte-reader.ts';
import {
  assertObjectName,
  type ObjectStore,
  ObjectStoreError,
  type StoredObject,
} from './object-store.ts';

export interface S3Options {
  /** `https://s3.eu-central-1.amazonaws.com`, `http://nas.local:9000`. */
  readonly endpoint: string;
  readonly bucket: string;
  /** Before each name; '' or with a slash at its end. */
  readonly prefix?: string;
  /** Most that are not Amazon's take any. */
  readonly region?: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly clock: Clock;
  /** Tests have small ones; no less than 5 MiB elsewhere. */
  readonly partBytes?: number;
}

interface Call {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  readonly key?: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly signal?: AbortSignal | undefined;
}

const partBytes = 8 * 1024 * 1024;
/** Of at most 10,000 parts the later ones are larger: 8 GB in small ones, 500 GB more in large ones. */
const smallParts = 1_000;
const largePart = 8;
const silenceMs = 60_000;
const attemptsMax = 3;
const retryMs = 1_000;
const answerMax = 4 * 1024 * 1024;

export class S3Store implements ObjectStore {
  readonly place: string;
  readonly #options: S3Options;
  readonly #url: URL;

  /** Throws ObjectStoreError when what it is given names no bucket. */
  constructor(options: S3Options) {
    const url = URL.parse(options.endpoint);
    if (url === null || !/^https?:$/.test(url.protocol) || !/^\/?$/.test(url.pathname))
      throw new ObjectStoreError(
        'bad-name',
        `"${options.endpoint}" is no address of a server: give one such as https://s3.example.org.`,
      );
    if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(options.bucket))
      throw new ObjectStoreError(
        'bad-name',
        `"${options.bucket}" can't name a bucket: use 3 to 63 small letters, digits, "." and "-".`,
      );
    this.#options = options;
    this.#url = url;
    this.place = `the bucket ${options.bucket} of ${url.host}`;
  }

  async put(name: string, chunks: Chunks, signal?: AbortSignal): Promise<StoredObject> {
    assertObjectName(name);
    const parts = inParts(chunks, this.#options.partBytes ?? partBytes);
    const first = await parts.next();
    const body = first.done === true ? new Uint8Array() : first.value;
    const second = await parts.next();
    signal?.throwIfAborted();
    let sizeBytes = body.length;
    if (second.done === true) await this.#text({ method: 'PUT', key: name, body, signal });
    else sizeBytes = await this.#putInParts(name, joined([body, second.value], parts), signal);
    return { name, sizeBytes, modifiedMs: this.#options.clock.now() };
  }

  async *get(name: string, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    assertObjectName(name);
    const answer = await this.#call({ method: 'GET', key: name, signal });
    try {
      for await (const chunk of answer) yield chunk as Uint8Array;
    } catch (error) {
      throw this.#away(error, signal);
    } finally {
      answer.destroy();
    }
  }

  async list(prefix = '', signal?: AbortSignal): Promise<readonly StoredObject[]> {
    const { prefix: before = '' } = this.#options;
    const found: StoredObject[] = [];
    let token: string | undefined;
    do {
      const query = {
        'list-type': '2',
        prefix: before + prefix,
        ...(token === undefined ? {} : { 'continuation-token': token }),
      };
      const xml = await this.#text({ method: 'GET', query, signal });
      for (const [, entry = ''] of xml.matchAll(/<Contents>(.*?)<\/Contents>/gs)) {
        const name = textOf(entry, 'Key').slice(before.length);
        // What others keep in the bucket is not ours to tell of.
        if (!isName(name)) continue;
        const modifiedMs = Date.parse(textOf(entry, 'LastModified'));
        found.push({ name, sizeBytes: Number(textOf(entry, 'Size')), modifiedMs });
      }
      token = textOf(xml, 'IsTruncated') === 'true' ? textOf(xml, 'NextContinuationToken') : '';
    } while (token !== '');
    return found.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  async delete(name: string, signal?: AbortSignal): Promise<void> {
    assertObjectName(name);
    try {
      await this.#text({ method: 'DELETE', key: name, signal });
    } catch (error) {
      if (!(error instanceof ObjectStoreError && error.problem === 'missing')) throw error;
    }
  }

  async #putInParts(
    key: string,
    parts: AsyncIterable<Uint8Array>,
    signal: AbortSignal | undefined,
  ): Promise<number> {
    const begun = await this.#text({ method: 'POST', key, query: { uploads: '' }, signal });
    const uploadId = textOf(begun, 'UploadId');
    const tags: string[] = [];
    let sizeBytes = 0;
    try {
      for await (const body of parts) {
        signal?.throwIfAborted();
        const query = { partNumber: String(tags.length + 1), uploadId };
        const answer = await this.#call({ method: 'PUT', key, query, body, signal });
        answer.resume();
        tags.push(answer.headers.etag ?? '');
        sizeBytes += body.length;
      }
      signal?.throwIfAborted();
      const list = tags.map(
        (tag, index) => `<Part><PartNumber>${index + 1}</PartNumber><ETag>${tag}</ETag></Part>`,
      );
      const xml = `<CompleteMultipartUpload>${list.join('')}</CompleteMultipartUpload>`;
      const call = { method: 'POST', key, query: { uploadId }, body: Buffer.from(xml) } as const;
      const ended = await this.#text({ ...call, signal });
      // It may say 200 before it knows.
      if (ended.includes('<Error>')) throw this.#problemOf(500, ended);
    } catch (error) {
      // Parts that nobody takes away are paid for.
      await this.#text({ method: 'DELETE', key, query: { uploadId } }).catch(() => undefined);
      throw error;
    }
    return sizeBytes;
  }

  async #text(call: Call): Promise<string> {
    const answer = await this.#call(call);
    try {
      return await textFrom(answer);
    } catch (error) {
      throw this.#away(error, call.signal);
    }
  }

  /** An answer that is none of its errors. What has no answer, or "later", is asked again. */
  async #call(call: Call): Promise<IncomingMessage> {
    const { clock } = this.#options;
    for (let attempt = 1; ; attempt++) {
      let problem: Error;
      try {
        const answer = await this.#send(call);
        const { statusCode = 500 } = answer;
        if (statusCode < 300) return answer;
        problem = this.#problemOf(statusCode, await textFrom(answer));
        if (statusCode < 500) throw problem;
      } catch (error) {
        if (error instanceof ObjectStoreError) throw error;
        problem = this.#away(error, call.signal);
      }
      if (attempt === attemptsMax) throw problem;
      await delay(clock, retryMs * attempt, call.signal);
      call.signal?.throwIfAborted();
    }
  }

  async #send({ method, key, query = {}, body, signal }: Call): Promise<IncomingMessage> {
    const { bucket, prefix = '', region = 'us-east-1', clock, ...keys } = this.#options;
    const path = key === undefined ? bucket : `${bucket}/${prefix}${key}`;
    const url = new URL(path, this.#url);
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    const content = body ?? new Uint8Array();
    const signed = await new AwsV4Signer({
      method,
      url: url.href,
      accessKeyId: keys.accessKeyId,
      secretAccessKey: keys.secretAccessKey,
      headers: { 'x-amz-content-sha256': createHash('sha256').update(content).digest('hex') },
      service: 's3',
      region,
      datetime: new Date(clock.now()).toISOString().replace(/[:-]|\.\d{3}/g, ''),
    }).sign();
    const headers = Object.fromEntries(signed.headers);
    if (method !== 'GET') headers['content-length'] = String(content.length);
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    return new Promise((resolve, reject) => {
      const options = { method, headers, timeout: silenceMs, ...(signal && { signal }) };
      const outgoing = send(signed.url, options, resolve);
      outgoing.once('timeout', () => outgoing.destroy(new Error('it says nothing')));
      outgoing.on('error', reject);
      outgoing.end(content);
    });
  }

  #problemOf(status: number, xml: string): ObjectStoreError {
    const code = textOf(xml, 'Code') || `status ${status}`;
    const say = (problem: ObjectStoreError['problem'], text: string) =>
      new ObjectStoreError(problem, text);
    const at = capitalized(this.place);
    switch (code) {
      case 'NoSuchBucket':
        return say('away', `${at} is not there: make it, or choose another one.`);
      case 'NoSuchKey':
      case 'NoSuchUpload':
        return say('missing', `${at} has no such object.`);
      case 'RequestTimeTooSkewed':
        return say(
          'refused',
          `${at} refuses because its clock and this machine's differ: set them.`,
        );
      case 'InvalidAccessKeyId':
      case 'SignatureDoesNotMatch':
        return say('refused', `${at} does not know this key: check the access key and its secret.`);
      case 'AccessDenied':
        return say(
          'refused',
          `${at} does not allow this: give the key the right to read, write, list and delete.`,
        );
      case 'XMinioStorageFull':
      case 'QuotaExceeded':
        return say('full', `${at} is full: make room, or choose another place.`);
      default:
        if (status === 404) return say('missing', `${at} has no such object.`);
        return status === 403
          ? say(
              'refused',
              `${at} refuses: check the access key, its secret and its rights (${code}).`,
            )
          : say('failed', `${at} failed (${code}): try again later.`);
    }
  }

  #away(error: unknown, signal: AbortSignal | undefined): Error {
    if (signal?.aborted === true) return signal.reason as Error;
    const why = error instanceof Error ? error.message : String(error);
    return new ObjectStoreError(
      'away',
      `${capitalized(this.place)} can't be reached (${why}): check its address and whether it is on.`,
      { cause: error },
    );
  }
}

/** As long as they may be, and the last one shorter. */
async function* inParts(chunks: Chunks, size: number): AsyncGenerator<Uint8Array> {
  let pieces: Uint8Array[] = [];
  let [length, count] = [0, 0];
  for await (const chunk of chunks) {
    let rest = chunk;
    for (;;) {
      const room = (count < smallParts ? size : size * largePart) - length;
      if (rest.length < room) break;
      yield Buffer.concat([...pieces, rest.subarray(0, room)]);
      rest = rest.subarray(room);
      [pieces, length] = [[], 0];
      count++;
    }
    // Whoever gave it may use it again.
    if (rest.length > 0) pieces.push(Uint8Array.from(rest));
    length += rest.length;
  }
  if (length > 0) yield Buffer.concat(pieces);
}

async function* joined<T>(first: readonly T[], rest: AsyncIterable<T>): AsyncGenerator<T> {
  yield* first;
  yield* rest;
}

async function textFrom(answer: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const chunk of answer) {
    length += (chunk as Buffer).length;
    if (length <= answerMax) pieces.push(chunk as Buffer);
  }
  return Buffer.concat(pieces).toString();
}

/** Of the first element of that name; '' when there is none. */
function textOf(xml: string, element: string): string {
  const text = new RegExp(`<${element}>([^<]*)</${element}>`).exec(xml)?.[1] ?? '';
  return text
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&apos;', "'")
    .replaceAll('&amp;', '&');
}

function isName(name: string): boolean {
  try {
    assertObjectName(name);
    return true;
  } catch {
    return false;
  }
}

function capitalized(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`;
}
