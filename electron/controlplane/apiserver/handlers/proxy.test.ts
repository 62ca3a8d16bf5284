import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Service } from '#kube/api/core.ts';
import type { EndpointSlice } from '#kube/api/discovery.ts';
import { startTestApi, type TestApi } from '../../../../test/setup/api.ts';
import type { KubeletUpgrade } from './kubelet-client.ts';
import { parseProxyName, proxiedLocation, serviceTargets, splitProxyPath } from './proxy-target.ts';

describe('what a proxy request names', () => {
  const names = [
    { text: 'web', want: { scheme: 'http', name: 'web', port: '' } },
    { text: 'web:80', want: { scheme: 'http', name: 'web', port: '80' } },
    { text: 'https:web:named', want: { scheme: 'https', name: 'web', port: 'named' } },
    { text: ':web:80', want: { scheme: 'http', name: 'web', port: '80' } },
  ];
  it.each(names)('$text', ({ text, want }) => {
    expect(parseProxyName(text, 'pod')).toEqual(want);
  });
  it.each(['ftp:web:80', 'a:b:c:d', ':80'])('%s is refused', (text) => {
    expect(() => parseProxyName(text, 'service')).toThrow('invalid service request');
  });

  const paths = [
    { path: '/api/v1/namespaces/a/pods/b/proxy', count: 0, rest: '' },
    { path: '/api/v1/namespaces/a/pods/b/proxy/', count: 0, rest: '/' },
    { path: '/api/v1/namespaces/a/pods/b/proxy/x//y%2F/', count: 3, rest: '/x//y%2F/' },
    { path: '/api/v1/namespaces/proxy/pods/proxy/proxy/proxy', count: 1, rest: '/proxy' },
  ];
  it.each(paths)('the rest of $path', ({ path, count, rest }) => {
    expect(splitProxyPath(path, count)).toEqual({
      prefix: path.slice(0, path.length - rest.length),
      rest,
    });
  });

  const locations = [
    { given: '/login', want: '/p/login' },
    { given: 'http://api:1/login', want: '/p/login' },
    { given: 'https://api:1', want: '/p' },
    { given: 'http://api:12/login', want: 'http://api:12/login' },
    { given: '//evil/login', want: '//evil/login' },
    { given: 'login', want: 'login' },
  ];
  it.each(locations)('a redirect to $given', ({ given, want }) => {
    expect(proxiedLocation(given, '/p', 'api:1')).toBe(want);
  });
});

describe('the endpoints of a service', () => {
  const service = {
    metadata: { name: 's', namespace: 'a' },
    spec: { ports: [{ name: 'web', port: 80 }] },
  } as Service;
  const targetRef = { kind: 'Pod', name: 'p' };
  const slice = {
    ports: [{ name: 'web', port: 8080 }],
    endpoints: [
      { addresses: ['10.0.0.1'], nodeName: 'n', targetRef },
      { addresses: ['10.0.0.2'], nodeName: 'n', targetRef, conditions: { ready: false } },
      { addresses: ['10.0.0.3'], nodeName: 'n' },
    ],
  } as EndpointSlice;

  it.each(['', '80', 'web'])('of port "%s" are its ready pods', (port) => {
    expect(serviceTargets(service, port, [slice])).toEqual([
      { namespace: 'a', pod: 'p', nodeName: 'n', port: 8080 },
    ]);
  });
  it('are none of a port that it has not, or without pods', () => {
    expect(() => serviceTargets(service, '81', [slice])).toThrow(
      'no service port "81" found for service "s"',
    );
    expect(() => serviceTargets(service, '80', [])).toThrow(
      'no endpoints available for service "s"',
    );
  });
});

describe('a pod behind the proxy', () => {
  let api: TestApi;
  let backend: Server;
  let answer: () => Promise<KubeletUpgrade>;
  const opened: Socket[] = [];
  const proxyPath = '/api/v1/namespaces/default/pods/web:8080/proxy';

  beforeEach(async () => {
    backend = createServer((request, response) => {
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString()));
      request.on('end', () => {
        if (request.url === '/moved') response.writeHead(302, { location: '/there' }).end();
        else
          response.end(
            `${request.method} ${request.url} ${body} ${request.headers.authorization ?? '-'}`,
          );
      });
    });
    backend.on('upgrade', (_request: IncomingMessage, socket: Socket) => {
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: Upgrade\r\n\r\n',
      );
      socket.pipe(socket);
    });
    backend.listen(0, '127.0.0.1');
    await once(backend, 'listening');
    answer = async () => {
      const connection = connect((backend.address() as AddressInfo).port, '127.0.0.1');
      opened.push(connection);
      await once(connection, 'connect');
      return { status: 101, headers: {}, connection };
    };
    api = await startTestApi({ kubeletUpgrade: () => answer() });
    const spec = { nodeName: 'pi', containers: [{ name: 'main', image: 'i' }] };
    const body = { metadata: { name: 'web' }, spec };
    await api.request('POST', '/api/v1/namespaces/default/pods', { body });
    const status = { status: { podIP: '10.244.0.2', podIPs: [{ ip: '10.244.0.2' }] } };
    const headers = { 'content-type': 'application/merge-patch+json' };
    await api.request('PATCH', '/api/v1/namespaces/default/pods/web/status', {
      headers,
      body: status,
    });
  });
  afterEach(async () => {
    for (const socket of opened.splice(0)) socket.destroy();
    backend.close();
    await api.stop();
  });

  it('gets path, query, method and body, and no credentials', async () => {
    const headers = { authorization: 'Bearer secret', 'content-length': '4' };
    const body = 'body';
    const { status, text } = await api.request('POST', `${proxyPath}/a/b/?x=1`, { headers, body });
    expect([status, text]).toEqual([200, 'POST /a/b/?x=1 body -']);
    expect(String(api.kubeletRequests[0]?.request.path)).toBe('/dial/default/web');
    expect(opened.every((socket) => socket.destroyed)).toBe(true);
  });

  it('keeps its redirects behind the proxy', async () => {
    const { status, headers } = await api.request('GET', `${proxyPath}/moved`);
    expect([status, headers['location']]).toEqual([302, `${proxyPath}/there`]);
    const root = await api.request('GET', `${proxyPath}?a=b`);
    expect([root.status, root.headers['location']]).toEqual([301, `${proxyPath}/?a=b`]);
  });

  it('may upgrade', async () => {
    const headers = { connection: 'Upgrade', upgrade: 'echo' };
    const { status, connection } = await api.raw('GET', `${proxyPath}/ws`, { headers });
    expect(status).toBe(101);
    connection?.write('ping');
    const [bytes] = (await once(connection ?? new Readable(), 'data')) as [Buffer];
    expect(bytes.toString()).toBe('ping');
  });

  it('that can not be reached is 503 with the reason', async () => {
    async function* chunks() {
      yield Buffer.from('dial tcp 10.244.0.2:8080: connect: connection refused');
    }
    answer = async () => ({ status: 500, headers: {}, chunks: chunks() });
    const { status, json } = await api.request('GET', `${proxyPath}/`);
    expect([status, json.message]).toEqual([
      503,
      'error trying to reach service: dial tcp 10.244.0.2:8080: connect: connection refused',
    ]);
  });
});
