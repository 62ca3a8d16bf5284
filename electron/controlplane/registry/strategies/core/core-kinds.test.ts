import { describe, expect, it } from 'vitest';
import { kindWorld, refusal } from '../../../../../test/setup/kinds.ts';

const object = (kind: string, fields: object = {}, metadata: object = {}) => ({
  apiVersion: 'v1',
  kind,
  metadata: { name: 'it', ...metadata },
  ...fields,
});
const base64 = (text: string) => Buffer.from(text).toString('base64');
const big = 'a'.repeat(1024 * 1024 + 1);

describe('an object of a core kind is refused', () => {
  const keyMessage = `a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')`;
  const cases: readonly { name: string; given: object; want: string }[] = [
    {
      name: 'ConfigMap with a key that is no file name',
      given: object('ConfigMap', { data: { 'a/b': '' } }),
      want: `ConfigMap "it" is invalid: data[a/b]: Invalid value: "a/b": ${keyMessage}`,
    },
    {
      name: 'ConfigMap with a key that climbs',
      given: object('ConfigMap', { data: { '..': '' } }),
      want: `ConfigMap "it" is invalid: data[..]: Invalid value: "..": must not be '..'`,
    },
    {
      name: 'ConfigMap with a key in both halves',
      given: object('ConfigMap', { data: { a: '' }, binaryData: { a: '' } }),
      want: 'ConfigMap "it" is invalid: data[a]: Invalid value: "a": duplicate of key present in binaryData',
    },
    {
      name: 'ConfigMap over a mebibyte',
      given: object('ConfigMap', { data: { a: big } }),
      want: 'ConfigMap "it" is invalid: []: Too long: may not be more than 1048576 bytes',
    },
    {
      name: 'Secret over a mebibyte',
      given: object('Secret', { stringData: { a: big } }),
      want: 'Secret "it" is invalid: data: Too long: may not be more than 1048576 bytes',
    },
    {
      name: 'Secret whose data is not base64',
      given: object('Secret', { data: { a: 'abc$' } }),
      want: 'Secret in version "v1" cannot be handled as a Secret: illegal base64 data at input byte 3',
    },
    {
      name: 'TLS Secret without certificate and key',
      given: object('Secret', { type: 'kubernetes.io/tls' }),
      want: 'Secret "it" is invalid: [data[tls.crt]: Required value, data[tls.key]: Required value]',
    },
    {
      name: 'Secret of registry credentials that is not JSON, without showing them',
      given: object('Secret', {
        type: 'kubernetes.io/dockerconfigjson',
        stringData: { '.dockerconfigjson': 'hunter2' },
      }),
      want: 'Secret "it" is invalid: data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": must be a JSON object',
    },
    {
      name: 'Namespace whose name has a dot',
      given: object('Namespace', {}, { name: 'a.b' }),
      want: `Namespace "a.b" is invalid: metadata.name: Invalid value: "a.b": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')`,
    },
    {
      name: 'Node with a pod range that is none',
      given: object('Node', { spec: { podCIDR: '10.244.0.0' } }),
      want: 'Node "it" is invalid: spec.podCIDRs[0]: Invalid value: "10.244.0.0": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)',
    },
    {
      name: 'Node with a taint of no known effect',
      given: object('Node', { spec: { taints: [{ key: 'a', effect: 'Never' }] } }),
      want: 'Node "it" is invalid: metadata.taints[0].effect: Unsupported value: "Never": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"',
    },
    {
      name: 'Event in another namespace than its object',
      given: object('Event', { involvedObject: { kind: 'Pod', namespace: 'elsewhere' } }),
      want: 'Event "it" is invalid: involvedObject.namespace: Invalid value: "elsewhere": does not match event.namespace',
    },
    {
      name: 'Lease that lasts no time',
      given: {
        ...object('Lease', { spec: { leaseDurationSeconds: 0 } }),
        apiVersion: 'coordination.k8s.io/v1',
      },
      want: 'Lease.coordination.k8s.io "it" is invalid: spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0',
    },
    {
      name: 'EndpointSlice without addresses',
      given: {
        ...object('EndpointSlice', { addressType: 'IPv4', endpoints: [{ addresses: [] }] }),
        apiVersion: 'discovery.k8s.io/v1',
      },
      want: 'EndpointSlice.discovery.k8s.io "it" is invalid: endpoints[0].addresses: Required value: must contain at least 1 address',
    },
    {
      name: 'EndpointSlice with a loopback address',
      given: {
        ...object('EndpointSlice', {
          addressType: 'IPv4',
          endpoints: [{ addresses: ['127.0.0.1'] }],
        }),
        apiVersion: 'discovery.k8s.io/v1',
      },
      want: 'EndpointSlice.discovery.k8s.io "it" is invalid: endpoints[0].addresses[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)',
    },
  ];
  it.each(cases)('$name', async ({ given, want }) => {
    expect(await refusal(kindWorld().create(given))).toBe(want);
  });
});

