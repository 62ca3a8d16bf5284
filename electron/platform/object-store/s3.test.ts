import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#kube/base/clock.ts';
import { contentOf, objectStoreConformance } from '../../../test/conformance/object-store.ts';
import { S3Store, type S3Options } from './s3.ts';
import { failure, FakeS3, fakeKeys } from './testing/fake-s3.ts';

const partBytes = 40_000;
const clock = new ManualClock();
const quick = { now: () => clock.now(), monotonicMs: () => 0 };

function storeAt(endpoint: string, more: Partial<S3Options> = {}): S3Store {
  // Nobody waits for a second attempt.
  const timer = (_ms: number, run: () => void) => {
    queueMicrotask(run);
    return { cancel: () => {} };
  };
  const given = { endpoint, bucket: 'backups', prefix: 'of-home/', partBytes, ...fakeKeys };
  return new S3Store({ ...given, clock: { ...quick, timer }, ...more });
}

objectStoreConformance('a bucket', async () => {
  const server = new FakeS3('backups');
  server.objects.set('photos of somebody/1', Buffer.from('not ours'));
  return { store: storeAt(await server.listen()), dispose: () => server.close() };
});

describe('a bucket', () => {
  let server: FakeS3;
  let endpoint = '';
  beforeEach(async () => {
    server = new FakeS3('backups');
    endpoint = await server.listen();
  });
  afterEach(() => server.close());

  it('never gets more than a part at once, and has no parts left in the end', async () => {
    await storeAt(endpoint).put('large', [Buffer.alloc(10 * partBytes + 1, 7)]);
    expect([server.largestBody, server.uploads.size]).toEqual([partBytes, 0]);
    expect(server.objects.get('of-home/large')?.length).toBe(10 * partBytes + 1);
  });

  it('takes back the parts of what could not be put', async () => {
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield Buffer.alloc(5 * partBytes);
      throw new Error('the source broke');
    }
    await expect(storeAt(endpoint).put('large', failing())).rejects.toThrow('the source broke');
    expect([server.uploads.size, server.objects.size]).toEqual([0, 0]);
  });

  it('is asked again when it says later', async () => {
    server.failures.push(failure(503, 'SlowDown'), failure(500, 'InternalError'));
    await storeAt(endpoint).put('a', [Buffer.from('kept')]);
    expect(String(await contentOf(storeAt(endpoint).get('a')))).toBe('kept');
  });

  const cases: readonly [string, Partial<S3Options>, string, string][] = [
    ['another key', { accessKeyId: 'OTHER' }, 'refused', 'does not know this key'],
    ['a wrong secret', { secretAccessKey: 'guessed' }, 'refused', 'does not know this key'],
    ['a bucket that is not there', { bucket: 'other' }, 'away', 'is not there: make it'],
    ['a server that is off', { endpoint: 'http://127.0.0.1:9' }, 'away', "can't be reached"],
  ];
  it.each(cases)('says what is wrong: %s', async (_name, more, problem, text) => {
    const error: unknown = await storeAt(endpoint, more)
      .list()
      .catch((reason: unknown) => reason);
    expect(error).toMatchObject({ problem, message: expect.stringContaining(text) });
  });

  it.each(['ftp://nas', 'nas', 'https://nas/folder'])('is at no address such as %s', (address) => {
    expect(() => storeAt(address)).toThrow('is no address of a server');
  });
});
