import { describe, expect, it } from 'vitest';
import type { Secret } from '#kube/api/core.ts';
import { parseImageName } from './image-name.ts';
import { registryAuths } from './registry-auth.ts';

const auth = Buffer.from('me:pass:word').toString('base64');

function base64(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64');
}

function secret(type: string, data: Secret['data']): Secret {
  return { apiVersion: 'v1', kind: 'Secret', metadata: { name: 's' }, type, data };
}

/** Each server with a user of its own name. */
function config(...servers: readonly string[]): Secret {
  const auths = Object.fromEntries(
    servers.map((name) => [name, { username: name, password: 'p' }]),
  );
  return secret('kubernetes.io/dockerconfigjson', { '.dockerconfigjson': base64({ auths }) });
}

function usersFor(image: string, ...secrets: readonly Secret[]): string[] {
  return registryAuths(parseImageName(image), secrets).map(({ username }) => username);
}

describe('pull secrets', () => {
  const places = [
    { server: 'reg.lan', image: 'reg.lan/x', fits: true },
    { server: 'https://reg.lan/v1/', image: 'reg.lan/x', fits: true },
    { server: 'http://reg.lan/v2/', image: 'reg.lan/x', fits: true },
    { server: 'reg.lan', image: 'other.lan/x', fits: false },
    { server: 'reg.lan', image: 'reg.lan:5000/x', fits: false },
    { server: 'reg.lan:5000', image: 'reg.lan:5000/x', fits: true },
    { server: 'reg.lan:5000/team', image: 'reg.lan:5000/team/x', fits: true },
    { server: 'reg.lan:5000/team', image: 'reg.lan:5000/others/x', fits: false },
    { server: '*.lan', image: 'reg.lan/x', fits: true },
    { server: '*.lan', image: 'a.reg.lan/x', fits: false },
    { server: '*.*.lan', image: 'a.reg.lan/x', fits: true },
    { server: 'r*g.lan', image: 'reg.lan/x', fits: true },
    { server: 'r?g.lan', image: 'reg.lan/x', fits: true },
    { server: 'r?.lan', image: 'reg.lan/x', fits: false },
    { server: 'r*x.lan', image: 'reg.lan/x', fits: false },
    { server: '*e*g**.lan', image: 'reg.lan/x', fits: true },
    { server: 'https://index.docker.io/v1/', image: 'busybox', fits: true },
    { server: 'docker.io', image: 'me/x', fits: true },
    { server: 'https://index.docker.io/v1/', image: 'reg.lan/busybox', fits: false },
  ];
  it.each(places)('for $server fit $image: $fits', ({ server, image, fits }) => {
    expect(usersFor(image, config(server))).toEqual(fits ? [server] : []);
  });

  it('that are more exact go first', () => {
    const some = config('*.lan', 'reg.lan', 'reg.lan/team');
    expect(usersFor('reg.lan/team/x', some)).toEqual(['reg.lan/team', 'reg.lan', '*.lan']);
  });

  it('for one registry go in the order of the pod', () => {
    const of = (username: string) =>
      secret('kubernetes.io/dockercfg', {
        '.dockercfg': base64({ 'reg.lan': { username, password: 'p' } }),
      });
    expect(usersFor('reg.lan/x', of('a'), of('b'), of('c'))).toEqual(['a', 'b', 'c']);
  });

  it('of any number of stars are looked at in a moment', () => {
    const pattern = 'a*'.repeat(2000);
    expect(usersFor(`${'a'.repeat(200)}.lan/x`, config(`${pattern}b.lan`))).toEqual([]);
  });

  const forms: readonly { readonly type: string; readonly data: Record<string, string> }[] = [
    {
      type: 'kubernetes.io/dockerconfigjson',
      data: { '.dockerconfigjson': base64({ auths: { 'reg.lan': { auth } } }) },
    },
    { type: 'kubernetes.io/dockercfg', data: { '.dockercfg': base64({ 'reg.lan': { auth } }) } },
  ];
  it.each(forms)('of type $type are read', ({ type, data }) => {
    expect(registryAuths(parseImageName('reg.lan/x'), [secret(type, data)])).toEqual([
      { username: 'me', password: 'pass:word', serverAddress: 'reg.lan' },
    ]);
  });

  it('give the same credentials once', () => {
    const { type, data } = forms[0]!;
    const twice = [secret(type, data), secret(type, data)];
    expect(usersFor('reg.lan/x', ...twice)).toEqual(['me']);
  });

  const broken: readonly { name: string; type: string; data: Record<string, string> }[] = [
    {
      name: 'no JSON',
      type: 'kubernetes.io/dockerconfigjson',
      data: { '.dockerconfigjson': 'bm90IGpzb24=' },
    },
    {
      name: 'another JSON',
      type: 'kubernetes.io/dockerconfigjson',
      data: { '.dockerconfigjson': base64({ auths: 7 }) },
    },
    {
      name: 'entries that are none',
      type: 'kubernetes.io/dockercfg',
      data: { '.dockercfg': base64({ 'reg.lan': null }) },
    },
    {
      name: 'another type',
      type: 'Opaque',
      data: { '.dockercfg': base64({ 'reg.lan': { auth } }) },
    },
    { name: 'nothing', type: 'kubernetes.io/dockercfg', data: {} },
  ];
  it.each(broken)('with $name give none', ({ type, data }) => {
    expect(usersFor('reg.lan/x', secret(type, data))).toEqual([]);
  });
});
