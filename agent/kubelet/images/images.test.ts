// What a container waits for while it has no image, on the fake engine and a manual clock.
import { setImmediate as settled } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Container, Pod, Secret } from '#kube/api/core.ts';
import { ManualClock } from '#kube/base/clock.ts';
import { silentLogger } from '#kube/base/logger.ts';
import { FakeRuntime } from '../../runtime/fake-runtime.ts';
import { RuntimeError, type ImageStatus, type PullOptions } from '../../runtime/runtime.ts';
import { ImageError } from './image-error.ts';
import { Images } from './images.ts';
import { PullBoard } from './turns/pull-board.ts';
import { goDuration } from './pull-words.ts';

let clock: ManualClock;
let runtime: FakeRuntime;
let events: string[];
let images: Images;

beforeEach(() => {
  clock = new ManualClock();
  runtime = new FakeRuntime(clock);
  events = [];
  images = new Images({
    runtime,
    clock,
    logger: silentLogger,
    peers: undefined,
    board: new PullBoard(),
    origins: { note: async () => {} },
    events: {
      event: (_about, type, reason, message) => events.push(`${type} ${reason}: ${message}`),
    },
  });
});

interface Asked extends Partial<Container> {
  readonly secrets?: readonly Secret[];
  readonly missingSecrets?: readonly string[];
}

const pod: Pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'p', namespace: 'ns', uid: 'u' },
  spec: { containers: [] },
};

function ensure(
  image: string,
  { secrets = [], missingSecrets = [], ...more }: Asked = {},
): Promise<ImageStatus> {
  const container = { name: 'web', image, ...more };
  return images.ensure({ pod, container, secrets, missingSecrets, onProgress: () => {} });
}

async function refused(image: string, asked: Asked = {}): Promise<string> {
  const error = await ensure(image, asked).then(
    () => new Error('it has one'),
    (caught: unknown) => caught,
  );
  return error instanceof ImageError ? `${error.reason}: ${error.message}` : String(error);
}

function failsWith(message: string): void {
  runtime.onPull = async () => {
    throw new RuntimeError('other', message);
  };
}

const registryKey: Secret = {
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name: 's' },
  type: 'kubernetes.io/dockercfg',
  data: {
    '.dockercfg': Buffer.from(
      JSON.stringify({
        'reg.lan': { username: 'old', password: 'p' },
        'reg.lan/team': { username: 'new', password: 'p' },
      }),
    ).toString('base64'),
  },
};

describe('by its policy an image that is there', () => {
  it('is taken as it is, also when it must not be pulled', async () => {
    runtime.addImage('web:1');
    for (const imagePullPolicy of ['IfNotPresent', 'Never'])
      await ensure('web:1', { imagePullPolicy });
    expect(runtime.calls).toEqual([]);
    expect(new Set(events)).toEqual(
      new Set(['Normal Pulled: Container image "web:1" already present on machine']),
    );
  });

  it('is asked for all the same when it always has to be', async () => {
    runtime.addImage('web:1');
    await ensure('web:1', { imagePullPolicy: 'Always' });
    expect(runtime.calls).toEqual(['pull web:1']);
  });

  it('but can not be looked at is an error of its own', async () => {
    runtime.imageStatus = async () => {
      throw new RuntimeError('other', 'layer does not exist');
    };
    const message = 'Failed to inspect image "web:1": layer does not exist';
    expect(await refused('web:1')).toBe(`ImageInspectError: ${message}`);
    expect(events).toEqual([`Warning InspectFailed: ${message}`]);
  });
});

