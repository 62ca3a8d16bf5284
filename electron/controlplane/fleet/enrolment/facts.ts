// What a machine tells of itself when it is asked by SSH: a script of plain sh that changes nothing, and what its answer
// means. Pure.

/** A line for each fact, `name=value`; what can't be known is left out. Needs no rights. */
export const factsScript = String.raw`
say() { printf '%s=%s\n' "$1" "$2"; }
first() { [ -r "$2" ] && say "$1" "$(tr -d '\0' < "$2" | head -n 1)"; }
say kernel "$(uname -s)"
say machine "$(uname -m)"
say release "$(uname -r)"
say bits "$(getconf LONG_BIT 2>/dev/null)"
say host-name "$(uname -n)"
say now "$(date +%s)"
say user-id "$(id -u)"
first machine-id /etc/machine-id
first model /proc/device-tree/model
first serial /proc/device-tree/serial-number
first product /sys/class/dmi/id/product_name
[ -r /etc/os-release ] && . /etc/os-release && say system-id "$ID" && say system-name "$PRETTY_NAME"
[ -d /run/systemd/system ] && say init systemd
command -v apt-get >/dev/null && say packages apt
command -v docker >/dev/null && say docker "$(docker --version 2>/dev/null)"
[ -S /run/docker.sock ] || [ -S /var/run/docker.sock ] && say docker-socket yes
[ -e /var/lib/flotilla ] && say owned yes
say memory-kb "$(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo)"
say free-kb "$(df -Pk /var/lib 2>/dev/null | sed -n '2s/^[^ ]* *[0-9]* *[0-9]* *\([0-9]*\).*/\1/p')"
if [ -r /sys/fs/cgroup/cgroup.controllers ]; then
  case " $(cat /sys/fs/cgroup/cgroup.controllers) " in *' memory '*) say memory-limits yes ;; *) say memory-limits no ;; esac
elif [ -r /proc/cgroups ]; then
  say memory-limits "$(sed -n 's/^memory\t.*\t\([01]\)$/\1/p' /proc/cgroups | sed 's/1/yes/;s/0/no/')"
fi
for file in /boot/firmware/cmdline.txt /boot/cmdline.txt; do [ -f "$file" ] && say boot-line "$file" && break; done
if [ "$(id -u)" = 0 ]; then say rights root
elif command -v sudo >/dev/null; then
  if sudo -n true 2>/dev/null; then say rights sudo; else say rights sudo-with-password; fi
else say rights none; fi
`;

export interface MachineFacts {
  readonly hostName: string;
  /** As Node names it; undefined: none that we have a runtime for. */
  readonly architecture: 'x64' | 'arm64' | undefined;
  /** `armv7l`, as the kernel says. */
  readonly machine: string;
  /** Of programs: a 64-bit kernel may run a system of 32 bits. */
  readonly isUserland64: boolean;
  readonly isLinux: boolean;
  readonly model: string | undefined;
  readonly serial: string | undefined;
  readonly machineId: string | undefined;
  /** `debian`, `raspbian`, `ubuntu`. */
  readonly systemId: string | undefined;
  readonly systemName: string | undefined;
  readonly hasSystemd: boolean;
  readonly hasApt: boolean;
  readonly docker: 'missing' | 'stopped' | 'running';
  /** Our directory is there: it is, or was, a machine of a cluster. */
  readonly isOwned: boolean;
  readonly memoryBytes: number | undefined;
  readonly freeBytes: number | undefined;
  /** Undefined: it can't be known. */
  readonly limitsMemory: boolean | undefined;
  /** The line that a Raspberry Pi's kernel is started with. */
  readonly bootLine: string | undefined;
  /** Milliseconds by which its clock is ahead of ours. */
  readonly clockAheadMs: number | undefined;
  readonly rights: 'root' | 'sudo' | 'sudo-with-password' | 'none';
}

const architectures: Readonly<Record<string, 'x64' | 'arm64'>> = {
  x86_64: 'x64',
  amd64: 'x64',
  aarch64: 'arm64',
  arm64: 'arm64',
};
const rightsKnown = ['root', 'sudo', 'sudo-with-password', 'none'] as const;

/** `nowMs`: when it answered. */
export function readFacts(output: string, nowMs: number): MachineFacts {
  const said = new Map<string, string>();
  for (const line of output.split('\n')) {
    const at = line.indexOf('=');
    if (at > 0) said.set(line.slice(0, at), line.slice(at + 1).trim());
  }
  const text = (name: string): string | undefined => said.get(name) || undefined;
  const bytes = (name: string): number | undefined => {
    const kilobytes = Number(text(name) ?? Number.NaN);
    return Number.isFinite(kilobytes) ? kilobytes * 1024 : undefined;
  };
  const [machine, seconds] = [text('machine') ?? '', Number(text('now') ?? Number.NaN)];
  const limits = text('memory-limits');
  return {
    hostName: text('host-name') ?? '',
    architecture: architectures[machine],
    machine,
    isUserland64: text('bits') === '64',
    isLinux: text('kernel') === 'Linux',
    model: text('model') ?? text('product'),
    serial: text('serial'),
    machineId: text('machine-id'),
    systemId: text('system-id'),
    systemName: text('system-name'),
    hasSystemd: said.get('init') === 'systemd',
    hasApt: said.get('packages') === 'apt',
    docker: !said.has('docker') ? 'missing' : said.has('docker-socket') ? 'running' : 'stopped',
    isOwned: said.has('owned'),
    memoryBytes: bytes('memory-kb'),
    freeBytes: bytes('free-kb'),
    limitsMemory: limits === undefined ? undefined : limits === 'yes',
    bootLine: text('boot-line'),
    clockAheadMs: Number.isFinite(seconds) ? seconds * 1000 - nowMs : undefined,
    rights: rightsKnown.find((one) => one === text('rights')) ?? 'none',
  };
}
