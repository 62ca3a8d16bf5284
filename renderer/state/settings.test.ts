import { describe, expect, it } from 'vitest';
import type { Deployment } from '#kube/api/apps.ts';
import type { ConfigMap, Service } from '#kube/api/core.ts';
import { type App, listApps } from './app.ts';
import { type DeployForm, emptyForm, emptyVolume, objectsOf } from './deploy-form.ts';
import { describeChanges } from './settings-changes.ts';
import { settingsFormOf } from './settings-form.ts';
import { settingsPatch } from './settings-patch.ts';
import { planServices } from './settings-services.ts';
import { claimsToMake, configWrite, mustPause } from './settings-storage.ts';

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
    { ...emptyVolume('folder'), mountPath: '/data', hostPath: '/srv/web' },
    { ...emptyVolume('config'), mountPath: '/etc/web.yaml', fileName: 'web.yaml', text: 'a: 1' },
  ],
  memoryLimit: '64Mi',
  cpuLimit: '0.5',
};
const none = { configMaps: [], nowMs: 0 };

function appOf(deployment: Deployment, services: readonly Service[] = []): App {
  const [app] = listApps({
    deployments: [deployment],
    daemonSets: [],
    replicationControllers: [],
    pods: [],
    services,
    events: [],
    nodes: [],
    host: '127.0.0.1',
  });
  return app as App;
}

function formFor(deployment: Deployment): DeployForm {
  return settingsFormOf(appOf(deployment), { own: [], configMaps: [] });
}

/** The app as the Deploy form makes it, with what it needs to plan a change. */
function deployed(form: DeployForm) {
  const objects = objectsOf(form);
  const own = objects.filter((object): object is Service => object.kind === 'Service');
  const configMaps = objects.filter((object): object is ConfigMap => object.kind === 'ConfigMap');
  const deployment = objects.find((object): object is Deployment => object.kind === 'Deployment');
  return { app: appOf(deployment as Deployment, own), own, configMaps };
}

describe('settingsPatch', () => {
  const object = {
    ...objectsOf({ ...full, volumes: [] })[0],
    metadata: { name: 'web', resourceVersion: '7' },
  } as Deployment;
  const container = object.spec.template.spec?.containers[0];

  it('touches no template when only copies change, so that nothing restarts', () => {
    const form = { ...formFor(object), copies: 5 };
    expect(settingsPatch(object, form, none)).toEqual({
      metadata: { resourceVersion: '7' },
      spec: { replicas: 5 },
    });
  });

  it('keeps what the form does not know of the container, and other containers', () => {
    const sidecar = { name: 'sidecar', image: 's:1' };
    const rich = structuredClone(object);
    rich.spec.template.spec = {
      containers: [{ ...container, name: 'web', command: ['run'] }, sidecar],
    };
    const form = { ...formFor(rich), image: 'nginx:2' };
    expect(settingsPatch(rich, form, none)).toMatchObject({
      spec: {
        template: {
          spec: {
            containers: [{ image: 'nginx:2', command: ['run'], env: [{ name: 'TZ' }] }, sidecar],
          },
        },
      },
    });
  });

  it('drops a request that was only the copy of an old limit', () => {
    const rich = structuredClone(object);
    const first = rich.spec.template.spec?.containers[0];
    if (first?.resources !== undefined) first.resources.requests = { memory: '64Mi', cpu: '0.1' };
    const patch = JSON.stringify(
      settingsPatch(rich, { ...formFor(rich), memoryLimit: '32Mi' }, none),
    );
    expect(patch).toContain(
      '"resources":{"limits":{"cpu":"0.5","memory":"32Mi"},"requests":{"cpu":"0.1"}}',
    );
  });

  it('keeps where a variable comes from', () => {
    const valueFrom = { secretKeyRef: { name: 's', key: 'k' } };
    const rich = structuredClone(object);
    const first = rich.spec.template.spec?.containers[0];
    if (first !== undefined) first.env = [{ name: 'PASSWORD', valueFrom }];
    const patch = settingsPatch(rich, { ...formFor(rich), image: 'nginx:2' }, none);
    expect(patch).toMatchObject({
      spec: { template: { spec: { containers: [{ env: [{ name: 'PASSWORD', valueFrom }] }] } } },
    });
  });
});

describe('settingsFormOf', () => {
  it('reads everything back that the Deploy form made', () => {
    const { app, own, configMaps } = deployed(full);
    expect(settingsFormOf(app, { own, configMaps })).toEqual(full);
  });
});

