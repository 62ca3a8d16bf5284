// What a machine tells of itself when it is asked by SSH: a script of plain sh that changes nothing, and what its answer
// means. Pure.

/** A line for each fact, `name=value`; what can't be known is left out. Needs no rights. */
export const factsText = String.raw`LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
export LC_ALL PATH
say() { printf '%s=%s\n' "$1" "$2"; }
first() { [ -r "$2" ] && say "$1" "$(tr -d '\0' < "$2" | head -n 1)"; }
has() { command -v "$1" > /dev/null; }
say kernel "$(uname -s)"
say machine "$(uname -m)"
case $(getconf LONG_BIT 2>/dev/null) in
  32 | 64) say bits "$(getconf LONG_BIT)" ;;
  *) case $(od -An -tx1 -j4 -N1 /bin/sh 2>/dev/null) in *01) say bits 32 ;; *02) say bits 64 ;; esac ;;
esac
say host-name "$(uname -n)"
say now "$(date +%s)"
first machine-id /etc/machine-id
first boot-id /proc/sys/kernel/random/boot_id
first model /proc/device-tree/model
first product /sys/class/dmi/id/product_name
[ -r /etc/os-release ] && (. /etc/os-release && say system "$PRETTY_NAME")
[ -d /run/systemd/system ] && say systemd yes
has apt-get && has dpkg-deb && say apt yes
if has dockerd || has docker; then
  if [ -S /run/docker.sock ] || [ -S /var/run/docker.sock ]; then say docker running; else say docker stopped; fi
else say docker missing; fi
missing=
has dockerd || has docker || missing='docker.io iptables'
has nft || missing="$missing nftables"
has conntrack || missing="$missing conntrack"
say missing "$missing"
say memory-kb "$(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo)"
free() { df -Pk "$1" | sed -n '2s/^[^ ]* *[0-9]* *[0-9]* *\([0-9]*\).*/\1/p'; }
for folder in /var/lib/docker /var/lib; do
  [ -d "$folder" ] || continue
  say free-kb "$(free "$folder")"
  break
done
for folder in /var/lib/flotilla /var/lib; do
  [ -d "$folder" ] || continue
  say agent-free-kb "$(free "$folder")"
  break
done
if [ -r /sys/fs/cgroup/cgroup.controllers ]; then
  case " $(cat /sys/fs/cgroup/cgroup.controllers) " in
    *' memory '*) say memory-limits yes ;;
    *) say memory-limits no ;;
  esac
elif [ -r /proc/cgroups ]; then
  case $(sed -n 's/^memory\t.*\t\([01]\)$/\1/p' /proc/cgroups) in
    1) say memory-limits yes ;;
    0) say memory-limits no ;;
  esac
fi
for file in /boot/firmware/cmdline.txt /boot/cmdline.txt; do
  [ -f "$file" ] && say boot-line "$file" && break
done
say interface "$(while read -r name to rest; do [ "$to" = 00000000 ] && echo "$name" && break; done < /proc/net/route)"
if [ "$(id -u)" = 0 ]; then say rights root
elif has sudo; then
  if sudo -k -n true 2>/dev/null; then say rights sudo; else say rights sudo-with-password; fi
else say rights none; fi
exit 0
`;

/** What only root may know. The one file it writes, to measure the disk, is gone when it ends. */
export const rootFactsText = String.raw`LC_ALL=C
export LC_ALL
say() { printf '%s=%s\n' "$1" "$2"; }
root=/var/lib/flotilla
if [ -d "$root" ]; then
  say owned yes
  [ -s "$root/state/ca.crt" ] && say cluster-ca "$(sha256sum < "$root/state/ca.crt" | cut -c 1-64)"
  say node "$(sed -n 's/^FLOTILLA_NODE_NAME=//p' "$root/settings" 2>/dev/null)"
fi
file=$(mktemp /var/lib/.flotilla-measure-XXXXXX) || exit 0
trap 'rm -f "$file"' EXIT
say sync-seconds "$(dd if=/dev/zero of="$file" bs=4k count=16 oflag=dsync 2>&1 | sed -n 's/.* copied, \([0-9.e-]*\) s,.*/\1/p')"
exit 0
`;
const measuredWrites = 16;

export type Rights = 'root' | 'sudo' | 'sudo-with-password' | 'none';

