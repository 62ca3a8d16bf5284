# First process of a machine of the lab, in its new namespaces: puts its disk together, mounts what a system
# expects, and then only waits; the machine ends when its input does. $1: name, $2: folder of its disk, $3: layers of the
# system, with colons; the rest is shared with it under the same paths.
set -e
read -r pid rest < /proc/self/stat
name=$1 disk=$2 layers=$3
shift 3
mount --make-rprivate /
new=$disk/root
mkdir -p "$disk/upper" "$disk/work" "$disk/docker" "$new"
mount -t overlay -o "lowerdir=$layers,upperdir=$disk/upper,workdir=$disk/work" overlay "$new"
# An overlay can't lie on another: what the engine keeps lies on the real disk.
mkdir -p "$new/var/lib/docker" "$new/old"
mount --bind "$disk/docker" "$new/var/lib/docker"
mount -t proc -o nosuid,nodev,noexec proc "$new/proc"
# Of the kernel's settings a machine has those of its network to itself, and no others.
mount --bind "$new/proc/sys" "$new/proc/sys"
mount -o remount,bind,ro "$new/proc/sys"
mount --bind "$new/proc/sys/net" "$new/proc/sys/net"
mount -o remount,bind,rw "$new/proc/sys/net"
mount -t sysfs -o nosuid,nodev,noexec sysfs "$new/sys"
mount -t tmpfs -o mode=755 tmpfs "$new/dev"
for device in null zero full random urandom tty; do
  : > "$new/dev/$device"
  mount --bind "/dev/$device" "$new/dev/$device"
done
mkdir "$new/dev/pts" "$new/dev/shm" "$new/dev/mqueue"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$new/dev/pts"
ln -s pts/ptmx "$new/dev/ptmx"
mount -t tmpfs tmpfs "$new/dev/shm"
mount -t mqueue mqueue "$new/dev/mqueue"
ln -s /proc/self/fd "$new/dev/fd"
mount -t tmpfs -o mode=755 tmpfs "$new/run"
mount -t tmpfs -o mode=1777 tmpfs "$new/tmp"
if [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; then
  mount -t cgroup2 cgroup2 "$new/sys/fs/cgroup"
else
  mount -t tmpfs -o mode=755 tmpfs "$new/sys/fs/cgroup"
  while IFS=: read -r id controllers path; do
    [ -n "$controllers" ] || continue
    mkdir "$new/sys/fs/cgroup/${controllers#name=}"
    case $controllers in name=*) options=none,$controllers ;; *) options=$controllers ;; esac
    mount -t cgroup -o "$options" cgroup "$new/sys/fs/cgroup/${controllers#name=}"
  done < /proc/self/cgroup
fi
for shared; do
  if [ -d "$shared" ]; then mkdir -p "$new$shared"
  elif [ ! -e "$new$shared" ]; then mkdir -p "$new$(dirname "$shared")" && : > "$new$shared"; fi
  mount --bind "$shared" "$new$shared"
done
hostname "$name"
echo "$name" > "$new/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$name" > "$new/etc/hosts"
: > "$new/etc/resolv.conf"
[ -s "$new/etc/machine-id" ] || tr -d - < /proc/sys/kernel/random/uuid > "$new/etc/machine-id"
ip link set lo up
pivot_root "$new" "$new/old"
umount --lazy /old
cd /
exec 3<&0
echo "$pid"
cat <&3 > /dev/null &
wait $!
