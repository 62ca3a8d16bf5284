// Why a machine can become one of the cluster's, or can't, in words. Pure.
import type { Condition } from '#kube/api/meta.ts';
import type { AddableReason } from '#kube/machinery/fleet.ts';
import type { SshGreeting } from './ssh-greeting.ts';

/** What came of asking its SSH port. */
export type SshAnswer =
  | { readonly type: 'greeting'; readonly greeting: SshGreeting }
  | { readonly type: 'not-ssh' }
  /** Nothing listens there. */
  | { readonly type: 'closed' }
  /** No answer in time, or no way there. */
  | { readonly type: 'silent' };

export interface AddableFacts {
  readonly nodeName: string | undefined;
  /** The node of another cluster that it says it is. */
  readonly otherCluster: string | undefined;
  readonly address: string;
  readonly port: number;
  /** Undefined: not asked yet. */
  readonly ssh: SshAnswer | undefined;
  readonly isRaspberryPi: boolean;
}

export function addable(facts: AddableFacts): Omit<Condition, 'lastTransitionTime'> {
  const { nodeName, otherCluster, ssh, address, port, isRaspberryPi } = facts;
  const at = `port ${port} of ${address}`;
  if (nodeName !== undefined)
    return verdict('False', 'InCluster', `It is the node ${nodeName} of this cluster`);
  if (otherCluster !== undefined)
    return verdict(
      'False',
      'InOtherCluster',
      `It says that it is the node ${otherCluster} of another cluster: take it out there first`,
    );
  if (ssh === undefined) return verdict('Unknown', 'NotAsked', `Nobody has asked ${at} yet`);
  if (ssh.type === 'not-ssh')
    return verdict('False', 'NotSsh', `Something other than an SSH server answers on ${at}`);
  if (ssh.type === 'closed') {
    const how = isRaspberryPi
      ? 'turn SSH on: put an empty file named ssh on the boot partition of its card, and userconf.txt for a user; ' +
        'or choose it in Raspberry Pi Imager'
      : 'install and start its SSH server (openssh-server)';
    return verdict('False', 'SshClosed', `Nothing listens on ${at}: ${how}`);
  }
  if (ssh.type === 'silent')
    return verdict(
      'False',
      'SshSilent',
      `No answer from ${at} within three seconds: a firewall drops it, or the machine sleeps`,
    );
  const { software, operatingSystem } = ssh.greeting;
  if (operatingSystem === 'Windows')
    return verdict('False', 'NotLinux', 'It runs Windows: machines of the cluster run Linux');
  const system = operatingSystem ?? software;
  return verdict('True', 'SshAnswers', `${system} answers SSH on ${at}`);
}

function verdict(status: string, reason: AddableReason, message: string) {
  return { type: 'Addable', status, reason, message };
}
