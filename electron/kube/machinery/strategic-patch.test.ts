import { describe, expect, it } from 'vitest';
import apps from '../../../resources/schema/apps.v1.json' with { type: 'json' };
import core from '../../../resources/schema/core.v1.json' with { type: 'json' };
import meta from '../../../resources/schema/meta.v1.json' with { type: 'json' };
import { deepFreeze } from './equality.ts';
import { SchemaRegistry } from './schema.ts';
import { strategicMergePatch } from './strategic-patch.ts';

const registry = new SchemaRegistry([apps, core, meta]);

function patchSpec(original: unknown, patch: unknown): unknown {
  const documents = deepFreeze({ original: { spec: original }, patch: { spec: patch } });
  return strategicMergePatch(registry, 'core/v1.Pod', documents)['spec'];
}

describe('strategicMergePatch', () => {
  const cases: [title: string, original: unknown, patch: unknown, want: unknown][] = [
    [
      'merges list elements by their merge key',
      {
        containers: [
          { name: 'a', image: '1' },
          { name: 'b', image: '1' },
        ],
      },
      { containers: [{ name: 'b', image: '2' }] },
      {
        containers: [
          { name: 'a', image: '1' },
          { name: 'b', image: '2' },
        ],
      },
    ],
    [
      'puts new elements before those only the server has',
      { containers: [{ name: 'a' }] },
      { containers: [{ name: 'new' }] },
      { containers: [{ name: 'new' }, { name: 'a' }] },
    ],
    [
      'obeys $setElementOrder, also for elements it only mentions',
      { containers: [{ name: 'a' }, { name: 'b' }, { name: 'server' }] },
      {
        '$setElementOrder/containers': [{ name: 'b' }, { name: 'c' }, { name: 'a' }],
        containers: [{ name: 'c', image: '1' }],
      },
      { containers: [{ name: 'b' }, { name: 'c', image: '1' }, { name: 'a' }, { name: 'server' }] },
    ],
    [
      'reorders a list that is not patched otherwise',
      { containers: [{ name: 'a' }, { name: 'b' }] },
      { '$setElementOrder/containers': [{ name: 'b' }, { name: 'a' }] },
      { containers: [{ name: 'b' }, { name: 'a' }] },
    ],
    [
      'deletes elements by $patch: delete',
      { containers: [{ name: 'a' }, { name: 'b' }] },
      {
        containers: [
          { name: 'a', $patch: 'delete' },
          { name: 'gone', $patch: 'delete' },
        ],
      },
      { containers: [{ name: 'b' }] },
    ],
    [
      'replaces a whole list by $patch: replace',
      { containers: [{ name: 'a' }, { name: 'b' }] },
      { containers: [{ $patch: 'replace' }, { name: 'c' }] },
      { containers: [{ name: 'c' }] },
    ],
    [
      'replaces and empties objects by $patch',
      { securityContext: { runAsUser: 1 }, nodeSelector: { a: 'b' } },
      { securityContext: { $patch: 'replace', fsGroup: 2 }, nodeSelector: { $patch: 'delete' } },
      { securityContext: { fsGroup: 2 }, nodeSelector: {} },
    ],
    [
      'merges nested lists inside merged elements',
      {
        containers: [
          {
            name: 'a',
            env: [
              { name: 'X', value: '1' },
              { name: 'Y', value: '1' },
            ],
          },
        ],
      },
      {
        containers: [
          {
            name: 'a',
            env: [
              { name: 'X', value: '2' },
              { name: 'Z', value: '3' },
            ],
          },
        ],
      },
      {
        containers: [
          {
            name: 'a',
            env: [
              { name: 'X', value: '2' },
              { name: 'Z', value: '3' },
              { name: 'Y', value: '1' },
            ],
          },
        ],
      },
    ],
    [
      'replaces lists without a merge strategy',
      { tolerations: [{ key: 'a' }], containers: [{ name: 'a', args: ['1', '2'] }] },
      { tolerations: [{ key: 'b', value: null }], containers: [{ name: 'a', args: ['3'] }] },
      { tolerations: [{ key: 'b' }], containers: [{ name: 'a', args: ['3'] }] },
    ],
    [
      'keeps only $retainKeys, as volumes need',
      { volumes: [{ name: 'v', emptyDir: {} }] },
      { volumes: [{ name: 'v', $retainKeys: ['name', 'hostPath'], hostPath: { path: '/x' } }] },
      { volumes: [{ name: 'v', hostPath: { path: '/x' } }] },
    ],
    [
      'deletes by null and leaves no null in what it creates',
      { nodeName: 'n', priority: 1 },
      { nodeName: null, securityContext: { fsGroup: 1, runAsUser: null } },
      { priority: 1, securityContext: { fsGroup: 1 } },
    ],
    [
      'creates lists and obeys directives where nothing was',
      {},
      { containers: [{ name: 'x', $patch: 'delete' }, { name: 'a' }] },
      { containers: [{ name: 'a' }] },
    ],
    [
      'takes a scalar of any type',
      { hostNetwork: true },
      { hostNetwork: false },
      { hostNetwork: false },
    ],
  ];
  it.each(cases)('%s', (_title, original, patch, want) => {
    expect(patchSpec(original, patch)).toEqual(want);
  });

  function patchMeta(original: unknown, patch: unknown): unknown {
    const documents = deepFreeze({ original: { metadata: original }, patch: { metadata: patch } });
    return strategicMergePatch(registry, 'apps/v1.Deployment', documents)['metadata'];
  }

  it('merges lists of primitives and deletes from them', () => {
    expect(patchMeta({ finalizers: ['a/1', 'a/2'] }, { finalizers: ['a/3', 'a/2'] })).toEqual({
      finalizers: ['a/3', 'a/1', 'a/2'],
    });
    const removal = { '$deleteFromPrimitiveList/finalizers': ['a/1', 'a/9'] };
    expect(patchMeta({ finalizers: ['a/1', 'a/2'] }, removal)).toEqual({ finalizers: ['a/2'] });
    const both = {
      '$deleteFromPrimitiveList/finalizers': ['a/1'],
      '$setElementOrder/finalizers': ['a/4', 'a/2'],
      finalizers: ['a/4'],
    };
    expect(patchMeta({ finalizers: ['a/1', 'a/2'] }, both)).toEqual({ finalizers: ['a/4', 'a/2'] });
  });

  it('merges maps key by key, whatever the keys are', () => {
    const patch = JSON.parse('{"labels":{"b":"2","c":null,"__proto__":"x"}}') as unknown;
    const result = patchMeta({ labels: { a: '1', c: '3' } }, patch);
    expect(JSON.stringify(result)).toBe('{"labels":{"a":"1","b":"2","__proto__":"x"}}');
  });

  it('switches a Deployment to Recreate with the patch kubectl sends', () => {
    const original = {
      spec: { strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1 } } },
    };
    const patch = { spec: { strategy: { $retainKeys: ['type'], type: 'Recreate' } } };
    expect(strategicMergePatch(registry, 'apps/v1.Deployment', { original, patch })).toEqual({
      spec: { strategy: { type: 'Recreate' } },
    });
  });

  const wrong: [patch: unknown, message: string][] = [
    [
      { containers: [{ image: 'x', args: ['a', 'b'] }] },
      'map: map[args:[a b] image:x] does not contain declared merge key: name',
    ],
    [
      { containers: [{ $patch: 'delete' }] },
      'map: map[$patch:delete] does not contain declared merge key: name',
    ],
    [
      { containers: [{ name: 'a', $patch: 'merge' }] },
      'merging lists cannot yet be specified in the patch',
    ],
    [
      { containers: [{ name: 'a', $patch: 'explode' }] },
      'unknown patch type: explode in map: map[$patch:explode name:a]',
    ],
    [{ securityContext: { $patch: 'x' } }, 'unknown patch type: x in map: map[$patch:x]'],
    [{ containers: [['a']] }, 'lists of lists are not supported'],
    [
      { '$setElementOrder/containers': 'x', containers: [] },
      'invalid patch format of setElementOrder list',
    ],
    [
      { '$setElementOrder/containers': [{ name: 'b' }], containers: [{ name: 'a' }] },
      "The order in patch list:\n[map[name:a]]\n doesn't match $setElementOrder/* list:\n[map[name:b]]\n",
    ],
    [{ volumes: [{ name: 'v', $retainKeys: 'name' }] }, 'invalid patch format of retainKeys'],
    [
      { volumes: [{ name: 'v', $retainKeys: ['name'], emptyDir: {} }] },
      "patch content doesn't match retainKeys list",
    ],
  ];
  it.each(wrong)('answers 400 to %j', (patch, message) => {
    expect(() => patchSpec({}, patch)).toThrow(expect.objectContaining({ message, code: 400 }));
  });

  it('answers 400 to a patch that is no object', () => {
    const documents = { original: {}, patch: [] };
    expect(() => strategicMergePatch(registry, 'core/v1.Pod', documents)).toThrow(
      'invalid JSON document',
    );
  });

  // One request must not hold up all others: comparing each element with each would, for minutes.
  it('merges, deletes and orders long lists without comparing all with all', () => {
    const names = Array.from({ length: 20_000 }, (_, index) => `c${index}`);
    const containers = names.map((name) => ({ name }));
    const documents = {
      original: { spec: { containers }, metadata: { finalizers: names } },
      patch: {
        spec: {
          containers: [
            ...names.slice(1).map((name) => ({ name, image: 'i' })),
            { name: 'c0', $patch: 'delete' },
          ],
          '$setElementOrder/containers': containers.slice(1),
        },
        metadata: { '$deleteFromPrimitiveList/finalizers': names.slice(1) },
      },
    };
    const { spec, metadata } = strategicMergePatch(registry, 'core/v1.Pod', documents);
    expect({ spec, metadata }).toEqual({
      spec: { containers: names.slice(1).map((name) => ({ name, image: 'i' })) },
      metadata: { finalizers: ['c0'] },
    });
  });
});