it('tells a pull with its duration, the wait for its turn, and the size', async () => {
  const slow = Promise.withResolvers<void>();
  runtime.onPull = () => slow.promise;
  const four = ['a:1', 'b:1', 'c:1', 'd:1'].map((name) => ensure(name));
  await settled();
  clock.advance(1_200);
  slow.resolve();
  runtime.onPull = async () => {};
  await Promise.all(four);
  const size = 'Image size: 1000000 bytes.';
  expect(events.filter((text) => text.startsWith('Normal Pulled'))).toEqual([
    `Normal Pulled: Successfully pulled image "a:1" in 1.2s (1.2s including waiting). ${size}`,
    `Normal Pulled: Successfully pulled image "b:1" in 1.2s (1.2s including waiting). ${size}`,
    `Normal Pulled: Successfully pulled image "c:1" in 1.2s (1.2s including waiting). ${size}`,
    `Normal Pulled: Successfully pulled image "d:1" in 0s (1.2s including waiting). ${size}`,
  ]);
});

it.each([
  [0, '0s'],
  [850.7, '850ms'],
  [1_200, '1.2s'],
  [62_030, '1m2.03s'],
  [3_600_000, '1h0m0s'],
])('writes %d ms as Go does', (ms, want) => {
  expect(goDuration(ms)).toBe(want);
});

describe('an image that can not be had', () => {
  it('backs off with the reason of the last pull', async () => {
    failsWith('pull access denied for no, repository does not exist');
    const why = 'ErrImagePull: pull access denied for no, repository does not exist';
    expect(await refused('no:1')).toBe(why);
    expect(await refused('no:1')).toBe(`ImagePullBackOff: Back-off pulling image "no:1": ${why}`);
    clock.advance(10_000);
    expect(await refused('no:1')).toBe(why);
    clock.advance(19_999);
    expect(await refused('no:1')).toMatch('ImagePullBackOff');
    expect(events.slice(0, 3)).toEqual([
      'Normal Pulling: Pulling image "no:1"',
      'Warning Failed: Failed to pull image "no:1": pull access denied for no, repository does not exist',
      'Normal BackOff: Back-off pulling image "no:1"',
    ]);
  });

  it('by its name is not asked for', async () => {
    expect(await refused('Web:1')).toBe(
      'InvalidImageName: Failed to apply default image tag "Web:1": couldn\'t parse image name ' +
        '"Web:1": invalid reference format: repository name (library/Web) must be lowercase',
    );
    expect(runtime.calls).toEqual([]);
  });

  it('because it must not be pulled says so', async () => {
    expect(await refused('no:1', { imagePullPolicy: 'Never' })).toBe(
      'ErrImageNeverPull: Container image "no:1" is not present with pull policy of Never',
    );
  });

  it('from a registry that fails itself is told without its page', async () => {
    failsWith('received unexpected HTTP status: 503 Service Unavailable\n<html>long</html>');
    const why =
      'RegistryUnavailable: image pull failed for a:1 because the registry is unavailable: 503 Service Unavailable';
    expect(await refused('a:1')).toBe(why);
    expect(await refused('a:1')).toBe(`ImagePullBackOff: Back-off pulling image "a:1": ${why}`);
  });

  it('because its line is silent does not hold up others for ever', async () => {
    runtime.onPull = (_name, tell, { signal }) =>
      new Promise((_resolve, reject) => {
        signal?.addEventListener('abort', () => reject(new Error('aborted')));
        clock.timer(299_000, () => tell({ step: 'downloading', doneBytes: 1, totalBytes: 2 }));
      });
    const answer = refused('a:1');
    await settled();
    clock.advance(598_000);
    await settled();
    expect(events).toHaveLength(1);
    clock.advance(1_000);
    expect(await answer).toBe('ErrImagePull: nothing came for 5 minutes: is the line broken?');
  });
});

