import { describe, expect, it } from 'vitest';
import type { CSIPersistentVolumeSource, Secret } from '#kube/api/core.ts';
import { csiSource, nfsSource } from './network-source.ts';

const plain = { mountOptions: [], isReadOnly: false };

describe('an NFS share', () => {
  const cases = [
    {
      name: 'is mounted as it is written, tried once at a time',
      given: nfsSource({ server: 'nas.local', path: '/media' }, plain),
      want: ['nas.local:/media', ['retry=0']],
    },
    {
      name: 'keeps the options of its volume',
      given: nfsSource(
        { server: '10.0.0.2', path: '/a b', readOnly: true },
        { ...plain, mountOptions: ['nfsvers=4.1,soft', 'retry=1'] },
      ),
      want: ['10.0.0.2:/a b', ['nfsvers=4.1', 'soft', 'retry=1', 'ro']],
    },
    {
      name: 'has an IPv6 address in brackets',
      given: nfsSource({ server: 'fd00::2', path: '/x' }, plain),
      want: ['[fd00::2]:/x', ['retry=0']],
    },
    {
      name: 'may be written for the CSI driver',
      given: csiSource(
        {
          driver: 'nfs.csi.k8s.io',
          volumeHandle: 'h',
          volumeAttributes: { server: 'nas', share: '/export/', subDir: 'films/new' },
        },
        plain,
        undefined,
      ),
      want: ['nas:/export/films/new', ['retry=0']],
    },
  ];
  it.each(cases)('$name', ({ given, want }) => {
    expect([given?.source, given?.options]).toEqual(want);
  });
});

function smb(
  attributes: Record<string, string>,
  data?: Record<string, string>,
  mountOptions: string[] = [],
) {
  const csi: CSIPersistentVolumeSource = {
    driver: 'smb.csi.k8s.io',
    volumeHandle: 'h',
    volumeAttributes: attributes,
    ...(data === undefined ? {} : { nodeStageSecretRef: { name: 'creds', namespace: 'home' } }),
  };
  const encoded = Object.fromEntries(
    Object.entries(data ?? {}).map(([key, value]) => [key, Buffer.from(value).toString('base64')]),
  );
  const secret: Secret = {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'creds' },
    data: encoded,
  };
  return csiSource(csi, { mountOptions, isReadOnly: false }, data && secret);
}

describe('an SMB share', () => {
  it('has its password in a file, never among the options', () => {
    const data = { username: 'ada', password: 'a,b c\n', domain: 'HOME' };
    const source = smb({ source: '//nas/media', subDir: 'tv' }, data, ['vers=3.0', 'uid=1000']);
    expect(source).toMatchObject({
      fsType: 'cifs',
      source: '//nas/media/tv',
      options: ['vers=3.0', 'uid=1000'],
      credentials: 'username=ada\npassword=a,b c\ndomain=HOME\n',
    });
  });

  it('without a Secret is a guest’s', () => {
    expect(smb({ source: '//nas/public' })?.options).toEqual(['guest']);
  });
});

describe('what is refused', () => {
  const cases: readonly (readonly [string, () => unknown, string])[] = [
    [
      'an option that mounts something else',
      () => nfsSource({ server: 'n', path: '/' }, { ...plain, mountOptions: ['bind'] }),
      'mount option "bind" is refused',
    ],
    [
      'one that hides behind another',
      () => nfsSource({ server: 'n', path: '/' }, { ...plain, mountOptions: ['ro,X-mount.mkdir'] }),
      'mount option "X-mount.mkdir" is refused',
    ],
    [
      'a password on the command line',
      () => smb({ source: '//nas/x' }, undefined, ['username=a,password=b']),
      'mount option username is refused: name a Secret with username and password in nodeStageSecretRef',
    ],
    [
      'a server that looks like an option',
      () => nfsSource({ server: '-o', path: '/' }, plain),
      'server "-o" is neither a name nor an address',
    ],
    [
      'a path of another form',
      () => nfsSource({ server: 'n', path: 'x' }, plain),
      'NFS path "x" must be absolute',
    ],
    [
      'a subdirectory that leads out',
      () => smb({ source: '//nas/x', subDir: 'a/../../b' }),
      'subdirectory "a/../../b" must not contain \'..\'',
    ],
    [
      'a share without a name',
      () => smb({ source: '//nas' }),
      'SMB source "//nas" must have the form //server/share',
    ],
    [
      'a second line in a password',
      () => smb({ source: '//nas/x' }, { username: 'a', password: 'b\nsec=none' }),
      'secret "creds": password has more than one line',
    ],
    [
      'a Secret without a name to log in with',
      () => smb({ source: '//nas/x' }, { password: 'b' }),
      'secret "creds" has no key username',
    ],
  ];
  it.each(cases)('%s', (_name, make, why) => {
    expect(make).toThrow(why);
  });
});
