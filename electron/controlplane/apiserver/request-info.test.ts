import { describe, expect, it } from 'vitest';
import type { HttpMethod } from '#kube/client/transport.ts';
import { StatusError } from '#kube/machinery/status.ts';
import { parseRequestInfo } from './request-info.ts';

function parse(line: string): string {
  const [method = '', url = ''] = line.split(' ');
  const [path = '', query = ''] = url.split('?');
  const info = parseRequestInfo({
    method: method as HttpMethod,
    path,
    query: new URLSearchParams(query),
  });
  if (!info.isResourceRequest) return `path ${info.verb} ${info.path}`;
  const { verb, group, version, namespace, resource, subresource, name, rest } = info;
  const target = [resource, name, subresource, ...rest].join('/');
  return `${verb} ${group || 'core'}/${version} [${namespace}] ${target}`;
}

describe('the meaning of a request line', () => {
  const cases: readonly (readonly [string, string])[] = [
    ['GET /', 'path get /'],
    ['GET /api', 'path get /api'],
    ['GET /api/v1', 'path get /api/v1'],
    ['GET /apis/apps', 'path get /apis/apps'],
    ['GET /apis/apps/v1', 'path get /apis/apps/v1'],
    ['GET /healthz/ping', 'path get /healthz/ping'],
    ['GET /api/v1/pods', 'list core/v1 [] pods//'],
    ['GET /api/v1/pods?watch=true', 'watch core/v1 [] pods//'],
    ['GET /api/v1/pods?watch=1', 'watch core/v1 [] pods//'],
    ['GET /api/v1/pods?watch', 'watch core/v1 [] pods//'],
    ['GET /api/v1/pods?watch=false', 'list core/v1 [] pods//'],
    ['GET /api/v1/pods?watch=0', 'list core/v1 [] pods//'],
    ['HEAD /api/v1/pods', 'list core/v1 [] pods//'],
    ['GET /api/v1/watch/namespaces/a/pods', 'watch core/v1 [a] pods//'],
    ['GET /api/v1/namespaces', 'list core/v1 [] namespaces//'],
    ['GET /api/v1/namespaces/a', 'get core/v1 [a] namespaces/a/'],
    ['PUT /api/v1/namespaces/a/finalize', 'update core/v1 [a] namespaces/a/finalize'],
    ['PATCH /api/v1/namespaces/a/status', 'patch core/v1 [a] namespaces/a/status'],
    ['POST /api/v1/namespaces/a/pods', 'create core/v1 [a] pods//'],
    ['GET /api/v1/namespaces/a/pods/x', 'get core/v1 [a] pods/x/'],
    ['GET /api/v1/namespaces/a/pods/x/log?follow=true', 'get core/v1 [a] pods/x/log'],
    ['DELETE /api/v1/namespaces/a/pods/x', 'delete core/v1 [a] pods/x/'],
    ['DELETE /api/v1/namespaces/a/pods', 'deletecollection core/v1 [a] pods//'],
    ['GET /api/v1/nodes/n/proxy/stats/a%2Fb', 'get core/v1 [] nodes/n/proxy/stats/a%2Fb'],
    [
      'PATCH /apis/apps/v1/namespaces/a/deployments/x/scale',
      'patch apps/v1 [a] deployments/x/scale',
    ],
    [
      'GET /apis/apps/v1/deployments?fieldSelector=metadata.name%3Dx',
      'list apps/v1 [] deployments/x/',
    ],
    [
      'GET /apis/apps/v1/deployments?fieldSelector=metadata.name!%3Dx',
      'list apps/v1 [] deployments//',
    ],
    [
      'POST /apis/apps/v1/deployments?fieldSelector=metadata.name%3Dx',
      'create apps/v1 [] deployments//',
    ],
    [
      'GET /api/v1/namespaces/a/configmaps/kube-root-ca%2Ecrt',
      'get core/v1 [a] configmaps/kube-root-ca.crt/',
    ],
  ];
  for (const [given, want] of cases)
    it(`${given} is ${want}`, () => {
      expect(parse(given)).toBe(want);
    });

  it('is read in one pass, however many slashes there are', () => {
    const path = `/a${'/'.repeat(500_000)}b`;
    expect(parse(`GET ${path}`)).toBe(`path get ${path}`);
  });

  const malformed = [
    'GET /api/v1/pods/%zz',
    'GET /api/v1/namespaces/a/pods/b%2Fc',
    'GET /apis/%2F/v1/pods',
  ];
  for (const given of malformed)
    it(`${given} is 400`, () => {
      expect(() => parse(given)).toThrow(StatusError);
    });
});
