// Pure: NFS and SMB shares as Kubernetes' users write them, and how they are mounted: `nfs` of pods and
// volumes, and the CSI drivers nfs.csi.k8s.io and smb.csi.k8s.io, whose job the machine's own mount
// programs do here. What could do more than mount a share is refused.
// Source: kubernetes pkg/volume/nfs; csi-driver-nfs and csi-driver-smb docs/driver-parameters.md.
import type { CSIPersistentVolumeSource, NFSVolumeSource, Secret } from '#kube/api/core.ts';
import type { NetworkMount } from '../disks/mounter.ts';
import { VolumeError } from '../payload.ts';

export interface NetworkSource extends NetworkMount {
  /** What a credentials file has to hold; undefined: no file. */
  readonly credentials?: string;
  /** Of the Secret with the credentials. */
  readonly secretRef?: { readonly namespace: string; readonly name: string };
}

interface Given {
  readonly mountOptions: readonly string[];
  readonly isReadOnly: boolean;
}

export function nfsSource(
  { server, path, readOnly = false }: NFSVolumeSource,
  given: Given,
): NetworkSource {
  checkServer(server);
  if (!path.startsWith('/') || hasControl(path))
    throw new VolumeError(`NFS path ${JSON.stringify(path)} must be absolute`);
  const isIpv6 = server.includes(':') && !server.startsWith('[');
  const source = `${isIpv6 ? `[${server}]` : server}:${path}`;
  const options = optionsOf({ ...given, isReadOnly: given.isReadOnly || readOnly });
  // Ours to try again, and with an event each time.
  const retry = options.some((option) => option.startsWith('retry=')) ? [] : ['retry=0'];
  return { fsType: 'nfs', source, options: [...options, ...retry] };
}

/** Undefined: of another driver. */
export function csiSource(
  csi: CSIPersistentVolumeSource,
  given: Given,
  secret: Secret | undefined,
): NetworkSource | undefined {
  const { driver, volumeAttributes = {}, readOnly = false } = csi;
  const both = { ...given, isReadOnly: given.isReadOnly || readOnly };
  if (driver === 'nfs.csi.k8s.io') {
    const { server = '', share = '', subdir = '' } = lowerCased(volumeAttributes);
    const path = subdir === '' ? share : `${share.replace(/\/+$/, '')}/${relative(subdir)}`;
    return nfsSource({ server, path }, both);
  }
  return driver === 'smb.csi.k8s.io' ? smbSource(csi, both, secret) : undefined;
}

export function secretRefOf({
  nodeStageSecretRef,
  nodePublishSecretRef,
}: CSIPersistentVolumeSource) {
  const { namespace = '', name = '' } = nodeStageSecretRef ?? nodePublishSecretRef ?? {};
  return name === '' ? undefined : { namespace, name };
}

function smbSource(
  csi: CSIPersistentVolumeSource,
  given: Given,
  secret: Secret | undefined,
): NetworkSource {
  const { source: share = '', subdir = '' } = lowerCased(csi.volumeAttributes ?? {});
  const [, server = '', path = ''] = /^\/\/([^/]+)\/(.+)$/.exec(share) ?? [];
  if (path === '' || hasControl(path))
    throw new VolumeError(`SMB source ${JSON.stringify(share)} must have the form //server/share`);
  checkServer(server);
  const source = subdir === '' ? share : `${share.replace(/\/+$/, '')}/${relative(subdir)}`;
  const options = optionsOf(given);
  const secretRef = secretRefOf(csi);
  if (secretRef === undefined) {
    const isSigned = options.some((option) => option.startsWith('sec='));
    return { fsType: 'cifs', source, options: isSigned ? options : [...options, 'guest'] };
  }
  if (secret === undefined)
    throw new VolumeError(`secret "${secretRef.namespace}/${secretRef.name}" not found`);
  return { fsType: 'cifs', source, options, credentials: credentialsOf(secret), secretRef };
}

/** As mount.cifs(8) reads them. */
function credentialsOf({ data = {}, metadata }: Secret): string {
  const lines = ['username', 'password', 'domain'].flatMap((key) => {
    const value = data[key];
    if (value === undefined) return [];
    const text = Buffer.from(value, 'base64').toString();
    // What `base64 <<<` leaves at the end is nobody's password.
    const bare = text.replace(/\r?\n$/, '');
    if (/[\r\n\0]/.test(bare))
      throw new VolumeError(`secret "${metadata.name}": ${key} has more than one line`);
    return [`${key}=${bare}\n`];
  });
  if (data['username'] === undefined)
    throw new VolumeError(`secret "${metadata.name}" has no key username`);
  return lines.join('');
}

/** Options by which mount does something else than mount this share, or tells others of a secret. */
const refusedOptions =
  /^(r?bind|move|remount|r?(shared|slave|private|unbindable)|make-.*|loop|offset|sizelimit|helper|uhelper|user|users|owner|group|credentials|cred|pass|password|username|fsc|x-.*)$/i;

function optionsOf({ mountOptions, isReadOnly }: Given): string[] {
  const options = mountOptions.flatMap((text) => text.split(',')).map((option) => option.trim());
  for (const option of options) {
    const [name = ''] = option.split('=');
    if (/^(pass(word)?|user(name)?|cred(entials)?)$/i.test(name))
      throw new VolumeError(
        `mount option ${name} is refused: name a Secret with username and password in nodeStageSecretRef`,
      );
    if (name === '' || refusedOptions.test(name) || /[\s\0]/.test(option))
      throw new VolumeError(`mount option ${JSON.stringify(option)} is refused`);
  }
  return isReadOnly && !options.includes('ro') ? [...options, 'ro'] : options;
}

function checkServer(server: string): void {
  const isAddress = /^\[?[\da-f:]+(%\w+)?\]?$/i.test(server) && server.includes(':');
  if (!isAddress && !/^[a-z\d]([a-z\d._-]*[a-z\d])?$/i.test(server))
    throw new VolumeError(`server ${JSON.stringify(server)} is neither a name nor an address`);
}

function relative(path: string): string {
  const parts = path.split('/').filter((part) => part !== '');
  if (parts.includes('..') || hasControl(path))
    throw new VolumeError(`subdirectory ${JSON.stringify(path)} must not contain '..'`);
  return parts.join('/');
}

function hasControl(text: string): boolean {
  // oxlint-disable-next-line no-control-regex
  return /[\0-\x1f]/.test(text);
}

/** The drivers read their attributes' names so. */
function lowerCased(attributes: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(attributes).map(([key, value]) => [key.toLowerCase(), value]),
  );
}
