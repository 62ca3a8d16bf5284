// kubeconfig files: written for kubectl and for agents (one cluster, one user, one context, all
// data inline, mode 0600), and read back as the few things a transport needs.
// Source: kubernetes client-go tools/clientcmd/api/v1/types.go.
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { writeFileAtomic } from './atomic-file.ts';

/** How to reach an API server and as whom. */
export interface ClientConfig {
  /** `https://host:port`. */
  readonly server: string;
  readonly caPem: string;
  readonly certPem?: string;
  readonly keyPem?: string;
  readonly token?: string;
  /** The name that the server's certificate has to bear; left out: the one in `server`. */
  readonly serverName?: string;
}

export interface KubeconfigNames {
  readonly cluster: string;
  readonly user: string;
}

/** The file can't be used; the message says which and why. */
export class KubeconfigError extends Error {
  override readonly name = 'KubeconfigError';
}

export async function writeKubeconfig(
  path: string,
  config: ClientConfig,
  names: KubeconfigNames,
): Promise<void> {
  await writeFileAtomic(path, formatKubeconfig(config, names));
}

/** For a program of ours: the same in JSON. */
export async function writeAgentKubeconfig(
  path: string,
  config: ClientConfig,
  names: KubeconfigNames,
): Promise<void> {
  await writeFileAtomic(path, agentKubeconfigText(config, names));
}

export function agentKubeconfigText(config: ClientConfig, names: KubeconfigNames): string {
  return `${JSON.stringify(documentOf(config, names), null, 2)}\n`;
}

function documentOf(config: ClientConfig, { cluster, user }: KubeconfigNames) {
  const context = `${user}@${cluster}`;
  return {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: cluster,
        cluster: {
          server: config.server,
          'certificate-authority-data': base64(config.caPem),
          'tls-server-name': config.serverName,
        },
      },
    ],
    users: [
      {
        name: user,
        user: {
          'client-certificate-data': base64(config.certPem),
          'client-key-data': base64(config.keyPem),
          token: config.token,
        },
      },
    ],
    contexts: [{ name: context, context: { cluster, user } }],
    'current-context': context,
  };
}

/** Every value is quoted as JSON, which YAML understands whatever it holds. */
export function formatKubeconfig(config: ClientConfig, names: KubeconfigNames): string {
  const cluster = JSON.stringify(names.cluster);
  const user = JSON.stringify(names.user);
  const context = JSON.stringify(`${names.user}@${names.cluster}`);
  const credentials = [
    ['client-certificate-data', base64(config.certPem)],
    ['client-key-data', base64(config.keyPem)],
    ['token', config.token],
  ].filter(([, value]) => value !== undefined);
  return [
    'apiVersion: v1',
    'kind: Config',
    'clusters:',
    `- name: ${cluster}`,
    '  cluster:',
    `    server: ${JSON.stringify(config.server)}`,
    `    certificate-authority-data: ${base64(config.caPem)}`,
    ...(config.serverName === undefined
      ? []
      : [`    tls-server-name: ${JSON.stringify(config.serverName)}`]),
    'users:',
    `- name: ${user}`,
    credentials.length === 0 ? '  user: {}' : '  user:',
    ...credentials.map(([key, value]) => `    ${key}: ${JSON.stringify(value)}`),
    'contexts:',
    `- name: ${context}`,
    '  context:',
    `    cluster: ${cluster}`,
    `    user: ${user}`,
    `current-context: ${context}`,
    'preferences: {}',
    '',
  ].join('\n');
}

/** Reads the current context. Throws KubeconfigError; files it names are relative to its folder. */
export async function readKubeconfig(path: string): Promise<ClientConfig> {
  const document = asRecord(await parsed(await readFile(path, 'utf8')));
  const contextName = document['current-context'];
  const context = asRecord(named(document['contexts'], contextName)?.['context']);
  const cluster = asRecord(named(document['clusters'], context['cluster'])?.['cluster']);
  const user = asRecord(named(document['users'], context['user'])?.['user']);
  const server = cluster['server'];
  if (typeof server !== 'string' || server === '')
    throw new KubeconfigError(`${path}: the current context names no cluster with a server`);
  const folder = dirname(path);
  const caPem = await pemOf(cluster, 'certificate-authority', folder);
  if (caPem === undefined)
    throw new KubeconfigError(`${path}: the cluster has no certificate-authority-data`);
  const certPem = await pemOf(user, 'client-certificate', folder);
  const keyPem = await pemOf(user, 'client-key', folder);
  const token = user['token'];
  const serverName = cluster['tls-server-name'];
  return {
    server,
    caPem,
    ...(certPem === undefined ? {} : { certPem }),
    ...(keyPem === undefined ? {} : { keyPem }),
    ...(typeof token === 'string' ? { token } : {}),
    ...(typeof serverName === 'string' ? { serverName } : {}),
  };
}

/** The agent's own is JSON, so that it need not load what reads YAML: 7 MB of its memory. */
async function parsed(text: string): Promise<unknown> {
  if (text.startsWith('{')) return JSON.parse(text);
  const { parse } = await import('yaml');
  return parse(text);
}

async function pemOf(
  entry: Readonly<Record<string, unknown>>,
  field: string,
  folder: string,
): Promise<string | undefined> {
  const data = entry[`${field}-data`];
  if (typeof data === 'string') return Buffer.from(data, 'base64').toString('utf8');
  const file = entry[field];
  return typeof file === 'string' ? await readFile(resolve(folder, file), 'utf8') : undefined;
}

function named(list: unknown, name: unknown): Record<string, unknown> | undefined {
  if (!Array.isArray(list)) return undefined;
  return list.map(asRecord).find((entry) => entry['name'] === name);
}

function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function base64(text: string | undefined): string | undefined {
  return text === undefined ? undefined : Buffer.from(text).toString('base64');
}
