import { describe, expect, it } from 'vitest';
import { ImageNameError, parseImageName } from './image-name.ts';

const sum = 'a'.repeat(64);

describe('an image name', () => {
  const names = [
    { text: 'nginx', want: ['docker.io', 'library/nginx', 'latest', ''] },
    { text: 'nginx:1.29-alpine', want: ['docker.io', 'library/nginx', '1.29-alpine', ''] },
    { text: 'linuxserver/plex', want: ['docker.io', 'linuxserver/plex', 'latest', ''] },
    { text: 'index.docker.io/nginx', want: ['docker.io', 'library/nginx', 'latest', ''] },
    { text: 'docker.io/a/b:2', want: ['docker.io', 'a/b', '2', ''] },
    { text: 'localhost/x', want: ['localhost', 'x', 'latest', ''] },
    { text: 'reg.lan:5000/a/b/c:v1', want: ['reg.lan:5000', 'a/b/c', 'v1', ''] },
    { text: '[::1]:5000/a', want: ['[::1]:5000', 'a', 'latest', ''] },
    { text: `a@sha256:${sum}`, want: ['docker.io', 'library/a', '', `sha256:${sum}`] },
    { text: `a:1@sha256:${sum}`, want: ['docker.io', 'library/a', '1', `sha256:${sum}`] },
    { text: `sha256:${sum}`, want: ['docker.io', 'library/sha256', sum, ''] },
    { text: 'a__b/c--d', want: ['docker.io', 'a__b/c--d', 'latest', ''] },
  ];
  it.each(names)('$text has registry, repository, tag and digest', ({ text, want }) => {
    expect(Object.values(parseImageName(text))).toEqual(want);
  });

  const broken = [
    { text: '', why: 'invalid reference format' },
    { text: 'a:', why: 'invalid reference format' },
    { text: 'a b', why: 'invalid reference format' },
    { text: 'a::1', why: 'invalid reference format' },
    { text: '-a', why: 'invalid reference format' },
    { text: 'a/', why: 'invalid reference format' },
    { text: 'https://a.b/c', why: 'invalid reference format' },
    { text: 'a@sha256:12', why: 'invalid reference format' },
    { text: `a:${'x'.repeat(129)}`, why: 'invalid reference format' },
    { text: 'x'.repeat(5000), why: 'invalid reference format' },
    {
      text: 'Nginx',
      why: 'invalid reference format: repository name (library/Nginx) must be lowercase',
    },
    {
      text: 'a.b/' + 'x'.repeat(252),
      why: 'repository name must not be more than 255 characters',
    },
    {
      text: sum,
      why: `invalid repository name (${sum}), cannot specify 64-byte hexadecimal strings`,
    },
  ];
  it.each(broken)('$text is none: $why', ({ text, why }) => {
    const error: unknown = (() => {
      try {
        return parseImageName(text);
      } catch (caught) {
        return caught;
      }
    })();
    expect(error).toEqual(new ImageNameError(why));
  });
});
