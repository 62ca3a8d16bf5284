// The flags of `npm start`, shared by the launcher, the desktop app and the control plane: one list,
// from which --help, parsing and the children's arguments derive.
import { isIPv4 } from 'node:net';
import { homedir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';

export interface Options {
  readonly headless: boolean;
  /** Absolute. */
  readonly dataDirectory: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly uiPort: number;
  /** IPv4, on which the API and this machine's agent listen; `0.0.0.0`: on all. */
  readonly bindAddress: string;
  readonly agent: boolean;
  readonly install: boolean;
  /** Where apps are reached by their names on this machine; undefined: not here. */
  readonly ingressPorts: IngressPorts | undefined;
  /** Processes and threads of a container at most; undefined: what suits the machine. */
  readonly podMaxPids: number | undefined;
  /** Undefined: made from the host's name. */
  readonly nodeName: string | undefined;
  /** 'off', or names of network interfaces. */
  readonly discovery: 'off' | readonly string[];
  /** An etcd that holds the state in place of this machine's disk; undefined: there is none. */
  readonly datastore: DatastoreOptions | undefined;
  /** `host:port` for other members of the control plane; undefined: the one kept from before. */
  readonly memberAddress: string | undefined;
  /** Runs day and night, unlike a laptop; undefined: unless it has a battery. */
  readonly isAlwaysOn: boolean | undefined;
  /** File of an invitation, absolute. */
  readonly join: string | undefined;
  /** File of a backup of the cluster, absolute. For the launcher alone. */
  readonly adopt: string | undefined;
  /** Port of etcd's API; undefined: not served. */
  readonly etcdPort: number | undefined;
  /** File, absolute; undefined: who changed what, without bodies. */
  readonly auditPolicy: string | undefined;
  /** File, absolute: this control plane was placed on its machine as that package. */
  readonly package: string | undefined;
  readonly help: boolean;
}

export interface IngressPorts {
  readonly http: number;
  readonly https: number;
}

export interface DatastoreOptions {
  /** `host:port` each. */
  readonly endpoints: readonly string[];
  /** Files, absolute. Any of them: the connection is encrypted. */
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
}

/** A flag or environment variable that makes no sense; the message says what would. */
export class OptionError extends Error {
  override readonly name = 'OptionError';
}

export const defaultPort = 7443;
export const defaultUiPort = 7480;

export const helpText = `Flotilla: a home-lab cluster on the machines you have.

  npm start [-- FLAGS]

  --headless            no window; print the address of the user interface instead
  --data DIR            where everything is kept (default: ~/.flotilla)
  --port N              port of the Kubernetes API (default: ${defaultPort}; 0 picks a free one)
  --bind-address IP     where the API and this machine's agent listen: 0.0.0.0 for other machines to join
                        (default: 127.0.0.1, for this machine alone)
  --ui-port N           port of the user interface on 127.0.0.1 (default: ${defaultUiPort}; 0 picks a free one)
  --node-name NAME      this machine's name in the cluster (default: its host name)
  --no-agent            run no containers on this machine
  --no-install          never install Docker Engine by the system's package manager
  --ingress-ports P,P|off
                        where apps answer to their names on this machine, by HTTP and HTTPS, once there is an
                        Ingress (default: 80,443)
  --pod-max-pids N      processes and threads that a container of this machine may have at most (default: 4096,
                        or half of what the kernel of a small machine makes)
  --audit-policy FILE   what logs/audit.log tells, as an audit.k8s.io/v1 Policy (default: who changed what)
  --discovery off|IF,…  interfaces on which to look for machines, and to tell of apps' names by mDNS
                        (also: FLOTILLA_DISCOVERY; default: off)
  --help                this text

Where the cluster's state is kept, if not on this machine alone:

  --member-address HOST:PORT
                        listen here for further machines that keep a copy of the state (from then on always;
                        0.0.0.0:PORT on all addresses, which is so with --bind-address 0.0.0.0);
                        \`npm run cluster -- invite NAME HOST:PORT\` invites one, three survive the loss of one
  --always-on yes|no    whether this machine runs day and night: such ones vote first, so that closing a laptop
                        stops nothing (default: yes, unless it has a battery)
  --adopt FILE          go on as the cluster of a backup (\`npm run cluster -- backup --out FILE\`, or the page Backup):
                        first start of an unused --data directory only. Asks for its passphrase
  --join FILE           become a member by an invitation: first start of an unused --data directory only
  --datastore etcd://HOST:PORT[,HOST:PORT]
                        keep it in an etcd of yours, 3.4 or newer; one data directory for each
  --datastore-ca FILE, --datastore-cert FILE, --datastore-key FILE
                        the etcd's certificate authority, and who we are to it
  --etcd-port N         serve etcd's own API on 127.0.0.1 to the cluster's administrator: etcdctl with pki/ca.crt,
                        pki/admin.crt and pki/admin.key. What it writes below /registry is neither
                        checked nor completed by anybody: use kubectl to change objects
`;

const flags = {
  headless: { type: 'boolean' },
  data: { type: 'string' },
  port: { type: 'string' },
  'ui-port': { type: 'string' },
  'bind-address': { type: 'string' },
  'node-name': { type: 'string' },
  'no-agent': { type: 'boolean' },
  'no-install': { type: 'boolean' },
  'ingress-ports': { type: 'string' },
  'pod-max-pids': { type: 'string' },
  discovery: { type: 'string' },
  'member-address': { type: 'string' },
  'always-on': { type: 'string' },
  adopt: { type: 'string' },
  join: { type: 'string' },
  datastore: { type: 'string' },
  'datastore-ca': { type: 'string' },
  'datastore-cert': { type: 'string' },
  'datastore-key': { type: 'string' },
  'etcd-port': { type: 'string' },
  'audit-policy': { type: 'string' },
  package: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const;

/** Our flags out of a command line that Electron and Chromium have put theirs into. */
export function ownFlags(args: readonly string[]): string[] {
  const own: string[] = [];
  for (const [index, arg] of args.entries()) {
    const name = /^--([^=]+)/.exec(arg)?.[1] ?? '';
    if (!Object.hasOwn(flags, name)) continue;
    own.push(arg);
    const takesValue = flags[name as keyof typeof flags].type === 'string' && !arg.includes('=');
    const value = args[index + 1];
    if (takesValue && value !== undefined) own.push(value);
  }
  return own;
}

/** Throws OptionError. `environment` supplies FLOTILLA_DISCOVERY; a flag wins over it. */
export function parseOptions(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Options {
  const values = parseFlags(args);
  const discovery = values.discovery ?? environment['FLOTILLA_DISCOVERY'] ?? 'off';
  const options: Options = {
    headless: values.headless === true,
    dataDirectory: dataDirectory(values.data),
    port: portNumber('--port', values.port, defaultPort),
    uiPort: portNumber('--ui-port', values['ui-port'], defaultUiPort),
    bindAddress: bindAddress(values['bind-address']),
    agent: values['no-agent'] !== true,
    install: values['no-install'] !== true,
    ingressPorts: ingressPorts(values['ingress-ports'] ?? '80,443'),
    podMaxPids: processCount(values['pod-max-pids']),
    nodeName: nodeName(values['node-name']),
    discovery: interfaceNames(discovery),
    datastore: datastore(values),
    memberAddress: memberAddress(values['member-address']),
    isAlwaysOn: yesOrNo('--always-on', values['always-on']),
    join: values.join === undefined ? undefined : filePath('--join', values.join),
    adopt: values.adopt === undefined ? undefined : filePath('--adopt', values.adopt),
    etcdPort:
      values['etcd-port'] === undefined
        ? undefined
        : portNumber('--etcd-port', values['etcd-port'], 0),
    auditPolicy:
      values['audit-policy'] === undefined
        ? undefined
        : filePath('--audit-policy', values['audit-policy']),
    package: values.package === undefined ? undefined : filePath('--package', values.package),
    help: values.help === true,
  };
  refuseContradictions(options);
  return options;
}

/** With an etcd beneath there is no state of our own to share or to serve. */
function refuseContradictions(options: Options) {
  const { datastore: etcd, memberAddress: member, join, adopt, etcdPort } = options;
  if (adopt !== undefined && join !== undefined)
    throw new OptionError(
      '--adopt and --join exclude each other: a machine takes a backup in, or joins those that are there.',
    );
  if (etcd === undefined) return;
  const given = [
    { flag: '--member-address', value: member },
    { flag: '--join', value: join },
    { flag: '--adopt', value: adopt },
    { flag: '--etcd-port', value: etcdPort },
  ].find(({ value }) => value !== undefined);
  if (given === undefined) return;
  throw new OptionError(
    `${given.flag} and --datastore exclude each other: with --datastore, etcd keeps and serves the state.`,
  );
}

/**
 * What a launcher is asked for: an interface that is not there is refused. Not so by its children,
 * whom a later start may find on another network. `interfaces`: those of this machine, by name.
 */
export function parseLaunchOptions(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
  interfaces: Readonly<Record<string, unknown>>,
): Options {
  const options = parseOptions(args, environment);
  if (options.help || options.discovery === 'off') return options;
  const unknown = options.discovery.find((name) => !Object.hasOwn(interfaces, name));
  if (unknown === undefined) return options;
  throw new OptionError(
    `This machine has no network interface "${unknown}" for --discovery (or FLOTILLA_DISCOVERY) to look on. It has: ${Object.keys(interfaces).join(', ')}.`,
  );
}

function parseFlags(args: readonly string[]) {
  try {
    return parseArgs({ args: withValues(args), options: flags }).values;
  } catch (error) {
    if (error instanceof OptionError) throw error;
    // Node's own advice follows after the first sentence.
    const [reason = ''] = (error as Error).message.split(/\.? *\n|\. |\.$/);
    throw new OptionError(`${reason}. \`npm start -- --help\` lists the flags.`, { cause: error });
  }
}

/** Each value tied to its flag: Node's own words about `--port -1` and `--port` help nobody. */
function withValues(args: readonly string[]): string[] {
  const tied: string[] = [];
  for (let index = 0; index < args.length; index++) {
    const arg = args[index] ?? '';
    const flag = flags[arg.slice(2) as keyof typeof flags];
    if (!arg.startsWith('--') || flag?.type !== 'string') {
      tied.push(arg);
      continue;
    }
    const value = args[++index];
    if (value === undefined) throw new OptionError(`${arg} needs a value.`);
    if (value.startsWith('--'))
      throw new OptionError(`${arg} needs a value, and "${value}" is a flag.`);
    tied.push(`${arg}=${value}`);
  }
  return tied;
}

/** An empty one is a variable that was not set, and would put everything into the current folder. */
function dataDirectory(text: string | undefined): string {
  if (text === '') throw new OptionError('--data takes a directory, not an empty text.');
  return path.resolve(text ?? path.join(homedir(), '.flotilla'));
}

function portNumber(flag: string, text: string | undefined, fallback: number): number {
  if (text === undefined) return fallback;
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65_535)
    throw new OptionError(`${flag} takes a port number from 0 to 65535, not "${text}".`);
  return port;
}

function bindAddress(text = '127.0.0.1'): string {
  if (isIPv4(text)) return text;
  throw new OptionError(`--bind-address takes an IPv4 address of this machine, not "${text}".`);
}

function datastore(values: {
  readonly datastore?: string;
  readonly 'datastore-ca'?: string;
  readonly 'datastore-cert'?: string;
  readonly 'datastore-key'?: string;
}): DatastoreOptions | undefined {
  const fileOf = (name: 'ca' | 'cert' | 'key'): string | undefined => {
    const value = values[`datastore-${name}`];
    return value === undefined ? undefined : filePath(`--datastore-${name}`, value);
  };
  const files = { ca: fileOf('ca'), cert: fileOf('cert'), key: fileOf('key') };
  if (values.datastore === undefined) {
    const stray = Object.entries(files).find(([, file]) => file !== undefined);
    if (stray === undefined) return undefined;
    throw new OptionError(`--datastore-${stray[0]} needs --datastore beside it.`);
  }
  if ((files.cert === undefined) !== (files.key === undefined))
    throw new OptionError('--datastore-cert and --datastore-key belong together: give both.');
  return { endpoints: datastoreEndpoints(values.datastore), ...files };
}

function datastoreEndpoints(text: string): string[] {
  const [, list] = /^etcd:\/\/(.+)$/.exec(text) ?? [];
  const endpoints = list?.split(',') ?? [];
  if (endpoints.length > 0 && endpoints.every(isHostAndPort)) return endpoints;
  throw new OptionError(
    `--datastore takes etcd://HOST:PORT, several with commas (etcd://a:2379,b:2379), not "${text}".`,
  );
}

/** Where this machine listens, so port 0 would be no address. */
function memberAddress(text: string | undefined): string | undefined {
  if (text === undefined || isHostAndPort(text)) return text;
  throw new OptionError(
    `--member-address takes HOST:PORT, by which the other machines reach this one, not "${text}".`,
  );
}

/** IPv6 in brackets. */
export function isHostAndPort(text: string): boolean {
  const [, port] = /^(?:[a-zA-Z0-9.-]+|\[[0-9a-fA-F:.]+\]):(\d{1,5})$/.exec(text) ?? [];
  return port !== undefined && Number(port) > 0 && Number(port) <= 65_535;
}

function yesOrNo(flag: string, text: string | undefined): boolean | undefined {
  if (text === undefined || text === 'yes' || text === 'no')
    return text === undefined ? undefined : text === 'yes';
  throw new OptionError(`${flag} takes yes or no, not "${text}".`);
}

function filePath(flag: string, text: string): string {
  if (text === '') throw new OptionError(`${flag} takes a file, not an empty text.`);
  return path.resolve(text);
}

function nodeName(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  if (text.length > 63 || !/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(text))
    throw new OptionError(
      `--node-name takes lower-case letters, digits, "-" and ".", at most 63, not "${text}".`,
    );
  return text;
}

function interfaceNames(text: string): 'off' | readonly string[] {
  if (text === 'off') return 'off';
  const names = text.split(',').map((name) => name.trim());
  if (names.some((name) => name === ''))
    throw new OptionError(
      `--discovery (or FLOTILLA_DISCOVERY) takes "off" or interface names with commas, not "${text}".`,
    );
  return names;
}

/** `HTTP,HTTPS`, or `off`. Throws OptionError. */
export function ingressPorts(text: string): IngressPorts | undefined {
  if (text === 'off') return undefined;
  const ports = text.split(',').map((part) => (/^\d{1,5}$/.test(part) ? Number(part) : -1));
  const [http = -1, https = -1, ...rest] = ports;
  if (rest.length > 0 || ![http, https].every((port) => port >= 0 && port < 65_536))
    throw new OptionError(
      `--ingress-ports takes "off" or two port numbers with a comma, for HTTP and HTTPS, not "${text}".`,
    );
  return { http, https };
}

/** More than the kernel can count (2^22) is none. */
export function processCount(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^[1-9]\d{0,6}$/.test(text) && Number(text) <= 2 ** 22) return Number(text);
  throw new OptionError(`--pod-max-pids takes a number from 1 to ${2 ** 22}, not "${text}".`);
}

export function ingressPortsText(ports: IngressPorts | undefined): string {
  return ports === undefined ? 'off' : `${ports.http},${ports.https}`;
}

/** The flags that make a child see the same options. */
export function controlPlaneArguments(options: Options): string[] {
  const discovery = options.discovery === 'off' ? 'off' : options.discovery.join(',');
  const args = ['--data', options.dataDirectory, '--port', String(options.port)];
  args.push('--ui-port', String(options.uiPort), '--discovery', discovery);
  args.push('--bind-address', options.bindAddress);
  if (options.nodeName !== undefined) args.push('--node-name', options.nodeName);
  if (!options.agent) args.push('--no-agent');
  const { datastore: etcd, memberAddress: address, isAlwaysOn, join } = options;
  const { etcdPort, auditPolicy, package: ownPackage } = options;
  if (address !== undefined) args.push('--member-address', address);
  if (isAlwaysOn !== undefined) args.push('--always-on', isAlwaysOn ? 'yes' : 'no');
  if (join !== undefined) args.push('--join', join);
  if (etcdPort !== undefined) args.push('--etcd-port', String(etcdPort));
  if (auditPolicy !== undefined) args.push('--audit-policy', auditPolicy);
  if (ownPackage !== undefined) args.push('--package', ownPackage);
  if (etcd === undefined) return args;
  args.push('--datastore', `etcd://${etcd.endpoints.join(',')}`);
  for (const name of ['ca', 'cert', 'key'] as const) {
    const file = etcd[name];
    if (file !== undefined) args.push(`--datastore-${name}`, file);
  }
  return args;
}