describe('an Event with an eventTime', () => {
  const event = (fields: object) =>
    object('Event', {
      eventTime: '2026-11-23T13:41:54.000000Z',
      involvedObject: { kind: 'Pod', namespace: 'default' },
      reportingComponent: 'flotilla.dev/test',
      reportingInstance: 'one',
      action: 'Testing',
      reason: 'Tested',
      ...fields,
    });
  const cases = [
    {
      name: 'says who reports it',
      given: { reportingComponent: '' },
      want: ['reportingController: Required value', 'reportingController: Invalid value: ""'],
    },
    { name: 'says what was done', given: { action: '' }, want: ['action: Required value'] },
    {
      name: 'counts bytes',
      given: { message: 'ü'.repeat(513) },
      want: ['message: Invalid value: "": can have at most 1024 characters'],
    },
  ];
  it.each(cases)('$name', async ({ given, want }) => {
    const refused = await refusal(kindWorld().create(event(given)));
    for (const text of want) expect(refused).toContain(text);
  });
  it('is fine with all of it', async () => {
    await kindWorld().create(event({ message: 'ü'.repeat(512) }));
  });
});

it('a Lease drops what only coordinated elections know', async () => {
  const lease = await kindWorld().create({
    ...object('Lease', { spec: { strategy: 'OldestEmulationVersion', holderIdentity: 'a' } }),
    apiVersion: 'coordination.k8s.io/v1',
  });
  expect(lease['spec']).toEqual({ holderIdentity: 'a' });
});

describe('Secret', () => {
  it('stores text it is given as base64, over what stood there', async () => {
    const given = { data: { a: base64('old'), b: base64('kept') }, stringData: { a: 'grün' } };
    const secret = await kindWorld().create(object('Secret', given));
    expect({ type: secret['type'], data: secret['data'] }).toEqual({
      type: 'Opaque',
      data: { a: base64('grün'), b: base64('kept') },
    });
    expect(secret).not.toHaveProperty('stringData');
  });

  it('keeps its type', async () => {
    const world = kindWorld();
    const secret = await world.create(object('Secret'));
    const attempt = world.update(secret, (next) => {
      next['type'] = 'example.com/other';
    });
    expect(await refusal(attempt)).toBe(
      'Secret "it" is invalid: type: Invalid value: "example.com/other": field is immutable',
    );
  });
});

describe.each(['ConfigMap', 'Secret'])('an immutable %s', (kind) => {
  it('keeps its content and the mark', async () => {
    const world = kindWorld();
    const created = await world.create(object(kind, { immutable: true, data: { a: 'YQ==' } }));
    const attempt = world.update(created, (next) => {
      next['immutable'] = false;
      next['data'] = { a: 'Yg==' };
    });
    const why = 'Forbidden: field is immutable when `immutable` is set';
    expect(await refusal(attempt)).toBe(
      `${kind} "it" is invalid: [immutable: ${why}, data: ${why}]`,
    );
  });

  it('may still be labelled', async () => {
    const world = kindWorld();
    const created = await world.create(object(kind, { immutable: true, data: { a: 'YQ==' } }));
    const labelled = await world.update(created, ({ metadata }) => {
      metadata.labels = { app: 'web' };
    });
    expect(labelled.metadata.labels).toEqual({ app: 'web' });
  });
});

describe('Namespace', () => {
  it('is active, waits for its content, and carries its name as a label', async () => {
    const { metadata, spec, status } = await kindWorld().create(object('Namespace'));
    expect({ labels: metadata.labels, spec, status }).toEqual({
      labels: { 'kubernetes.io/metadata.name': 'it' },
      spec: { finalizers: ['kubernetes'] },
      status: { phase: 'Active' },
    });
  });

  it('carries a generated name as a label too', async () => {
    const { metadata } = await kindWorld().create({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { generateName: 'ci-' },
    });
    expect(metadata.labels).toEqual({ 'kubernetes.io/metadata.name': metadata.name });
  });

  it('does not lose its finalizer by an ordinary update', async () => {
    const world = kindWorld();
    const created = await world.create(object('Namespace'));
    const updated = await world.update(created, (next) => {
      next['spec'] = {};
    });
    expect(updated['spec']).toEqual({ finalizers: ['kubernetes'] });
  });

  it('does not become Terminating by its status alone', async () => {
    const world = kindWorld();
    const created = await world.create(object('Namespace'));
    const attempt = world.update(
      created,
      (next) => {
        next['status'] = { phase: 'Terminating' };
      },
      'status',
    );
    expect(await refusal(attempt)).toBe(
      `Namespace "it" is invalid: status.Phase: Invalid value: "Terminating": may only be 'Active' if \`deletionTimestamp\` is empty`,
    );
  });
});

