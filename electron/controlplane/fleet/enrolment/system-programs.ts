// What is changed of a machine's own system, as programs of sh that run there as root: no more than a person would do by
// hand, each as often as one likes.

export const clockText = 'date +%s';

/** $1: seconds since 1970. From then on the network keeps it, where systemd can. */
export const setClockText = `set -e
date -s "@$1" > /dev/null
timedatectl set-ntp true 2> /dev/null || true
`;

/** Prints `on` or `off`. */
export const limitsText = String.raw`if [ -r /sys/fs/cgroup/cgroup.controllers ]; then
  case " $(cat /sys/fs/cgroup/cgroup.controllers) " in *' memory '*) echo on ;; *) echo off ;; esac
else
  case $(sed -n 's/^memory\t.*\t\([01]\)$/\1/p' /proc/cgroups) in 1) echo on ;; *) echo off ;; esac
fi
`;

/**
 * $1: the file, on the boot partition (FAT: there is no owner to keep). The kernel reads its first line alone; the
 * firmware's own parameters come before it, so the last word is ours.
 */
export const bootLineText = String.raw`set -euf
file=$1
line=$(head -n 1 "$file" | tr -d '\r')
case $line in *root=*) ;; *) echo "$file does not begin with the line of a kernel (root=…): it is left as it is" >&2; exit 1 ;; esac
[ -e "$file.before-flotilla" ] || { cp "$file" "$file.before-flotilla.new"; sync; mv "$file.before-flotilla.new" "$file.before-flotilla"; }
kept=
for word in $line; do
  case $word in cgroup_memory=* | cgroup_enable=memory | cgroup_disable=memory) ;; *) kept="$kept$word " ;; esac
done
wanted="$kept""cgroup_memory=1 cgroup_enable=memory"
[ "$(head -n 1 "$file")" != "$wanted" ] || exit 0
{ printf '%s\n' "$wanted"; tail -n +2 "$file"; } > "$file.new"
sync
mv "$file.new" "$file"
sync
`;

/** `done` when the engine answers and the programs are there that an agent calls. */
export const checkEngineText = `PATH=$PATH:/usr/sbin:/sbin
if [ -S /run/docker.sock ] && command -v nft > /dev/null && command -v conntrack > /dev/null; then echo done; else echo todo; fi
`;

/**
 * $@: packages, perhaps none. What an earlier run left half done is finished first; whoever else installs now is
 * waited for.
 */
export const engineText = `set -e
PATH=$PATH:/usr/sbin:/sbin DEBIAN_FRONTEND=noninteractive
export PATH DEBIAN_FRONTEND
wait=DPkg::Lock::Timeout=300
dpkg --configure -a > /dev/null
if [ $# -gt 0 ]; then
  apt-get -o $wait -qq update > /dev/null
  apt-get -o $wait -qq -y --no-install-recommends install "$@" > /dev/null
fi
[ -S /run/docker.sock ] || systemctl enable --now docker
tries=0
until [ -S /run/docker.sock ]; do
  tries=$((tries + 1))
  [ $tries -lt 30 ] || { echo "Docker Engine does not start: journalctl -u docker tells why" >&2; exit 1; }
  sleep 1
done
`;

/** In a moment: this program can still end in order. */
export const rebootText = `sync
(sleep 1; systemctl reboot) > /dev/null 2>&1 < /dev/null &
`;
