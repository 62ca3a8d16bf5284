// Pure: files below /dev → devices as resources that a pod can ask for and the scheduler counts.
// A name stays with the thing: by its maker's serial number, else by where it is plugged in, else by
// the kernel's number. `devices.flotilla.dev/serial-usb-itead_sonoff_...-if00-port0`.
import { createHash } from 'node:crypto';
import type { Container } from '#kube/api/core.ts';
import { toInteger } from '#kube/machinery/quantity.ts';
import type { GrantedDevices } from '../container/container-config.ts';
import { ContainerConfigError } from '../container/environment.ts';
import { deviceClasses, usbClasses, type DeviceClass, type UsbClass } from './device-classes.ts';
import type { Hardware, UsbThing } from './hardware.ts';

export const devicePrefix = 'devices.flotilla.dev/';
export const devicesAnnotation = 'flotilla.dev/devices';
/** How many containers may hold a device that is shared. */
export const sharesOfDevice = 32;
const knownNames = new Set(deviceClasses.flatMap(({ resource }) => resource ?? []));
const nameMax = 63;
const hashLength = 8;

/** A file below the device directory, or a link to one. */
export interface DeviceFile {
  /** `serial/by-id/usb-…`, relative. */
  readonly path: string;
  /** Where it leads; of a file itself the same. */
  readonly target: string;
  /** Of its target; 0 is root's. */
  readonly groupId: number;
  /** Left out: nothing is known. */
  readonly hardware?: Hardware;
}

export interface Device {
  /** A resource's name. */
  readonly resource: string;
  /** In a person's words. */
  readonly label: string;
  /** The name of it that stays, absolute. */
  readonly path: string;
  readonly count: number;
  /** Every name of each of its files, absolute. */
  readonly paths: readonly string[];
  readonly groups: readonly number[];
  /**
   * Left out: by its files. `usb`: by all of the USB bus, since the thing comes back under another number
   * when it is first used; `nvidia`: by the engine, for each file one.
   */
  readonly grant?: 'usb' | 'nvidia';
}

interface Found {
  readonly deviceClass: DeviceClass;
  readonly identity: string;
  readonly link: string | undefined;
  readonly file: DeviceFile;
  readonly links: readonly DeviceFile[];
}

/** Sorted by name. `directory`: the real one, `/dev`. */
export function discoverDevices(
  files: readonly DeviceFile[],
  directory: string,
  usb: readonly UsbThing[] = [],
): readonly Device[] {
  const linksOf = Map.groupBy(
    files.filter(({ path, target }) => path !== target),
    ({ target }) => target,
  );
  const found = files.flatMap((file) => find(file, linksOf.get(file.target) ?? []));
  const groups = Map.groupBy(
    found,
    ({ deviceClass, identity }) => deviceClass.resource ?? resourceName(deviceClass.kind, identity),
  );
  const onUsb = usbClasses.flatMap((usbClass) => usbDevice(usbClass, usb, directory));
  return [...groups]
    .map(([resource, group]) => device(resource, group, directory))
    .concat(onUsb)
    .sort((a, b) => (a.resource < b.resource ? -1 : 1));
}

function find(file: DeviceFile, links: readonly DeviceFile[]): Found[] {
  const deviceClass = deviceClasses.find(({ pattern }) => pattern.test(file.path));
  if (deviceClass === undefined) return [];
  const link = deviceClass.links
    .flatMap((directory) => {
      const names = links
        .map(({ path }) => path)
        .filter((path) => path.startsWith(`${directory}/`));
      return names.sort().slice(0, 1);
    })
    .at(0);
  const named = link === undefined ? undefined : link.slice(link.lastIndexOf('/') + 1);
  const own = named ?? file.hardware?.identity ?? file.path;
  const identity = deviceClass.isOne ? '' : own.replace(deviceClass.linkEnd, '');
  return [{ deviceClass, identity, link, file, links }];
}

function device(resource: string, group: readonly Found[], directory: string): Device {
  const [first] = group;
  const { deviceClass, identity, link, file } = first!;
  const { isShared, grant } = deviceClass;
  const shares = typeof isShared === 'boolean' ? isShared : isShared.test(identity);
  const paths = group.flatMap((entry) => [
    entry.file.target,
    entry.file.path,
    ...entry.links.map(({ path }) => path),
  ]);
  return {
    resource,
    label: labelOf(first!),
    path: `${directory}/${link ?? file.path}`,
    count: grant === 'nvidia' ? group.length : shares ? sharesOfDevice : 1,
    paths: [...new Set(paths)].sort().map((path) => `${directory}/${path}`),
    groups: [...new Set(group.map((entry) => entry.file.groupId))].filter((id) => id !== 0),
    ...(grant === undefined ? {} : { grant }),
  };
}