describe('planServices', () => {
  const [open, inner] = full.ports as [DeployForm['ports'][0], DeployForm['ports'][0]];
  const added = { port: 5000, isPublished: true, nodePort: undefined };
  const cases: {
    name: string;
    before?: DeployForm['ports'];
    ports: DeployForm['ports'];
    want: object[];
  }[] = [
    { name: 'nothing when nothing changes', ports: full.ports, want: [] },
    {
      name: 'a port closed alone turns its service, which keeps its name',
      before: [open],
      ports: [{ ...open, isPublished: false }],
      want: [
        {
          verb: 'patch',
          name: 'web',
          patch: { spec: { type: 'ClusterIP', ports: [{ port: 80 }] } },
        },
      ],
    },
    {
      name: 'a port that changes sides leaves one service for the other',
      ports: [open, { ...inner, isPublished: true }],
      want: [
        { verb: 'patch', name: 'web', patch: { spec: { ports: [{ port: 80 }, { port: 9000 }] } } },
        { verb: 'delete', service: { metadata: { name: 'web-internal' } } },
      ],
    },
    {
      name: 'a port that goes takes its service along when that has no other',
      ports: [open],
      want: [{ verb: 'delete', service: { metadata: { name: 'web-internal' } } }],
    },
    {
      name: 'a new open port joins the open ones, which keep theirs',
      before: [open],
      ports: [open, added],
      want: [
        {
          verb: 'patch',
          name: 'web',
          patch: {
            spec: { ports: [{ port: 80, nodePort: 30080, name: 'port-80' }, { port: 5000 }] },
          },
        },
      ],
    },
    {
      name: 'the first port makes a service that picks the copies',
      before: [],
      ports: [added],
      want: [
        {
          verb: 'create',
          service: {
            metadata: { name: 'web' },
            spec: { type: 'NodePort', selector: { 'app.kubernetes.io/name': 'web' } },
          },
        },
      ],
    },
  ];
  it.each(cases)('$name', ({ before = full.ports, ports, want }) => {
    const { app, own } = deployed({ ...full, ports: before });
    const taken = own.map(({ metadata }) => metadata.name);
    const writes = planServices(app, ports, { own, taken });
    expect(writes).toHaveLength(want.length);
    expect(writes).toMatchObject(want);
  });

  it('takes another name when its own belongs to somebody else', () => {
    const { app } = deployed({ ...full, ports: [] });
    const [write] = planServices(app, [added], { own: [], taken: ['web'] });
    expect(write).toMatchObject({ service: { metadata: { name: 'web-home' } } });
  });

  it('never asks for an outside port on a service that is open no more', () => {
    const { app, own } = deployed({ ...full, ports: [open] });
    const writes = planServices(app, [{ ...open, isPublished: false }], { own, taken: ['web'] });
    expect(JSON.stringify(writes)).not.toContain('nodePort');
  });
});