export interface MachineFacts {
  readonly hostName: string;
  /** As Node names it; undefined: none that there is a runtime for. */
  readonly architecture: 'x64' | 'arm64' | undefined;
  /** `armv7l`, as the kernel says. */
  readonly machine: string;
  /** Of programs: a 64-bit kernel may run a system of 32 bits. Undefined: it can't be known. */
  readonly bits: 32 | 64 | undefined;
  readonly isLinux: boolean;
  readonly model: string | undefined;
  readonly machineId: string | undefined;
  /** Another at each start. */
  readonly bootId: string | undefined;
  /** `Debian GNU/Linux 12 (bookworm)`. */
  readonly system: string | undefined;
  readonly hasSystemd: boolean;
  /** And what unpacks its packages. */
  readonly hasApt: boolean;
  readonly docker: 'missing' | 'stopped' | 'running';
  /** Packages of Debian that its agent needs. */
  readonly missing: readonly string[];
  readonly memoryBytes: number | undefined;
  /** Where Docker keeps images. */
  readonly freeBytes: number | undefined;
  /** Below /var/lib/flotilla, which may be another disk. */
  readonly agentFreeBytes: number | undefined;
  /** Undefined: it can't be known. */
  readonly limitsMemory: boolean | undefined;
  /** The file with the line that a Raspberry Pi's kernel is started with. */
  readonly bootLine: string | undefined;
  /** By how much its clock is ahead of ours. */
  readonly clockAheadMs: number | undefined;
  /** Of the way out. */
  readonly interface: string | undefined;
  readonly rights: Rights;
}

export interface RootFacts {
  /** Our directory is there: it is, or was, a machine of a cluster. */
  readonly isOwned: boolean;
  /** SHA-256 of the authority's certificate, in hexadecimal: which cluster's. */
  readonly clusterCa: string | undefined;
  readonly nodeName: string | undefined;
  /** How long a small write takes until it is kept. */
  readonly syncMs: number | undefined;
}

const architectures: Readonly<Record<string, 'x64' | 'arm64'>> = {
  x86_64: 'x64',
  amd64: 'x64',
  aarch64: 'arm64',
  arm64: 'arm64',
};
const rightsKnown = ['root', 'sudo', 'sudo-with-password', 'none'] as const;
const dockerKnown = ['missing', 'stopped', 'running'] as const;

/** `nowMs`: when it answered. */
export function readFacts(output: string, nowMs: number): MachineFacts {
  const text = answers(output);
  const seconds = numberOf(text('now'));
  const machine = text('machine') ?? '';
  const bits = numberOf(text('bits'));
  const limits = text('memory-limits');
  return {
    hostName: text('host-name') ?? '',
    architecture: architectures[machine],
    machine,
    bits: bits === 32 || bits === 64 ? bits : undefined,
    isLinux: text('kernel') === 'Linux',
    model: text('model') ?? text('product'),
    machineId: text('machine-id'),
    bootId: text('boot-id'),
    system: text('system'),
    hasSystemd: text('systemd') === 'yes',
    hasApt: text('apt') === 'yes',
    docker: dockerKnown.find((one) => one === text('docker')) ?? 'missing',
    missing: (text('missing') ?? '').split(' ').filter((name) => /^[a-z][a-z.]*$/.test(name)),
    memoryBytes: bytesOf(text('memory-kb')),
    freeBytes: bytesOf(text('free-kb')),
    agentFreeBytes: bytesOf(text('agent-free-kb')),
    limitsMemory: limits === undefined ? undefined : limits === 'yes',
    bootLine: text('boot-line'),
    clockAheadMs: seconds === undefined ? undefined : seconds * 1000 - nowMs,
    interface: text('interface'),
    rights: rightsKnown.find((one) => one === text('rights')) ?? 'none',
  };
}

export function readRootFacts(output: string): RootFacts {
  const text = answers(output);
  const seconds = numberOf(text('sync-seconds'));
  return {
    isOwned: text('owned') === 'yes',
    clusterCa: text('cluster-ca'),
    nodeName: text('node'),
    syncMs: seconds === undefined ? undefined : (seconds * 1000) / measuredWrites,
  };
}

function answers(output: string): (name: string) => string | undefined {
  const said = new Map<string, string>();
  for (const line of output.split('\n')) {
    const at = line.indexOf('=');
    if (at > 0) said.set(line.slice(0, at), printable(line.slice(at + 1)));
  }
  return (name) => said.get(name) || undefined;
}

/** It may say what it likes, and all of it is shown to people. */
function printable(text: string): string {
  return text
    .replaceAll(/[^\P{Cc}]/gu, ' ')
    .trim()
    .slice(0, 200);
}

function numberOf(text: string | undefined): number | undefined {
  const number = Number(text ?? Number.NaN);
  return Number.isFinite(number) ? number : undefined;
}

function bytesOf(kilobytes: string | undefined): number | undefined {
  const number = numberOf(kilobytes);
  return number === undefined ? undefined : number * 1024;
}
