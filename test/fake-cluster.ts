// A cluster that is only a table of objects behind the user interface's way in: list, watch (as
// WebSockets and as streams), create, patch, delete, logs and statistics. For looking at the
// renderer in states that are hard to bring about; it enforces none of Kubernetes' rules.
import { createReadStream, existsSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { extname, join } from 'node:path';
import { text as readText } from 'node:stream/consumers';
import { WebSocketServer, type WebSocket } from 'ws';
import type {
  EnrolmentSpec,
  EnrolmentStatus,
  NodeOperationSpec,
  NodeOperationStatus,
} from '#kube/api/fleet.ts';
import type { Status } from '#kube/api/meta.ts';
import type { MemberReport, MembersReport, RecoveryReport } from '#kube/api/flotilla.ts';

export interface FakeObject {
  apiVersion: string;
  kind: string;
  metadata: {
    name: string;
    namespace?: string;
    uid?: string;
    resourceVersion?: string;
    [key: string]: unknown;
  };
  [key: string]: unknown;
}
export interface FakeKind {
  readonly apiVersion: string;
  readonly kind: string;
  readonly resource: string;
  readonly namespaced: boolean;
}
export interface FakeOptions {
  readonly kinds: readonly FakeKind[];
  readonly objects: readonly FakeObject[];
  /** One sample of a node's stats stream, called once a second per viewer; undefined: none this time. */
  readonly stats: (node: string, nowMs: number) => object | undefined;
  /** What a node keeps of the past: its answer to stats/history. */
  readonly history?: (node: string, query: URLSearchParams) => object;
  readonly log: (pod: string) => readonly string[];
  /** Answers a Status to refuse an object with, or undefined. */
  readonly refuse?: (object: FakeObject) => object | undefined;
  /** Answers a Status to refuse a deletion with, or undefined. */
  readonly keep?: (object: FakeObject) => object | undefined;
  /** What asking to add this machine answers; a Status refuses it. */
  /** Answers `nodes/NAME/power` and `nodes/NAME/removal`. */
  readonly operate?: (node: string, spec: NodeOperationSpec) => NodeOperationStatus;
  readonly enrol?: (machine: string, spec: EnrolmentSpec) => EnrolmentStatus | Status;
  /** What asking for a link for another device answers; a Status refuses it. */
  readonly pageLink?: () => Status | { readonly urls: readonly string[]; readonly expires: string };
  /** What setting the passphrase of backups answers; a Status refuses it. */
  readonly setPassphrase?: (typed: string | undefined) => object;
  /** What handing a backup over answers. */
  readonly adopt?: (passphrase: string, length: number) => Status;
  /** Who keeps the state; left out: one machine. */
  readonly members?: MembersReport;
  /** Answers the whole API with 401. */
  readonly isSignedOut?: boolean;
  /** Folder of the built user interface. */
  readonly root: string;
}

/** The first leads and is asked; `more` by name. */
export function fakeMembers(
  names: readonly string[],
  more: Readonly<Record<string, Partial<MemberReport>>> = {},
): MembersReport {
  const members = names.map((name, index) => ({
    id: index + 1,
    name,
    role: 'voter' as const,
    addresses: [`192.168.1.${20 + index}:7444`],
    isLeader: index === 0,
    isSelf: index === 0,
    health: 'running' as const,
    lag: 0,
    ...more[name],
  }));
  return { clusterId: 'fake', term: 3, revision: 100, members, problem: null };
}

function sendSample(socket: WebSocket, sample: object | undefined): void {
  if (sample !== undefined) socket.send(`${JSON.stringify(sample)}\n`);
}

interface Target {
  readonly kind: FakeKind;
  readonly namespace: string;
  readonly name: string;
  readonly subresource: string;
}

export class FakeCluster {
  /** What is answered to who thinks of going on alone. */
  recovery: RecoveryReport = {
    clusterId: 'fake',
    refusal: null,
    unconfirmedEntries: 2,
    isVoter: true,
    others: [
      { name: 'pi-kitchen', role: 'voter', heardSecondsAgo: 7_200 },
      { name: 'thinkpad', role: 'voter', heardSecondsAgo: null },
    ],
  };
  readonly #options: FakeOptions;
  readonly #objects = new Map<string, FakeObject>();
  readonly #watchers = new Set<{ prefix: string; send: (text: string) => void }>();
  readonly #server: Server;
  readonly #memberSockets = new Set<WebSocket>();
  #members: MembersReport;
  readonly #sockets = new WebSocketServer({ noServer: true });
  #revision = 100;
  #isSignedOut: boolean;

  constructor(options: FakeOptions) {
    this.#options = options;
    this.#members = options.members ?? fakeMembers(['desk']);
    this.#isSignedOut = options.isSignedOut === true;
    for (const object of options.objects) this.put(object);
    this.#server = createServer((request, response) => void this.#answer(request, response));
    this.#server.on('upgrade', (request, socket, head) => {
      this.#sockets.handleUpgrade(request, socket, head, (webSocket) =>
        this.#stream(request, webSocket),
      );
    });
  }

  /** The session ends: nothing but the page itself is answered any more. */
  signOut(): void {
    this.#isSignedOut = true;
    for (const socket of this.#sockets.clients) socket.terminate();
  }

  tellMembers(report: MembersReport): void {
    this.#members = report;
    for (const socket of this.#memberSockets) socket.send(`${JSON.stringify(report)}\n`);
  }

  /** Answers the address of the user interface. */
  listen(port = 0): Promise<string> {
    return new Promise((resolve) => {
      this.#server.listen(port, '127.0.0.1', () => {
        const address = this.#server.address();
        resolve(`http://127.0.0.1:${typeof address === 'object' ? address?.port : port}`);
      });
    });
  }

  close(): void {
    for (const client of this.#sockets.clients) client.terminate();
    this.#server.closeAllConnections();
    this.#server.close();
  }

  put(object: FakeObject): FakeObject {
    const key = this.#keyOf(object);
    const known = this.#objects.get(key);
    const revision = String(++this.#revision);
    const stored = structuredClone(object);
    stored.metadata = {
      uid: `uid-${revision}`,
      ...known?.metadata,
      ...stored.metadata,
      resourceVersion: revision,
    };
    stored.metadata['creationTimestamp'] ??= new Date().toISOString();
    this.#objects.set(key, stored);
    this.#tell(key, known === undefined ? 'ADDED' : 'MODIFIED', stored);
    return stored;
  }

  get(key: string): FakeObject | undefined {
    return this.#objects.get(key);
  }

  /** Those of one kind, by its plural. */
  all(resource: string): FakeObject[] {
    return this.#list(`${resource}/`);
  }

  remove(key: string): void {
    const object = this.#objects.get(key);
    if (object === undefined) return;
    this.#objects.delete(key);
    object.metadata.resourceVersion = String(++this.#revision);
    this.#tell(key, 'DELETED', object);
  }

  #keyOf({ apiVersion, kind, metadata }: FakeObject): string {
    const found = this.#options.kinds.find(
      (one) => one.kind === kind && one.apiVersion === apiVersion,
    );
    if (found === undefined) throw new Error(`no kind ${apiVersion} ${kind}`);
    return `${found.resource}/${found.namespaced ? (metadata.namespace ?? 'default') : ''}/${metadata.name}`;
  }

  #tell(key: string, type: string, object: FakeObject): void {
    const text = `${JSON.stringify({ type, object })}\n`;
    for (const { prefix, send } of this.#watchers) if (key.startsWith(prefix)) send(text);
  }

  #list(prefix: string): FakeObject[] {
    return [...this.#objects].filter(([key]) => key.startsWith(prefix)).map(([, object]) => object);
  }

  #target(path: string): Target | undefined {
    const parts = path
      .split('/')
      .filter((part) => part !== '')
      .map(decodeURIComponent);
    const apiVersion = parts[0] === 'api' ? parts[1] : `${parts[1]}/${parts[2]}`;
    let rest = parts.slice(parts[0] === 'api' ? 2 : 3);
    let namespace = '';
    if (rest[0] === 'namespaces' && rest.length > 2) {
      namespace = rest[1] ?? '';
      rest = rest.slice(2);
    }
    const kind = this.#options.kinds.find(
      (one) => one.apiVersion === apiVersion && one.resource === rest[0],
    );
    if (kind === undefined) return undefined;
    return { kind, namespace, name: rest[1] ?? '', subresource: rest.slice(2).join('/') };
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://fake');
    if (url.pathname === '/session') return void response.writeHead(204).end();
    if (url.pathname === '/version' && !this.#isSignedOut)
      return json(response, 200, { gitVersion: 'v1.35.0' });
    if (url.pathname === '/flotilla/page-links' && this.#options.pageLink !== undefined) {
      const answer = request.method === 'POST' ? this.#options.pageLink() : {};
      return json(response, 'code' in answer ? (answer.code ?? 500) : 200, answer);
    }
    if (url.pathname === '/flotilla/cluster-backup' && request.method === 'POST') {
      const sent = String(request.headers['flotilla-passphrase'] ?? '');
      const length = (await readText(request)).length;
      const answer = this.#options.adopt?.(Buffer.from(sent, 'base64').toString(), length) ?? {};
      return json(response, answer.code ?? 202, answer);
    }
    if (url.pathname === '/flotilla/recovery' && !this.#isSignedOut)
      return request.method === 'POST'
        ? json(response, 202, { kind: 'Status', apiVersion: 'v1', status: 'Success' })
        : json(response, 200, this.recovery);
    if (!/^\/(apis?|version)(\/|$)/.test(url.pathname)) return this.#file(url.pathname, response);
    if (this.#isSignedOut)
      return json(response, 401, { kind: 'Status', code: 401, reason: 'Unauthorized' });
    const target = this.#target(url.pathname);
    if (target === undefined) return this.#discovery(url.pathname, response);
    if (target.subresource === 'proxy/images/load') return loadImages(request, response);
    const isTable = String(request.headers.accept).includes('as=Table');
    if (request.method === 'GET' && target.name === '') {
      if (url.searchParams.get('watch') === 'true') return void response.writeHead(200);
      const list = this.#list(prefixOf(target));
      return json(response, 200, isTable ? this.#table(list) : this.#listOf(target.kind, list));
    }
    if (target.subresource === 'proxy/stats/history')
      return json(response, 200, this.#options.history?.(target.name, url.searchParams) ?? {});
    await this.#write({ request, response, target, isDryRun: url.searchParams.has('dryRun') });
  }

  async #write(call: {
    request: IncomingMessage;
    response: ServerResponse;
    target: Target;
    isDryRun: boolean;
  }): Promise<void> {
    const { request, response, target, isDryRun } = call;
    const key = `${target.kind.resource}/${target.kind.namespaced ? target.namespace : ''}/${target.name}`;
    const body = await readJson(request);
    if (target.subresource === 'enrolment') {
      const { apiVersion, metadata, spec } = body as FakeObject & { spec: EnrolmentSpec };
      const status = this.#options.enrol?.(target.name, spec);
      if (status !== undefined && 'code' in status)
        return json(response, status.code ?? 500, status);
      return json(response, 201, { apiVersion, kind: 'Enrolment', metadata, status });
    }
    if (target.subresource === 'power' || target.subresource === 'removal') {
      const { spec } = body as FakeObject & { spec: NodeOperationSpec };
      const status = this.#options.operate?.(target.name, spec);
      return json(response, 201, { ...(body as FakeObject), status });
    }
    if (target.subresource === 'passphrase') {
      const { spec } = body as { readonly spec?: { readonly passphrase?: string } };
      const answer = this.#options.setPassphrase?.(spec?.passphrase) ?? { code: 503 };
      return json(response, 'code' in answer ? Number(answer.code) : 201, answer);
    }
    if (request.method === 'POST') {
      const object = body as FakeObject;
      const refusal = this.#options.refuse?.(object);
      if (refusal !== undefined) return json(response, 422, refusal);
      return json(response, 201, isDryRun ? object : this.put(object));
    }
    const known = this.#objects.get(key);
    if (known === undefined)
      return json(response, 404, {
        kind: 'Status',
        code: 404,
        reason: 'NotFound',
        message: `${target.kind.resource} "${target.name}" not found`,
      });
    if (request.method === 'PATCH' || request.method === 'PUT') {
      const next = changed(known, request, body);
      const { resourceVersion } = next.metadata;
      if (resourceVersion !== undefined && resourceVersion !== known.metadata.resourceVersion)
        return json(response, 409, conflict(target));
      // By it the page knows whether the search has done what was asked for last.
      if (next.kind === 'Discovery')
        next.metadata['generation'] = Number(known.metadata['generation'] ?? 0) + 1;
      return json(response, 200, isDryRun ? next : this.put(next));
    }
    const refusal = request.method === 'DELETE' ? this.#options.keep?.(known) : undefined;
    if (refusal !== undefined) return json(response, 403, refusal);
    if (isDryRun) return json(response, 200, known);
    if (request.method === 'DELETE') this.remove(key);
    json(response, 200, known);
  }

  #stream(request: IncomingMessage, socket: WebSocket): void {
    const url = new URL(request.url ?? '/', 'http://fake');
    if (url.pathname === '/flotilla/members') {
      this.#memberSockets.add(socket);
      socket.on('close', () => this.#memberSockets.delete(socket));
      return socket.send(`${JSON.stringify(this.#members)}\n`);
    }
    const target = this.#target(url.pathname);
    if (target === undefined || this.#isSignedOut) return socket.close(1008);
    if (target.subresource === 'log') {
      for (const line of this.#options.log(target.name)) socket.send(`${line}\n`);
      return;
    }
    if (target.subresource.startsWith('proxy/stats')) {
      const send = (): void => sendSample(socket, this.#options.stats(target.name, Date.now()));
      const timer = setInterval(send, 1000);
      socket.on('close', () => clearInterval(timer));
      return;
    }
    const name =
      /^metadata\.name=(.+)$/.exec(url.searchParams.get('fieldSelector') ?? '')?.[1] ?? '';
    const watcher = {
      prefix: prefixOf(target) + (name === '' ? '' : name),
      send: (text: string) => socket.send(text),
    };
    if (url.searchParams.get('sendInitialEvents') === 'true') {
      for (const object of this.#list(watcher.prefix))
        watcher.send(`${JSON.stringify({ type: 'ADDED', object })}\n`);
      const { apiVersion, kind } = target.kind;
      const annotations = { 'k8s.io/initial-events-end': 'true' };
      const metadata = { resourceVersion: String(this.#revision), annotations };
      watcher.send(
        `${JSON.stringify({ type: 'BOOKMARK', object: { apiVersion, kind, metadata } })}\n`,
      );
    }
    this.#watchers.add(watcher);
    socket.on('close', () => this.#watchers.delete(watcher));
  }

  #listOf(kind: FakeKind, items: readonly FakeObject[]): object {
    return {
      apiVersion: kind.apiVersion,
      kind: `${kind.kind}List`,
      metadata: { resourceVersion: String(this.#revision) },
      items,
    };
  }

  #table(objects: readonly FakeObject[]): object {
    const column = (name: string, priority = 0) => ({
      name,
      type: 'string',
      format: '',
      description: '',
      priority,
    });
    return {
      apiVersion: 'meta.k8s.io/v1',
      kind: 'Table',
      metadata: { resourceVersion: String(this.#revision) },
      columnDefinitions: [column('Name'), column('Status'), column('Age'), column('Node', 1)],
      rows: objects.map((object) => ({
        cells: [
          object.metadata.name,
          (object['status'] as { phase?: string } | undefined)?.phase ?? '',
          '3h',
          (object['spec'] as { nodeName?: string } | undefined)?.nodeName ?? '',
        ],
        object: { kind: 'PartialObjectMetadata', metadata: object.metadata },
      })),
    };
  }

  #discovery(path: string, response: ServerResponse): void {
    const { kinds } = this.#options;
    if (path === '/apis') {
      const versions = new Set(
        kinds.map(({ apiVersion }) => apiVersion).filter((one) => one.includes('/')),
      );
      return json(response, 200, {
        groups: [...versions].map((groupVersion) => ({
          preferredVersion: { groupVersion },
          versions: [{ groupVersion }],
        })),
      });
    }
    const groupVersion = path.replace(/^\/apis?\//, '');
    const resources = kinds
      .filter(({ apiVersion }) => apiVersion === groupVersion)
      .map(({ resource, kind, namespaced }) => ({
        name: resource,
        kind,
        namespaced,
        verbs: ['list', 'watch', 'get'],
      }));
    json(response, 200, { groupVersion, resources });
  }

  #file(path: string, response: ServerResponse): void {
    const wanted = join(this.#options.root, path);
    const file =
      extname(path) !== '' && existsSync(wanted) ? wanted : join(this.#options.root, 'index.html');
    response.writeHead(200, {
      'content-type': contentTypes[extname(file)] ?? 'text/plain',
      'content-security-policy': policy,
    });
    createReadStream(file).pipe(response);
  }
}

const policy =
  "default-src 'self'; style-src 'self'; connect-src 'self' ws://127.0.0.1:*; base-uri 'none'; frame-ancestors 'none'";
const contentTypes: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
};

function prefixOf({ kind, namespace }: Target): string {
  return namespace === '' ? `${kind.resource}/` : `${kind.resource}/${namespace}/`;
}

function json(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

/** The text `an image` is one. */
async function loadImages(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if ((await readText(request)) === 'an image')
    return json(response, 200, { status: 'loaded', images: [{ name: 'my/web:1' }] });
  const message = 'this is no image archive; make one with "docker save -o FILE IMAGE"';
  json(response, 400, { kind: 'Status', code: 400, reason: 'BadRequest', message });
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  let text = '';
  for await (const chunk of request) text += String(chunk);
  return text === '' ? undefined : JSON.parse(text);
}

/** The object after a PUT, a merge patch, or those operations of a JSON patch that set a field. */
function changed(known: FakeObject, request: IncomingMessage, body: unknown): FakeObject {
  if (request.method === 'PUT') return body as FakeObject;
  if (!Array.isArray(body)) return mergePatch(known, body) as FakeObject;
  const next = structuredClone(known);
  for (const { path, value } of body as { path: string; value: unknown }[]) {
    const keys = path.split('/').slice(1);
    const last = keys.pop() ?? '';
    let parent = next as Record<string, unknown>;
    for (const key of keys) parent = parent[key] as Record<string, unknown>;
    parent[last] = value;
  }
  return next;
}

function conflict({ kind, name }: Target): object {
  const message =
    `Operation cannot be fulfilled on ${kind.resource} "${name}": the object has been modified; ` +
    'please apply your changes to the latest version and try again';
  return { kind: 'Status', code: 409, reason: 'Conflict', message };
}

function mergePatch(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const merged: Record<string, unknown> = { ...(target as Record<string, unknown>) };
  for (const [key, value] of Object.entries(patch))
    if (value === null) delete merged[key];
    else merged[key] = mergePatch(merged[key], value);
  return merged;
}
