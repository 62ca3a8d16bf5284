// A machine of the lab as a Raspberry Pi with a fresh card is at home: its name, its network card's maker, a real
// SSH server with the user pi (who may use sudo with a password), a stock avahi. systemd is a stand-in; its model it can't tell,
// as that is in /proc/device-tree, a name that no other kernel has and nobody can add.
import { copyFileSync } from 'node:fs';
import path from 'node:path';
import { eventually } from '../setup/cluster.ts';
import { root } from '../setup/machine.ts';
import type { Lab } from './lab.ts';
import type { LabMachine, LabMachineOptions } from './lab-machine.ts';

export const piPassword = 'correct-horse';

/** The rest of its address is that of its place in the segment. */
const maker = 'b8:27:eb:00:00';

/** Until it starts to speak (`startSpeaking`), nothing can be known of it. */
export async function becomePi(machine: LabMachine): Promise<void> {
  copyFileSync(path.join(root, 'test/lab/systemctl.sh'), machine.file('/usr/local/bin/systemctl'));
  const last = Number(machine.address.split('.').at(-1)).toString(16).padStart(2, '0');
  const script = `chmod 755 /usr/local/bin/systemctl
    mkdir -p /etc/systemd/system /run/systemd/system /run/sshd /run/dbus
    ip link set eth0 address ${maker}:${last}
    useradd -m -s /bin/bash -G sudo pi && echo "pi:$1" | chpasswd
    ssh-keygen -qA`;
  await machine.run('sh', '-ec', script, 'sh', piPassword);
}

/** Its SSH server and its multicast DNS, as at the end of a boot. */
export async function startSpeaking(machine: LabMachine): Promise<void> {
  machine.start('sshd', ['/usr/sbin/sshd', '-D', '-e']);
  await machine.run('sh', '-c', 'dbus-daemon --system --fork');
  machine.start('avahi', ['avahi-daemon']);
  await eventually(() => machine.run('sh', '-c', 'test -s /run/sshd.pid'), 'its SSH server runs');
}

/** Boots one more that is a Pi, and speaks. */
export async function addPi(
  lab: Lab,
  name: string,
  host: number,
  more: Pick<LabMachineOptions, 'hasEngine'> = {},
): Promise<LabMachine> {
  const machine = await lab.addMachine(name, '10.77.0', host, more);
  await becomePi(machine);
  await startSpeaking(machine);
  return machine;
}
