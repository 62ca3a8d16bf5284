// Whether ufw drops what pods ask of this machine: what comes in from the bridge is "incoming" to it, and its
// default is to drop that. Told and gone round, never changed: it is the person's firewall. firewalld
// needs nothing: Docker puts its bridges into a zone of its own there. Pure.

export interface UfwFiles {
  /** /etc/ufw/ufw.conf */
  readonly conf: string;
  /** /etc/default/ufw */
  readonly defaults: string;
  /** /etc/ufw/user.rules: what a person allowed. */
  readonly rules: string;
}

/** By which questions come in, after the proxy led them. */
export interface PodsWay {
  readonly bridge: string;
  readonly port: number;
}

export const ufwPaths: Readonly<Record<keyof UfwFiles, string>> = {
  conf: 'etc/ufw/ufw.conf',
  defaults: 'etc/default/ufw',
  rules: 'etc/ufw/user.rules',
};

/** What to do about it, as the end of a sentence; undefined: it lets pods ask. */
export function ufwProblem(files: UfwFiles, way: PodsWay): string | undefined {
  const isOn = /^\s*ENABLED\s*=\s*"?yes"?/im.test(files.conf);
  const isOpen = /^\s*DEFAULT_INPUT_POLICY\s*=\s*"?ACCEPT"?/im.test(files.defaults);
  if (!isOn || isOpen) return undefined;
  const accepts = files.rules
    .split('\n')
    .filter((line) => /^-A ufw-user-input .*-j ACCEPT/.test(line))
    .some((line) => isForPods(line, way));
  if (accepts) return undefined;
  const { bridge, port } = way;
  return `the firewall ufw drops what pods ask of this machine; "ufw allow in on ${bridge} to any port ${port}" lets them`;
}

/** For our port or all ports, and from the bridge or from everywhere. */
function isForPods(rule: string, way: PodsWay): boolean {
  const from = / -i (\S+)/.exec(rule)?.[1];
  const port = / --dports? (\S+)/.exec(rule)?.[1];
  const isPort = port === undefined || port.split(',').includes(String(way.port));
  const source = / -s (\S+)/.exec(rule)?.[1];
  const isSource = source === undefined || /^10\.(?:244|0)\./.test(source);
  if (from === undefined && port === undefined && source === undefined) return false;
  return isPort && isSource && (from === undefined || from === way.bridge);
}
