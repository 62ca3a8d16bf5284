import { describe, expect, it } from 'vitest';
import type { Status } from '#kube/api/meta.ts';
import {
  type DeployForm,
  emptyForm,
  emptyVolume,
  formOf,
  objectsOf,
  withDataKept,
} from './deploy-form.ts';
import { formErrorsOf, mergeErrors, touchedErrors } from './field-errors.ts';
import { nameFromImage } from './image-name.ts';
import { sameObjects } from './same-objects.ts';
import { describeChanges } from './settings-changes.ts';
import { parseVariables } from './variables.ts';
import { fromYaml, tokenizeYamlLine, toYaml } from './yaml.ts';

const full: DeployForm = {
  ...emptyForm(),
  name: 'web',
  image: 'nginx:1',
  copies: 2,
  ports: [
    { port: 80, isPublished: true, nodePort: 30080 },
    { port: 9000, isPublished: false, nodePort: undefined },
  ],
  variables: [{ name: 'TZ', value: 'Europe/Berlin' }],
  volumes: [
    { ...emptyVolume('data'), mountPath: '/data' },
    { ...emptyVolume('folder'), mountPath: '/media', hostPath: '/srv/web' },
    { ...emptyVolume('scratch'), mountPath: '/tmp/cache' },
    { ...emptyVolume('config'), mountPath: '/etc/web.yaml', fileName: 'web.yaml', text: 'a: 1\n' },
  ],
  memoryLimit: '64Mi',
  cpuLimit: '0.5',
};

describe('objectsOf', () => {
  it('creates what others refer to first', () => {
    expect(objectsOf(full).map(({ kind, metadata }) => `${kind}/${metadata.name}`)).toEqual([
      'ConfigMap/web-config',
      'PersistentVolumeClaim/web-data',
      'Deployment/web',
      'Service/web',
      'Service/web-internal',
    ]);
  });

  it('makes no service for an app that listens on nothing', () => {
    const form = { ...full, ports: emptyForm().ports, volumes: [] };
    expect(objectsOf(form).map(({ kind }) => kind)).toEqual(['Deployment']);
  });

  it('keeps ports that are not published behind a ClusterIP', () => {
    const form = {
      ...full,
      ports: [{ port: 5432, isPublished: false, nodePort: undefined }],
      volumes: [],
    };
    const service = objectsOf(form).find(({ kind }) => kind === 'Service');
    expect(service).toMatchObject({ metadata: { name: 'web' }, spec: { type: 'ClusterIP' } });
  });

  it('keeps data in a claim of its own, which two versions never write to at once', () => {
    const [, claim, deployment] = objectsOf(full);
    expect(claim).toMatchObject({
      metadata: { name: 'web-data', namespace: 'default' },
      spec: { accessModes: ['ReadWriteOnce'], storageClassName: 'local-path' },
    });
    expect(claim?.metadata.ownerReferences, 'it outlives its app').toBeUndefined();
    expect(deployment).toMatchObject({
      spec: {
        strategy: { type: 'Recreate' },
        template: {
          spec: { volumes: [{ persistentVolumeClaim: { claimName: 'web-data' } }, {}, {}, {}] },
        },
      },
    });
  });

  it('takes up data that is there without making it anew', () => {
    const old = { ...emptyVolume('data'), mountPath: '/data', claimName: 'old', isExisting: true };
    const objects = objectsOf({ ...full, volumes: [old] });
    expect(objects.map(({ kind }) => kind)).not.toContain('PersistentVolumeClaim');
    expect(JSON.stringify(objects)).toContain('"claimName":"old"');
    expect(formOf(objects)?.volumes).toEqual([old]);
  });

  it('makes new data under a name that was chosen for it, once', () => {
    const anew = { ...emptyVolume('data'), mountPath: '/data', claimName: 'web-data-2' };
    const objects = objectsOf({ ...full, volumes: [anew, { ...anew, mountPath: '/more' }] });
    const claims = objects.filter(({ kind }) => kind === 'PersistentVolumeClaim');
    expect(claims.map(({ metadata }) => metadata.name)).toEqual(['web-data-2']);
    expect(formOf(objects)?.volumes[0]).toEqual(anew);
  });

  it('goes on with the data of an attempt that was taken back', () => {
    const { volumes } = withDataKept(full, ['web-data']);
    expect(volumes[0]).toMatchObject({ claimName: 'web-data', isExisting: true });
    expect(volumes.slice(1)).toEqual(full.volumes.slice(1));
  });

  it('leaves limits out that were not given', () => {
    const form = { ...full, volumes: [], memoryLimit: '', cpuLimit: '' };
    expect(JSON.stringify(objectsOf(form))).not.toContain('resources');
  });
});