describe('storage settings', () => {
  const { app, configMaps } = deployed(full);
  const workload = app.object;
  function patchOf(volumes: DeployForm['volumes']) {
    const form = { ...full, volumes };
    return settingsPatch(workload, form, { configMaps, nowMs: 0 }) as {
      spec: {
        template?: {
          metadata?: object;
          spec?: { volumes: object[]; containers: { volumeMounts: object[] }[] };
        };
      };
    };
  }
  const [data, config] = full.volumes as [DeployForm['volumes'][0], DeployForm['volumes'][0]];

  it('a folder added keeps the others as they are', () => {
    const added = { ...emptyVolume('folder'), mountPath: '/media', hostPath: '/srv/media' };
    const spec = patchOf([data, config, added]).spec.template?.spec;
    expect(spec?.volumes.slice(0, 2)).toEqual(workload.spec?.template?.spec?.volumes);
    expect(spec?.volumes[2]).toMatchObject({ name: 'data', hostPath: { path: '/srv/media' } });
    expect(spec?.containers[0]?.volumeMounts[2]).toEqual({ name: 'data', mountPath: '/media' });
  });

  const added = { ...emptyVolume('data'), mountPath: '/library' };
  it('data added gets a claim before the app, which then never runs twice at once', () => {
    expect(claimsToMake(workload, [data, config, added])).toMatchObject([
      { metadata: { name: 'web-library', namespace: 'default' } },
    ]);
    expect(patchOf([data, config, added]).spec).toMatchObject({
      strategy: { type: 'Recreate', rollingUpdate: null },
      template: {
        spec: { volumes: [{}, {}, { persistentVolumeClaim: { claimName: 'web-library' } }] },
      },
    });
  });

  it('data that is there is taken up, not made', () => {
    const old = { ...added, claimName: 'old', isExisting: true };
    expect(claimsToMake(workload, [data, config, old])).toEqual([]);
    expect(mustPause(workload, [data, config, old])).toBe(true);
  });

  const keeping = deployed({ ...full, volumes: [added, config] });
  it('data that the app has is shown, and neither made nor changed again', () => {
    const before = settingsFormOf(keeping.app, { own: keeping.own, configMaps });
    expect(before.volumes[0]).toMatchObject({ claimName: 'web-library', isExisting: true });
    // As it was typed, before the cluster told of it.
    const after = { ...before, volumes: [added, ...before.volumes.slice(1)] };
    expect(describeChanges(before, after)).toEqual([]);
    expect(claimsToMake(keeping.app.object, after.volumes)).toEqual([]);
    expect(mustPause(keeping.app.object, after.volumes)).toBe(false);
    const patch = settingsPatch(keeping.app.object, after, { configMaps, nowMs: 0 });
    expect(JSON.stringify(patch)).not.toMatch(/volumes|strategy/);
  });

  it('data removed leaves the app, in words', () => {
    const before = settingsFormOf(keeping.app, { own: keeping.own, configMaps });
    expect(describeChanges(before, { ...before, volumes: [config] })).toEqual([
      {
        label: 'Storage /library',
        before: 'data, kept as web-library',
        after: '',
        isRestart: true,
      },
    ]);
  });

  it('a folder removed takes its volume along', () => {
    expect(patchOf([config]).spec.template?.spec?.volumes).toEqual([
      { name: 'config', configMap: { name: 'web-config' } },
    ]);
  });

  it('mounts that the form has no words for stay', () => {
    const rich = structuredClone(workload);
    const spec = rich.spec?.template?.spec;
    spec?.volumes?.push({ name: 'keys', secret: { secretName: 'keys' } });
    spec?.containers[0]?.volumeMounts?.push({ name: 'keys', mountPath: '/keys' });
    const patch = settingsPatch(rich, { ...full, volumes: [] }, { configMaps, nowMs: 0 });
    expect(patch).toMatchObject({
      spec: {
        template: {
          spec: {
            volumes: [{ name: 'keys' }],
            containers: [{ volumeMounts: [{ name: 'keys', mountPath: '/keys' }] }],
          },
        },
      },
    });
  });

  it('a new text goes into its ConfigMap, and copies are replaced so that they read it', () => {
    const volumes = [data, { ...config, text: 'a: 2' }];
    expect(configWrite(workload, volumes, configMaps)).toMatchObject({
      verb: 'patch',
      name: 'web-config',
      patch: { data: { 'web.yaml': 'a: 2' } },
    });
    expect(patchOf(volumes).spec.template).toEqual({
      metadata: {
        annotations: { 'kubectl.kubernetes.io/restartedAt': '1970-01-01T00:00:00.000Z' },
      },
    });
  });

  it("a ConfigMap that is not Flotilla's is not offered for change", () => {
    const foreign = configMaps.map((one) => ({
      ...one,
      metadata: { ...one.metadata, labels: {} },
    }));
    const { volumes } = settingsFormOf(app, { own: [], configMaps: foreign });
    expect(volumes.map(({ kind }) => kind)).toEqual(['folder']);
  });
});

describe('changes of ports and storage', () => {
  it('are told in words; opening a port restarts nothing', () => {
    const [open, inner] = full.ports as [DeployForm['ports'][0], DeployForm['ports'][0]];
    const after = { ...full, ports: [open, { ...inner, isPublished: true }], volumes: [] };
    expect(describeChanges(full, after)).toEqual([
      {
        label: 'Port 9000',
        before: 'inside the cluster only',
        after: 'open to your home',
        isRestart: false,
      },
      { label: 'Storage /data', before: 'folder /srv/web', after: '', isRestart: true },
      { label: 'Storage /etc/web.yaml', before: 'text web.yaml', after: '', isRestart: true },
    ]);
  });

  it('do not arise from an outside port that the cluster chose', () => {
    const asked = { ...full, ports: [{ port: 80, isPublished: true, nodePort: undefined }] };
    const got = { ...full, ports: [{ port: 80, isPublished: true, nodePort: 31234 }] };
    expect(describeChanges(got, asked)).toEqual([]);
  });
});
