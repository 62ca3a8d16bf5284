import { describe, expect, it } from 'vitest';
import { apiVersionOf, gvkText, parseApiVersion, resourcePath } from './gvk.ts';

describe('apiVersion', () => {
  it.each([
    ['v1', { group: '', version: 'v1' }],
    ['apps/v1', { group: 'apps', version: 'v1' }],
  ])('%s is %j, both ways', (text, groupVersion) => {
    expect(parseApiVersion(text)).toEqual(groupVersion);
    expect(apiVersionOf(groupVersion)).toBe(text);
  });

  it('refuses two slashes', () => {
    expect(() => parseApiVersion('a/b/c')).toThrow('unexpected GroupVersion string: a/b/c');
  });

  it('prints a kind as Kubernetes does', () => {
    expect(gvkText({ group: 'apps', version: 'v1', kind: 'Deployment' })).toBe(
      'apps/v1, Kind=Deployment',
    );
  });
});

describe('resourcePath', () => {
  const pods = { group: '', version: 'v1', resource: 'pods' };
  it.each([
    [pods, '/api/v1/pods'],
    [{ ...pods, namespace: 'a' }, '/api/v1/namespaces/a/pods'],
    [{ ...pods, namespace: 'a', name: 'b', subresource: 'log' }, '/api/v1/namespaces/a/pods/b/log'],
    [
      { group: 'apps', version: 'v1', resource: 'deployments', namespace: 'a' },
      '/apis/apps/v1/namespaces/a/deployments',
    ],
    [{ ...pods, resource: 'nodes', name: 'a b/c' }, '/api/v1/nodes/a%20b%2Fc'],
  ])('%j is %s', (path, want) => {
    expect(resourcePath(path)).toBe(want);
  });
});