describe('formOf', () => {
  it('reads back everything the form says, through YAML', () => {
    const parsed = fromYaml(toYaml(objectsOf(full)));
    expect(parsed.kind === 'objects' && formOf(parsed.objects)).toEqual(full);
  });

  it('notices what the form can not say', () => {
    const parsed = fromYaml(
      toYaml(objectsOf(full)).replace('replicas: 2', 'replicas: 2\n  paused: true'),
    );
    const objects = parsed.kind === 'objects' ? parsed.objects : [];
    const read = formOf(objects);
    expect(read !== undefined && sameObjects(objectsOf(read), objects)).toBe(false);
  });

  it('has nothing to read where there is no Deployment', () => {
    expect(formOf([{ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'x' } }])).toBeUndefined();
  });
});

describe('fromYaml', () => {
  const cases = [
    { name: 'a syntax error with its line', text: 'a: 1\nb: [1', want: { kind: 'error', line: 2 } },
    {
      name: 'an empty text',
      text: '\n',
      want: { kind: 'error', message: 'There is no object in it yet' },
    },
    {
      name: 'a list',
      text: '- a',
      want: { kind: 'error', message: 'An object begins with apiVersion and kind' },
    },
    {
      name: 'a missing name',
      text: 'apiVersion: v1\nkind: Pod',
      want: { kind: 'error', message: 'The Pod has no metadata.name' },
    },
  ];
  it.each(cases)('refuses $name', ({ text, want }) => {
    expect(fromYaml(text)).toMatchObject(want);
  });

  it('repeats no part by reference', () => {
    expect(toYaml(objectsOf(full))).not.toMatch(/[&*]a1/);
  });
});

describe('tokenizeYamlLine', () => {
  it.each([
    '  - name: "a: b"',
    'a: 1',
    '# note',
    '---',
    'text: |',
    "  'x y': z",
    '',
    'http://x:80',
  ])('loses no letter of %j', (line) => {
    const tokens = tokenizeYamlLine(line);
    expect(tokens.map(({ text }) => text).join('')).toBe(line);
  });
});