describe('credentials', () => {
  it('are tried one after the other', async () => {
    const tried: (string | undefined)[] = [];
    runtime.onPull = async (_name, _tell, { auth }: PullOptions) => {
      tried.push(auth?.username);
      if (auth?.username === 'new') throw new RuntimeError('other', 'unauthorized');
    };
    await ensure('reg.lan/team/x:1', { secrets: [registryKey] });
    await ensure('elsewhere.lan/x:1', { secrets: [registryKey] });
    expect(tried).toEqual(['new', 'old', undefined]);
  });

  it('that are all refused are told once when they are refused alike', async () => {
    failsWith('unauthorized');
    const asked = { secrets: [registryKey] };
    expect(await refused('reg.lan/team/x:1', asked)).toBe('ErrImagePull: unauthorized');
    clock.advance(10_000);
    let count = 0;
    runtime.onPull = async () => {
      throw new RuntimeError('other', `no ${++count}`);
    };
    expect(await refused('reg.lan/team/x:1', asked)).toBe('ErrImagePull: [no 1, no 2]');
  });

  it('that are not the same do not share a pull', async () => {
    const slow = Promise.withResolvers<void>();
    runtime.onPull = () => slow.promise;
    const both = [ensure('reg.lan/x:1', { secrets: [registryKey] }), ensure('reg.lan/x:1')];
    await settled();
    slow.resolve();
    await Promise.all(both);
    expect(runtime.calls).toEqual(['pull reg.lan/x:1', 'pull reg.lan/x:1']);
  });

  it('that are not there are told, but only when there is something to pull', async () => {
    runtime.addImage('web:1');
    await ensure('web:1', { missingSecrets: ['a', 'b'] });
    await ensure('new:1', { missingSecrets: ['a', 'b'] });
    expect(events.filter((text) => text.includes('Secret'))).toEqual([
      'Warning FailedToRetrieveImagePullSecret: Unable to retrieve some image pull secrets (a, b); ' +
        'attempting to pull the image may not succeed.',
    ]);
  });
});

describe('an image for another processor', () => {
  const arm64 = { os: 'linux', architecture: 'arm64' };

  it('is no image once it is pulled', async () => {
    runtime.onPull = async (name) => runtime.addImage(name, { ...arm64, isPulled: true });
    const pulled = runtime.addImage.bind(runtime);
    runtime.addImage = (name) => pulled(name, arm64);
    const why = 'ErrImagePull: no amd64 build of "pi:1": it is for arm64';
    expect(await refused('pi:1')).toBe(why);
    expect(await refused('pi:1')).toBe(`ImagePullBackOff: Back-off pulling image "pi:1": ${why}`);
    expect(await refused('pi:1', { imagePullPolicy: 'Never' })).toBe(
      'ErrImageNeverPull: Container image "pi:1" is not present with pull policy of Never: ' +
        'no amd64 build of "pi:1": it is for arm64',
    );
  });

  it('is named also when the registry knew in time', async () => {
    failsWith('no matching manifest for linux/amd64 in the manifest list entries');
    expect(await refused('pi:1')).toBe(
      'ErrImagePull: no amd64 build of "pi:1": no matching manifest for linux/amd64 in the manifest list entries',
    );
  });

  const runs: { name: string; image: Partial<ImageStatus>; emulated: readonly string[] | 'any' }[] =
    [
      { name: 'an older processor', image: { architecture: '386' }, emulated: [] },
      { name: 'an emulated processor', image: arm64, emulated: ['arm64'] },
      { name: 'any, where nobody knows', image: arm64, emulated: 'any' },
      { name: 'nobody says which', image: { os: '', architecture: '' }, emulated: [] },
    ];
  it.each(runs)('runs: $name', async ({ image, emulated }) => {
    runtime.platform = async () => ({
      os: 'linux',
      architecture: 'amd64',
      emulated,
      imageIds: 'config',
      runtimes: [],
    });
    runtime.addImage('x:1', image);
    expect(await ensure('x:1')).toMatchObject(image);
    expect(runtime.calls).toEqual([]);
  });

  it('or another system is refused by both', async () => {
    runtime.addImage('win:1', { os: 'windows', architecture: 'amd64' });
    expect(await refused('win:1', { imagePullPolicy: 'Never' })).toMatch(
      'no amd64 build of "win:1": it is for windows/amd64',
    );
  });
});