describe('Node', () => {
  it('may be registered with its status, which an ordinary update leaves alone', async () => {
    const world = kindWorld();
    const status = { capacity: { cpu: '4' }, conditions: [{ type: 'Ready', status: 'True' }] };
    const node = await world.create(object('Node', { status }));
    expect(node['status']).toEqual({ ...status, allocatable: { cpu: '4' } });
    const updated = await world.update(node, (next) => {
      next['status'] = {};
    });
    expect(updated['status']).toEqual(node['status']);
  });

  it('is not registered with less than nothing', async () => {
    const status = { capacity: { cpu: '-1' } };
    expect(await refusal(kindWorld().create(object('Node', { status })))).toContain(
      'status.capacity.cpu: Invalid value: "-1": must be greater than or equal to 0',
    );
  });

  it('keeps its pod range once it has one', async () => {
    const world = kindWorld();
    const node = await world.create(object('Node', { spec: { podCIDR: '10.244.1.0/24' } }));
    const attempt = world.update(node, (next) => {
      next['spec'] = { podCIDR: '10.244.2.0/24', podCIDRs: ['10.244.2.0/24'] };
    });
    expect(await refusal(attempt)).toBe(
      'Node "it" is invalid: spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid',
    );
  });

  it('can give to pods all it has, unless it says otherwise', async () => {
    const world = kindWorld();
    const node = await world.create(object('Node'));
    const updated = await world.update(
      node,
      (next) => {
        next['status'] = { capacity: { cpu: '4', memory: '8192Mi' } };
      },
      'status',
    );
    const capacity = { cpu: '4', memory: '8Gi' };
    expect(updated['status']).toEqual({ capacity, allocatable: capacity });
  });
});

describe('EndpointSlice', () => {
  const sliceOf = (addressType: string, endpoint: object) => ({
    ...object('EndpointSlice', { addressType, endpoints: [endpoint] }),
    apiVersion: 'discovery.k8s.io/v1',
  });
  const ip = 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)';
  const zones = (count: number) => Array.from({ length: count }, (_, i) => ({ name: `zone-${i}` }));
  const refused = [
    ['IPv4', { addresses: ['10.0.0.256'] }, `addresses[0]: Invalid value: "10.0.0.256": ${ip}`],
    ['IPv4', { addresses: ['fd00::1'] }, 'Invalid value: "fd00::1": must be an IPv4 address'],
    ['IPv6', { addresses: ['10.0.0.1'] }, 'Invalid value: "10.0.0.1": must be an IPv6 address'],
    ['FQDN', { addresses: [''] }, 'addresses[0]: Required value'],
    ['FQDN', { addresses: ['host'] }, '"host": should be a domain with at least two segments'],
    ['FQDN', { addresses: [`${'a'.repeat(64)}.b`] }, 'must be no more than 63 bytes'],
    ['IPv4', { addresses: [], hostname: 'A' }, 'endpoints[0].hostname: Invalid value: "A"'],
    [
      'IPv4',
      { addresses: ['10.0.0.1'], hints: { forZones: zones(9) } },
      'endpoints[0].hints.forZones: Too many: 9: must have at most 8 items',
    ],
    [
      'IPv4',
      { addresses: ['10.0.0.1'], hints: { forNodes: [{ name: 'a' }, { name: 'a' }] } },
      'endpoints[0].hints.forNodes[1].name: Duplicate value: "a"',
    ],
  ] as const;
  it.each(refused)('of %s does not take %j', async (type, endpoint, want) => {
    expect(await refusal(kindWorld().create(sliceOf(type, endpoint)))).toContain(want);
  });

  it('takes full domain names, with a dot at the end or without', async () => {
    const addresses = ['example.com', 'example.com.'];
    const made = await kindWorld().create(sliceOf('FQDN', { addresses }));
    expect(made['endpoints']).toEqual([{ addresses }]);
  });

  it('keeps its kind of addresses, and names its ports', async () => {
    const world = kindWorld();
    const slice = await world.create({
      ...object('EndpointSlice', { addressType: 'IPv4', ports: [{ port: 80 }] }),
      apiVersion: 'discovery.k8s.io/v1',
    });
    expect(slice['ports']).toEqual([{ name: '', port: 80, protocol: 'TCP' }]);
    const attempt = world.update(slice, (next) => {
      next['addressType'] = 'IPv6';
    });
    expect(await refusal(attempt)).toBe(
      'EndpointSlice.discovery.k8s.io "it" is invalid: addressType: Invalid value: "IPv6": field is immutable',
    );
  });
});