describe('formErrorsOf', () => {
  function status(causes: { field?: string; message?: string }[], more: Status = {}): Status {
    return { reason: 'Invalid', details: { causes }, ...more };
  }
  const prefix = 'spec.template.spec.containers[0]';
  const cases = [
    { field: 'metadata.name', want: 'name' },
    { field: `${prefix}.image`, want: 'image' },
    { field: 'spec.replicas', want: 'copies' },
    { field: `${prefix}.ports[1].containerPort`, want: 'ports.1' },
    { field: `${prefix}.env[0].name`, want: 'variables.0' },
    { field: `${prefix}.volumeMounts[2].mountPath`, want: 'volumes.2' },
    { field: `${prefix}.resources.limits[memory]`, want: 'memoryLimit' },
    { field: `${prefix}.resources.requests.cpu`, want: 'cpuLimit' },
  ];
  it.each(cases)('$field belongs to $want', ({ field, want }) => {
    expect(formErrorsOf(status([{ field, message: 'wrong' }]), full).fields).toEqual({
      [want]: 'wrong',
    });
  });

  const blanks: DeployForm = {
    ...full,
    ports: [
      { port: undefined, isPublished: true, nodePort: undefined },
      { port: 5432, isPublished: false, nodePort: undefined },
      { port: 80, isPublished: true, nodePort: undefined },
      { port: 81, isPublished: true, nodePort: undefined },
    ],
    variables: [
      { name: '', value: '' },
      { name: 'A', value: '1' },
      { name: '', value: '2' },
    ],
    volumes: [
      { ...emptyVolume('config'), mountPath: '/a', fileName: 'a.yaml' },
      { ...emptyVolume('config'), mountPath: '/b', fileName: 'b.yaml' },
      { ...emptyVolume('folder'), mountPath: '/d', hostPath: '/srv/d' },
    ],
  };
  const rows = [
    { field: `${prefix}.ports[0].containerPort`, want: 'ports.1' },
    { field: `${prefix}.ports[2].containerPort`, want: 'ports.3' },
    { field: `${prefix}.env[1].name`, want: 'variables.2' },
    { field: `${prefix}.volumeMounts[2].mountPath`, want: 'volumes.2' },
    { field: 'spec.template.spec.volumes[1].hostPath.path', want: 'volumes.2' },
    { field: 'spec.ports[1].nodePort', want: 'ports.3' },
    { field: 'spec.ports[0].port', service: 'web-internal', want: 'ports.1' },
    { field: 'data[b.yaml]', want: 'volumes.1' },
  ];
  it.each(rows)(
    '$field is of the row that it came from, blank rows or not: $want',
    ({ field, service = 'web', want }) => {
      const refused = status([{ field, message: 'wrong' }]);
      const details = { ...refused.details, name: service };
      expect(formErrorsOf({ ...refused, details }, blanks).fields).toEqual({ [want]: 'wrong' });
    },
  );

  it('loses no message that has no field on screen', () => {
    const errors = formErrorsOf(
      status([
        { field: 'spec.strategy', message: 'odd' },
        { field: `${prefix}.env[7].name`, message: 'far' },
      ]),
      full,
    );
    expect(errors).toEqual({
      fields: {},
      other: ['spec.strategy: odd', `${prefix}.env[7].name: far`],
    });
  });

  it('says at the name that it is taken', () => {
    const taken = { reason: 'AlreadyExists', details: { kind: 'deployments', name: 'web' } };
    expect(formErrorsOf(taken, full).fields).toEqual({
      name: 'The name web is taken already',
    });
  });

  const claim = { reason: 'AlreadyExists', details: { kind: 'persistentvolumeclaims' } };
  it('says at the data that there is some already, not that the app has a wrong name', () => {
    const taken = { ...claim, details: { ...claim.details, name: 'web-data' } };
    expect(formErrorsOf(taken, full)).toEqual({
      fields: { 'volumes.0': expect.stringContaining('There is data called web-data already') },
      other: [],
    });
    expect(formErrorsOf({ ...taken, message: 'object is being deleted: x' }, full).fields).toEqual({
      'volumes.0': expect.stringContaining('is being removed'),
    });
  });

  it('says it all the same of data that is only in the YAML', () => {
    const taken = { ...claim, details: { ...claim.details, name: 'other' } };
    expect(formErrorsOf(taken, full)).toMatchObject({
      fields: {},
      other: [expect.stringContaining('There is data called other')],
    });
  });

  it('finds the malformed quantity that a refusal to decode does not name', () => {
    const refusal = { message: "quantities must match the regular expression '…'" };
    expect(Object.keys(formErrorsOf(refusal, { ...full, memoryLimit: '64 MB' }).fields)).toEqual([
      'memoryLimit',
    ]);
  });

  it('finds it as well when the whole object is quoted, as for a patch', () => {
    const message = 'Invalid value: "{\\"kind\\":\\"Deployment\\"}": quantities must match';
    const refusal = status([{ field: 'patch', message }]);
    const errors = formErrorsOf(refusal, { ...full, memoryLimit: '64 MB' });
    expect(errors).toEqual({
      fields: { memoryLimit: 'Use an amount such as 256Mi, 2Gi or 0.5' },
      other: [],
    });
  });

  const words = [
    {
      field: 'metadata.name',
      message:
        "Invalid value: \"My App\": a lowercase RFC 1123 subdomain must consist of … (e.g. 'example.com', regex used for validation is '[a-z]')",
      want: 'Use lower-case letters, digits and dashes; begin and end with a letter or digit',
    },
    {
      field: 'metadata.name',
      message: 'Invalid value: "x": must be no more than 63 bytes',
      want: 'Use at most 63 characters',
    },
    {
      field: `${prefix}.volumeMounts[0].mountPath`,
      message: 'Required value',
      want: 'Say which folder of the app it is',
    },
    { field: `${prefix}.env[0].name`, message: 'Required value', want: 'Give the variable a name' },
    { field: `${prefix}.ports[0]`, message: 'Required value', want: 'Something is needed here' },
    {
      field: `${prefix}.image`,
      message: "Invalid value: \"x\": odd (e.g. 'y', regex used for validation is '[a-z]')",
      want: 'Invalid value: "x": odd',
    },
  ];
  it.each(words)('$field, $message: $want', ({ field, message, want }) => {
    expect(Object.values(formErrorsOf(status([{ field, message }]), full).fields)).toEqual([want]);
  });

  it('leaves alone what nobody touched yet, and hides nothing that is of no field', () => {
    const errors = { fields: { name: 'a', 'volumes.0': 'b' }, other: ['x'] };
    expect(touchedErrors(errors, new Set(['name']))).toEqual({ ...errors, fields: { name: 'a' } });
  });

  it('merges objects without saying a thing twice', () => {
    const one = { fields: { name: 'a' }, other: ['x'] };
    expect(mergeErrors([one, { fields: { name: 'b' }, other: ['x'] }])).toEqual(one);
  });
});

describe('describeChanges', () => {
  it('names what changes, and whether copies are replaced for it', () => {
    const after = {
      ...full,
      copies: 3,
      variables: [
        { name: 'TZ', value: 'UTC' },
        { name: 'A', value: '1' },
      ],
    };
    expect(describeChanges(full, after).map(({ label, isRestart }) => [label, isRestart])).toEqual([
      ['Copies', false],
      ['Variable TZ', true],
      ['Variable A', true],
    ]);
  });
});

describe('nameFromImage', () => {
  it.each([
    ['nginx', 'nginx'],
    ['ghcr.io/owner/My_App:1.2', 'my-app'],
    ['localhost:5000/x@sha256:abc', 'x'],
    ['', ''],
  ])('%s → %s', (image, want) => {
    expect(nameFromImage(image)).toBe(want);
  });
});

describe('parseVariables', () => {
  it('reads a pasted .env block', () => {
    expect(parseVariables('# note\nA=1\nexport B="two words"\n\nC=')).toEqual([
      { name: 'A', value: '1' },
      { name: 'B', value: 'two words' },
      { name: 'C', value: '' },
    ]);
  });

  it('takes nothing from a text that is something else', () => {
    expect(parseVariables('A=1\nhello world')).toEqual([]);
  });
});