/** All of a kind are one resource: which is which changes with their numbers. */
function usbDevice(
  { kind, label, ids }: UsbClass,
  usb: readonly UsbThing[],
  directory: string,
): Device[] {
  const count = usb.filter(({ id }) => ids.includes(id)).length;
  if (count === 0) return [];
  const path = `${directory}/bus/usb`;
  const resource = devicePrefix + kind;
  return [{ resource, label, path, count, paths: [path], groups: [], grant: 'usb' }];
}

/** What a person reads on the thing, as far as its maker wrote it into it. */
function labelOf({ deviceClass: { label }, identity, link, file }: Found): string {
  if (identity === '') return capital(label);
  const maker = file.hardware?.label ?? '';
  if (link === undefined && maker !== '') return `${maker} (${label})`;
  if (link?.includes('/by-id/') !== true)
    return `${capital(label)} ${identity.slice(identity.lastIndexOf('/') + 1)}`;
  const name = identity.replace(/^[a-z0-9]+-/, '').replace(/-if\d+(-port\d+)?$/, '');
  return `${name.replaceAll(/[_\s]+/g, ' ').trim()} (${label})`;
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

/** As Kubernetes allows it: letters, digits, `-._`, at most 63 of them, and different for different things. */
function resourceName(kind: string, identity: string): string {
  const own = identity.slice(identity.lastIndexOf('/') + 1).toLowerCase();
  const slug = `${kind}-${own}`.replaceAll(/[^a-z0-9._-]+/g, '-').replace(/[-._]+$/, '');
  if (slug.length <= nameMax) return devicePrefix + slug;
  const hash = createHash('sha256').update(identity).digest('hex').slice(0, hashLength);
  return `${devicePrefix}${slug.slice(0, nameMax - hashLength - 1)}-${hash}`;
}

/** For people and the user interface: resource → what it is, and where. */
export function devicesText(devices: readonly Device[]): string {
  const entries = devices.map(({ resource, label, path, count }) => [
    resource,
    { label, path, ...(count > 1 ? { shared: true } : {}) },
  ]);
  return JSON.stringify(Object.fromEntries(entries));
}

/** NVIDIA's only with its container toolkit: without that the engine can't hand them over. */
export function usableDevices(
  devices: readonly Device[],
  runtimes: readonly string[],
): readonly Device[] {
  return devices.filter(({ grant }) => grant !== 'nvidia' || runtimes.includes('nvidia'));
}

export function isDeviceName(resource: string): boolean {
  return resource.startsWith(devicePrefix) || knownNames.has(resource);
}

/** Resource → how many of it. */
export function askedDevices(container: Container): ReadonlyMap<string, number> {
  const { limits = {}, requests = {} } = container.resources ?? {};
  const asked = Object.entries({ ...requests, ...limits })
    .filter(([name]) => isDeviceName(name))
    .map(([name, quantity]) => [name, toInteger(quantity)] as const);
  return new Map(asked.filter(([, count]) => count > 0));
}

/** Throws ContainerConfigError for one that is not there. */
export function grantDevices(container: Container, devices: readonly Device[]): GrantedDevices {
  const granted = [...askedDevices(container).keys()].map((resource) => {
    const found = devices.find((entry) => entry.resource === resource);
    if (found === undefined)
      throw new ContainerConfigError(
        `the device ${resource} is not plugged in to this machine; the container starts when it is`,
      );
    return found;
  });
  const byFiles = granted.filter(({ grant }) => grant === undefined);
  const paths = [...new Set(byFiles.flatMap((entry) => entry.paths))];
  const gpus = granted.filter(({ grant }) => grant === 'nvidia');
  const asked = askedDevices(container);
  return {
    usbBus: granted.some(({ grant }) => grant === 'usb'),
    gpuCount: gpus.reduce((sum, { resource }) => sum + (asked.get(resource) ?? 0), 0),
    mappings: paths.map((path) => ({ hostPath: path, containerPath: path })),
    groups: [...new Set(granted.flatMap((entry) => entry.groups))],
  };
}
