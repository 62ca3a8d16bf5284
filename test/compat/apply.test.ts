// Writes by an unmodified kubectl 1.35: apply both ways and in turn, diff, conflicts, dry runs, and
// the commands that edit. No containers are needed; the cluster has no agent.
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster, eventually, tool, type ToolResult } from '../setup/cluster.ts';

const cluster = new Cluster(['--no-agent']);
const folder = mkdtempSync(path.join(tmpdir(), 'flotilla-apply-'));

beforeAll(async () => {
  await cluster.start();
});
afterAll(async () => {
  await cluster.destroy();
  rmSync(folder, { recursive: true });
});

function kubectl(args: readonly string[], input?: string): Promise<ToolResult> {
  return tool('kubectl', ['--kubeconfig', cluster.kubeconfig, ...args], input);
}

async function ok(args: string, input?: string): Promise<string> {
  const { code, stdout, stderr } = await kubectl(args.split(' '), input);
  expect(code, `kubectl ${args}: ${stderr}`).toBe(0);
  return stdout;
}

async function object(name: string): Promise<ReturnType<typeof JSON.parse>> {
  return JSON.parse(await ok(`get deployment ${name} -o json --show-managed-fields`));
}

/** `manager operation [subresource]`, of kubectl's writes. */
async function managers(name: string): Promise<string[]> {
  const { metadata } = await object(name);
  return metadata.managedFields
    .map(({ manager, operation, subresource = '' }: Record<string, string>) =>
      `${manager} ${operation} ${subresource}`.trim(),
    )
    .filter((text: string) => !text.startsWith('kube-controller-manager'));
}

function manifest(name: string, spec: string, labels = '{ app: x }'): string {
  return `apiVersion: apps/v1
kind: Deployment
metadata:
  name: ${name}
  labels: ${labels}
spec:
  ${spec}
  selector: { matchLabels: { app: x } }
  template:
    metadata: { labels: { app: x } }
    spec:
      containers:
      - name: main
        image: web:1
        ports: [{ containerPort: 80 }]
        resources: { limits: { cpu: 1000m } }
`;
}

describe('kubectl apply --server-side', () => {
  it('creates, changes, and changes nothing', async () => {
    const apply = (spec: string) => ok('apply --server-side -f -', manifest('ssa', spec));
    expect(await apply('replicas: 1')).toBe('deployment.apps/ssa serverside-applied\n');
    // Its controller writes for a moment as well.
    await eventually(async () => {
      const { metadata } = await object('ssa');
      await apply('replicas: 1');
      return (await object('ssa')).metadata.resourceVersion === metadata.resourceVersion;
    }, 'an apply that changes nothing');
    await apply('paused: true');
    const { spec } = await object('ssa');
    // replicas is said no more: it has its default again.
    expect([spec.replicas, spec.paused]).toEqual([1, true]);
    expect(await managers('ssa')).toEqual(['kubectl Apply']);
  });

  it('tells of conflicts in the words kubectl knows, and forces', async () => {
    await ok('apply --server-side -f -', manifest('fight', 'replicas: 1'));
    await ok('scale deployment/fight --replicas=3');
    const { code, stderr } = await kubectl(
      ['apply', '--server-side', '-f', '-'],
      manifest('fight', 'replicas: 2'),
    );
    expect(code).toBe(1);
    expect(stderr)
      .toBe(`error: Apply failed with 1 conflict: conflict with "kubectl" with subresource "scale" using apps/v1: .spec.replicas
Please review the fields above--they currently have other managers. Here
are the ways you can resolve this warning:
* If you intend to manage all of these fields, please re-run the apply
  command with the \`--force-conflicts\` flag.
* If you do not intend to manage all of the fields, please edit your
  manifest to remove references to the fields that should keep their
  current managers.
* You may co-own fields by updating your manifest to match the existing
  value; in this case, you'll become the manager if the other manager(s)
  stop managing the field (remove it from their configuration).
See https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts
`);
    await ok('apply --server-side --force-conflicts -f -', manifest('fight', 'replicas: 2'));
    expect((await object('fight')).spec.replicas).toBe(2);
    expect(await managers('fight')).toEqual(['kubectl Apply']);
  });

  it('takes over from client-side apply, and goes back and forth with it', async () => {
    const both = (way: string, spec: string, labels?: string) =>
      ok(`apply ${way} -f -`.replaceAll(/ +/g, ' '), manifest('turns', spec, labels));
    await both('', 'replicas: 1', '{ app: x, first: once }');
    expect(await managers('turns')).toEqual(['kubectl-client-side-apply Update']);
    await both('--server-side', 'replicas: 2');
    // kubectl's own doing: the annotation is kept by a manager of its own. Which is first depends on the second of its write.
    expect((await managers('turns')).toSorted()).toEqual([
      'kubectl Apply',
      'kubectl-last-applied Apply',
    ]);
    const { spec, metadata } = await object('turns');
    // What client-side apply had said and is said no more is gone.
    expect([spec.replicas, metadata.labels]).toEqual([2, { app: 'x' }]);
    await both('', 'replicas: 3');
    expect((await object('turns')).spec.replicas).toBe(3);
    await both('--server-side', 'paused: true');
    const last = await object('turns');
    expect([last.spec.replicas, last.spec.paused]).toEqual([1, true]);
  });

  it('refuses unknown fields and wrong types', async () => {
    const wrong = manifest('wrong', 'replicas: 1\n  foo: bar');
    const { stderr } = await kubectl(['apply', '--server-side', '-f', '-'], wrong);
    expect(stderr).toContain('.spec.foo: field not declared in schema');
  });

  it('to a namespace and objects in it, all at once', async () => {
    const said = await ok(
      'apply --server-side -f -',
      `apiVersion: v1
kind: Namespace
metadata: { name: fresh }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: c, namespace: fresh }
data: { a: b }
---
apiVersion: v1
kind: Service
metadata: { name: s, namespace: fresh }
spec: { selector: { app: x }, ports: [{ port: 80 }, { port: 80, protocol: UDP, name: u }] }
`.replace('[{ port: 80 }, ', '[{ port: 80, name: t }, '),
    );
    expect(said).toBe(
      'namespace/fresh serverside-applied\nconfigmap/c serverside-applied\nservice/s serverside-applied\n',
    );
  });
});

