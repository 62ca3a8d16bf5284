import { describe, expect, it } from 'vitest';
import { parseImageName } from './image-name.ts';
import { planFetch, type FetchQuestion, type ImageOffer } from './plan-fetch.ts';

const one = `sha256:${'1'.repeat(64)}`;
const two = `sha256:${'2'.repeat(64)}`;

function offer(more: Partial<ImageOffer> = {}): ImageOffer {
  const platform = { os: 'linux', architecture: 'arm64' };
  return {
    id: 'i',
    digests: [],
    sizeBytes: 1,
    createdAtMs: 0,
    ids: 'config',
    origin: 'registry',
    ...platform,
    ...more,
  };
}

function plan(name: string, more: Partial<FetchQuestion>): string[] {
  const sources = planFetch({
    image: parseImageName(name),
    isAlways: false,
    offers: [],
    registryDigest: undefined,
    machine: {
      os: 'linux',
      architecture: 'arm64',
      emulated: 'any',
      imageIds: 'config',
      runtimes: [],
    },
    ...more,
  });
  return sources.map((source) =>
    source.kind === 'registry'
      ? 'registry'
      : `${source.peer.machine}${source.isConfirmed ? ' confirmed' : ''}`,
  );
}

const offers = [
  { machine: 'old', offer: offer({ createdAtMs: 1, digests: [`nginx@${one}`] }) },
  { machine: 'new', offer: offer({ createdAtMs: 2, digests: [`docker.io/library/nginx@${two}`] }) },
  { machine: 'pc', offer: offer({ architecture: 'amd64', digests: [`nginx@${one}`] }) },
  {
    machine: 'other',
    offer: offer({ digests: [`evil/nginx@${one}`, 'Bad@name', '<none>@<none>'] }),
  },
];

describe('machines whose images are known by other digests', () => {
  it('hand each other nothing: the same image is another there', () => {
    const some = [{ machine: 'pc', offer: offer({ ids: 'manifest' }) }];
    expect(plan('nginx:1', { offers: some })).toEqual(['registry']);
    const machine = {
      os: 'linux',
      architecture: 'arm64',
      emulated: 'any',
      imageIds: 'manifest',
      runtimes: [],
    } as const;
    expect(plan('nginx:1', { offers: some, machine })).toEqual(['pc', 'registry']);
  });
});

describe('an image is looked for', () => {
  const cases: { name: string; image: string; more: Partial<FetchQuestion>; want: string[] }[] = [
    {
      name: 'at its registry when nobody else has it',
      image: 'nginx:1',
      more: {},
      want: ['registry'],
    },
    {
      name: 'by its tag on machines of the same kind, the newest first',
      image: 'nginx:1',
      more: { offers },
      want: ['new', 'old', 'other', 'registry'],
    },
    {
      name: 'by its digest where that digest is known, of this repository',
      image: `nginx@${one}`,
      more: { offers },
      want: ['old confirmed', 'registry'],
    },
    {
      name: 'always: where they have what the tag is now',
      image: 'nginx:1',
      more: { offers, isAlways: true, registryDigest: two },
      want: ['new confirmed', 'registry'],
    },
    {
      name: 'always: at the registry, when it does not say what the tag is',
      image: 'nginx:1',
      more: { offers, isAlways: true },
      want: ['registry'],
    },
    {
      name: 'always, by its digest: where that is',
      image: `nginx@${one}`,
      more: { offers, isAlways: true },
      want: ['old confirmed', 'registry'],
    },
    {
      name: 'on three machines at most',
      image: 'nginx:1',
      more: { offers: ['a', 'b', 'c', 'd'].map((machine) => ({ machine, offer: offer() })) },
      want: ['a', 'b', 'c', 'registry'],
    },
  ];
  it.each(cases)('$name', ({ image, more, want }) => {
    expect(plan(image, more)).toEqual(want);
  });
});
