import { describe, expect, it } from 'vitest';
import type { PolicyRule } from '#kube/api/rbac.ts';
import type { AuthorizationAttributes } from '../authorizer.ts';
import { paths, rule } from '../bootstrap/vocabulary.ts';
import { compact, covers, ruleText, uncovered } from './rules.ts';

/** `get apps deployments/scale web`; or `get /path`. */
function asked(line: string): AuthorizationAttributes {
  const [verb = '', group = '', target = '', name = ''] = line.split(' ');
  const [resource = '', subresource = ''] = target.split('/');
  return {
    user: { name: 'alice', groups: [] },
    isResourceRequest: !group.startsWith('/'),
    verb,
    path: group.startsWith('/') ? group : '',
    group: group === 'core' ? '' : group,
    namespace: 'a',
    resource,
    subresource,
    name,
    fieldSelector: null,
  };
}

describe('a rule covers', () => {
  const cases: readonly (readonly [PolicyRule, readonly string[], readonly string[]])[] = [
    [
      rule('get list', 'core', 'pods'),
      ['get core pods', 'get core pods web', 'list core pods'],
      ['watch core pods', 'get apps pods', 'get core pods/log', 'get core services', 'get /pods'],
    ],
    [
      rule('*', '*', '*'),
      ['delete apps deployments/scale x', 'impersonate core users bob'],
      ['get /metrics'],
    ],
    [
      rule('get', 'apps', '*/scale'),
      ['get apps deployments/scale web', 'get apps replicasets/scale'],
      ['get apps deployments', 'get apps deployments/status', 'get core pods/scale'],
    ],
    [
      rule('get', 'core', 'pods/log'),
      ['get core pods/log web'],
      ['get core pods web', 'get core pods/logs'],
    ],
    [rule('get', 'core', 'pods/*'), [], ['get core pods/log', 'get core pods']],
    [
      rule('get update', 'core', 'configmaps', 'one two'),
      ['get core configmaps one', 'update core configmaps two'],
      ['get core configmaps three', 'get core configmaps'],
    ],
    [
      paths('get', '/healthz /logs/*'),
      ['get /healthz', 'get /logs/', 'get /logs/a/b'],
      ['get /healthz/', 'get /logs', 'post /healthz', 'get core pods'],
    ],
    [paths('get', '*'), ['get /', 'get /anything'], ['get core pods']],
    [{ verbs: ['get'] }, [], ['get core pods', 'get /']],
  ];
  for (const [given, yes, no] of cases) {
    it.each(yes)(`${ruleText(given)}: %s`, (line) => {
      expect(covers(given, asked(line))).toBe(true);
    });
    it.each(no)(`${ruleText(given)}: not %s`, (line) => {
      expect(covers(given, asked(line))).toBe(false);
    });
  }
});

describe('what is held covers what is wanted', () => {
  const cases: readonly (readonly [
    string,
    readonly PolicyRule[],
    readonly PolicyRule[],
    readonly string[],
  ])[] = [
    ['the same', [rule('get', 'core', 'pods')], [rule('get', 'core', 'pods')], []],
    ['nothing is wanted', [], [], []],
    [
      'nothing is held',
      [],
      [rule('get list', 'core', 'pods')],
      ['{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}'],
    ],
    [
      'in parts',
      [rule('get', 'core', 'pods'), rule('list', 'core', 'pods secrets')],
      [rule('get list', 'core', 'pods')],
      [],
    ],
    [
      'but for one verb',
      [rule('get', 'core', 'pods')],
      [rule('get watch', 'core', 'pods')],
      ['{APIGroups:[""], Resources:["pods"], Verbs:["watch"]}'],
    ],
    [
      'everything',
      [rule('*', '*', '*')],
      [rule('*', 'core', '*'), rule('get', 'apps', 'x', 'n')],
      [],
    ],
    [
      'a star is more than a list',
      [rule('get list', 'core', 'pods')],
      [rule('*', 'core', 'pods')],
      ['{APIGroups:[""], Resources:["pods"], Verbs:["*"]}'],
    ],
    [
      'a name is less than all',
      [rule('get', 'core', 'pods', 'a')],
      [rule('get', 'core', 'pods')],
      ['{APIGroups:[""], Resources:["pods"], Verbs:["get"]}'],
    ],
    [
      'all are more than a name',
      [rule('get', 'core', 'pods')],
      [rule('get', 'core', 'pods', 'a b')],
      [],
    ],
    [
      'one of two names',
      [rule('get', 'core', 'pods', 'a')],
      [rule('get', 'core', 'pods', 'a b')],
      ['{APIGroups:[""], Resources:["pods"], ResourceNames:["b"], Verbs:["get"]}'],
    ],
    [
      'a subresource of any',
      [rule('get', 'apps', '*/scale')],
      [rule('get', 'apps', 'deployments/scale')],
      [],
    ],
    ['paths below a star', [paths('get', '/logs/*')], [paths('get', '/logs/a /logs/*')], []],
    [
      'a path that is not held',
      [paths('get', '/a')],
      [paths('get', '/a /b')],
      ['{NonResourceURLs:["/b"], Verbs:["get"]}'],
    ],
  ];
  it.each(cases)('%s', (_, held, wanted, want) => {
    expect(compact(uncovered(held, wanted)).map(ruleText)).toEqual(want);
  });
});