describe('kubectl diff', () => {
  const cases = [
    { way: 'client side', flags: [], apply: 'apply -f -' },
    { way: 'server side', flags: ['--server-side'], apply: 'apply --server-side -f -' },
  ];
  it.each(cases)('$way shows what an apply would change, and nothing else', async (one) => {
    const name = one.way.replace(' ', '-');
    await ok(one.apply, manifest(name, 'replicas: 1'));
    const same = await kubectl(['diff', ...one.flags, '-f', '-'], manifest(name, 'replicas: 1'));
    expect([same.code, same.stdout]).toEqual([0, '']);
    const other = await kubectl(['diff', ...one.flags, '-f', '-'], manifest(name, 'replicas: 2'));
    const changes = other.stdout.split('\n').filter((line) => /^[-+] /.test(line));
    expect([other.code, changes]).toEqual([
      1,
      ['-  generation: 1', '+  generation: 2', '-  replicas: 1', '+  replicas: 2'],
    ]);
    expect((await object(name)).spec.replicas).toBe(1);
  });
});

describe('the commands that edit', () => {
  it('label, annotate, scale, set image, patch, edit and replace own what they change', async () => {
    await ok('create -f -', manifest('edited', 'replicas: 1'));
    await ok('label deployment/edited tier=front');
    await ok('annotate deployment/edited note=x');
    await ok('set image deployment/edited main=web:2');
    await ok('scale deployment/edited --replicas=0');
    const editor = path.join(folder, 'editor.sh');
    writeFileSync(
      editor,
      '#!/bin/sh\nsed -i "s/minReadySeconds: .*//; s/^spec:/spec:\\n  minReadySeconds: 7/" "$1"\n',
    );
    chmodSync(editor, 0o755);
    const { KUBE_EDITOR: before } = process.env;
    process.env['KUBE_EDITOR'] = editor;
    try {
      expect(await ok('edit deployment/edited')).toBe('deployment.apps/edited edited\n');
    } finally {
      if (before === undefined) delete process.env['KUBE_EDITOR'];
      else process.env['KUBE_EDITOR'] = before;
    }
    const { metadata, spec } = await object('edited');
    expect(metadata.labels).toEqual({ app: 'x', tier: 'front' });
    expect(metadata.annotations.note).toBe('x');
    expect([spec.replicas, spec.minReadySeconds]).toEqual([0, 7]);
    expect(spec.template.spec.containers[0].image).toBe('web:2');
    expect((await managers('edited')).toSorted()).toEqual([
      'kubectl Update scale',
      'kubectl-annotate Update',
      'kubectl-create Update',
      'kubectl-edit Update',
      'kubectl-label Update',
      'kubectl-set Update',
    ]);
    await ok('replace -f -', manifest('edited', 'replicas: 4'));
    expect((await object('edited')).spec.replicas).toBe(4);
    expect(await managers('edited')).toContain('kubectl-replace Update');
  });

  it('in a dry run on the server go through everything but the store', async () => {
    const text = manifest('dry', 'replicas: 2');
    for (const command of ['create', 'apply', 'apply --server-side']) {
      const said = await ok(`${command} --dry-run=server -o yaml -f -`, text);
      expect(said).toContain('progressDeadlineSeconds: 600');
      expect(said).toMatch(/uid: [0-9a-f-]{36}/);
    }
    expect(await ok('get deployments --ignore-not-found dry')).toBe('');
    const bad = await kubectl(
      ['create', '--dry-run=server', '-f', '-'],
      manifest('dry', 'replicas: -2'),
    );
    expect(bad.stderr).toContain('spec.replicas: Invalid value: -2');
  });
});
