// Every kind of the resource table with an unmodified kubectl 1.35: create, get, describe, explain,
// delete, and what `kubectl create KIND` makes of flags. No node: nothing has to run.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { builtInResources } from '../../electron/controlplane/registry/resources.ts';
import {
  apiVersionOfResource,
  supportsVerb,
} from '../../electron/controlplane/registry/resource-table.ts';
import { Cluster, eventually } from '../setup/cluster.ts';
import { givenNames, sampleOf, samples } from '../setup/samples.ts';

const cluster = new Cluster(['--no-agent']);
beforeAll(async () => {
  await cluster.start();
});
afterAll(() => cluster.destroy());

const kinds = builtInResources.filter(
  (definition) => supportsVerb(definition, 'create') && !definition.review,
);

/** `jobs.v1.batch`, `pods`: no two kinds are meant by it. */
function resourceName(group: string, version: string, plural: string): string {
  return group === '' ? plural : `${plural}.${version}.${group}`;
}

/** Objects of two kinds with one storage get names of their own. */
function nameOf(group: string, version: string, kind: string): string {
  if (givenNames[kind] !== undefined) return givenNames[kind];
  if (group === 'events.k8s.io') return 'it-new';
  return group === 'autoscaling' && version === 'v1' ? 'it-old' : 'it';
}

function sampleList() {
  return kinds.map((definition) => {
    const { group, version, kind } = definition;
    const sample = sampleOf(apiVersionOfResource(definition), kind);
    sample.metadata.name = nameOf(group, version, kind);
    return sample;
  });
}

/** The cells of a table by column; ages vary. */
function rowOf(table: string): Record<string, string> {
  const [head = '', row = ''] = table.trimEnd().split('\n');
  const columns = [...head.matchAll(/\S+(?: \S+)*/g)];
  return Object.fromEntries(
    columns.map((match, index) => {
      const end = columns[index + 1]?.index;
      const cell = row.slice(match.index, end).trim();
      return [match[0], /^\d+[smhd]$|^\d{4}-\d\d-\d\dT/.test(cell) ? 'AGE' : cell];
    }),
  );
}

/** `kubectl get -o wide` of the samples, where a kind shows more than its name and age. */
const rows: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  jobs: {
    NAME: 'it',
    STATUS: 'Running',
    COMPLETIONS: '0/1',
    DURATION: '',
    AGE: 'AGE',
    CONTAINERS: 'web',
    IMAGES: 'nginx:1.29',
  },
  cronjobs: {
    NAME: 'it',
    SCHEDULE: '*/5 * * * *',
    TIMEZONE: '<none>',
    SUSPEND: 'False',
    ACTIVE: '0',
    'LAST SCHEDULE': '<none>',
    AGE: 'AGE',
    CONTAINERS: 'web',
    IMAGES: 'nginx:1.29',
    SELECTOR: '<none>',
  },
  statefulsets: { NAME: 'it', READY: '0/1', AGE: 'AGE', CONTAINERS: 'web', IMAGES: 'nginx:1.29' },
  persistentvolumes: {
    NAME: 'it',
    CAPACITY: '1Gi',
    'ACCESS MODES': 'RWO',
    'RECLAIM POLICY': 'Retain',
    STATUS: 'Available',
    CLAIM: '',
    STORAGECLASS: '',
    VOLUMEATTRIBUTESCLASS: '<unset>',
    REASON: '',
    AGE: 'AGE',
    VOLUMEMODE: 'Filesystem',
  },
  persistentvolumeclaims: {
    NAME: 'it',
    STATUS: 'Pending',
    VOLUME: '',
    CAPACITY: '',
    'ACCESS MODES': '',
    STORAGECLASS: 'local-path',
    VOLUMEATTRIBUTESCLASS: '<unset>',
    AGE: 'AGE',
    VOLUMEMODE: 'Filesystem',
  },
  storageclasses: {
    NAME: 'it',
    PROVISIONER: 'flotilla.dev/local',
    RECLAIMPOLICY: 'Delete',
    VOLUMEBINDINGMODE: 'Immediate',
    ALLOWVOLUMEEXPANSION: 'false',
    AGE: 'AGE',
  },
  ingresses: {
    NAME: 'it',
    CLASS: 'flotilla',
    HOSTS: 'web.example.com',
    ADDRESS: '',
    PORTS: '80',
    AGE: 'AGE',
  },
  machines: {
    NAME: 'it',
    ADDRESS: '127.0.0.9',
    SEEN: 'True',
    ADDABLE: 'False',
    WHY: 'SshClosed',
    SYSTEM: '<unknown>',
    AGE: 'AGE',
    VENDOR: '<unknown>',
    NODE: '<none>',
    'SEEN-BY': 'Typed',
  },
  discoveries: {
    NAME: 'it',
    SEARCHING: '<unknown>',
    HEARS: '<unknown>',
    INTERFACES: '<none>',
    AGE: 'AGE',
  },
  volumemoves: {
    NAME: 'it',
    CLAIMS: 'data',
    FROM: '<none>',
    TO: 'nas',
    PHASE: 'Refused',
    AGE: 'AGE',
    MESSAGE: 'there is no machine nas',
  },
  networkpolicies: { NAME: 'it', 'POD-SELECTOR': 'app=web', AGE: 'AGE' },
  poddisruptionbudgets: {
    NAME: 'it',
    'MIN AVAILABLE': '1',
    'MAX UNAVAILABLE': 'N/A',
    'ALLOWED DISRUPTIONS': '0',
    AGE: 'AGE',
  },
  'horizontalpodautoscalers.v2.autoscaling': {
    NAME: 'it',
    REFERENCE: 'Deployment/web',
    TARGETS: 'cpu: <unknown>/80%',
    MINPODS: '1',
    MAXPODS: '5',
    REPLICAS: '0',
    AGE: 'AGE',
  },
  roles: { NAME: 'it', 'CREATED AT': 'AGE' },
  rolebindings: {
    NAME: 'it',
    ROLE: 'Role/it',
    AGE: 'AGE',
    USERS: '',
    GROUPS: '',
    SERVICEACCOUNTS: 'default/default',
  },
  clusterrolebindings: {
    NAME: 'it',
    ROLE: 'ClusterRole/it',
    AGE: 'AGE',
    USERS: 'jane',
    GROUPS: '',
    SERVICEACCOUNTS: '',
  },
  certificatesigningrequests: {
    NAME: 'it',
    AGE: 'AGE',
    SIGNERNAME: 'flotilla.dev/test',
    REQUESTOR: 'kubernetes-admin',
    REQUESTEDDURATION: '<none>',
    CONDITION: 'Pending',
  },
  priorityclasses: {
    NAME: 'it',
    VALUE: '1000',
    'GLOBAL-DEFAULT': 'false',
    AGE: 'AGE',
    PREEMPTIONPOLICY: 'PreemptLowerPriority',
  },
  endpoints: { NAME: 'by-hand', ENDPOINTS: '10.1.2.3:80', AGE: 'AGE' },
  resourcequotas: {
    NAME: 'it',
    REQUEST: 'requests.storage: 1Gi/4Gi, resourcequotas: 1/10',
    LIMIT: '',
    AGE: 'AGE',
  },
  limitranges: { NAME: 'it', 'CREATED AT': 'AGE' },
  flowschemas: {
    NAME: 'it',
    PRIORITYLEVEL: 'it',
    MATCHINGPRECEDENCE: '1000',
    DISTINGUISHERMETHOD: '<none>',
    AGE: 'AGE',
    MISSINGPL: 'False',
  },
};

describe('kubectl', () => {
  it('creates a sample of every kind', async () => {
    const list = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: sampleList() });
    const created = await cluster.pipe(list, 'create', '-f', '-');
    expect(created.stderr).toMatch(
      /^Warning: v1 Endpoints is deprecated.*\nWarning: nothing heeds it: a cluster has one search.*\nWarning: nothing heeds it: a cluster has one backup.*\n$/,
    );
    expect(created.stdout.trim().split('\n')).toHaveLength(samples.length);
  });

  it.each(Object.keys(rows))('shows %s as Kubernetes does', async (resource) => {
    const wanted = rows[resource] ?? {};
    const name = wanted['NAME'] ?? 'it';
    // Some cells are what a controller says a moment later.
    await eventually(async () => {
      const row = rowOf(await cluster.kubectlOk('get', resource, name, '-o', 'wide'));
      expect(Object.keys(row).filter((column) => column in wanted)).toEqual(Object.keys(wanted));
      expect(row).toMatchObject(wanted);
      return true;
    }, resource);
  });

  it('describes a sample of every kind', async () => {
    const wanted = kinds.map(({ group, version, plural, kind }) => ({
      resource: resourceName(group, version, plural),
      name: nameOf(group, version, kind),
    }));
    const all = wanted.map(({ resource, name }) => `${resource}/${name}`);
    // What it can't describe is an error; what it describes begins like this, one after the other.
    const described = await cluster.kubectlOk('describe', ...all);
    const names = Array.from(described.matchAll(/^Name: +(\S+)$/gm), ([, name]) => name);
    expect(names).toEqual(wanted.map(({ name }) => name));
  });

  it.each(kinds.map(({ group, version, plural, kind }) => ({ group, version, plural, kind })))(
    'explains $plural of "$group" $version',
    async ({ group, version, plural, kind }) => {
      const apiVersion = group === '' ? version : `${group}/${version}`;
      const explained = await cluster.kubectlOk('explain', plural, `--api-version=${apiVersion}`);
      expect(explained).toContain(`KIND:       ${kind}\nVERSION:    ${version}`);
      expect(explained).toMatch(/FIELDS:\n(?:.*\n)*? {2}metadata\t<ObjectMeta>/);
    },
  );

  it('deletes the samples', async () => {
    const items = sampleList().filter(({ kind }) => kind !== 'Namespace');
    const list = JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
    const deleted = await cluster.pipe(list, 'delete', '--wait=false', '--now', '-f', '-');
    expect(deleted.code).toBe(0);
    expect(deleted.stdout.match(/ (?:force )?deleted/g)).toHaveLength(items.length);
  });

  const commands: readonly { args: readonly string[]; path: string; want: string }[] = [
    {
      args: ['job', 'made', '--image=busybox:1', '--', 'true'],
      path: '{.spec.template.spec.containers[0].command[0]} {.spec.backoffLimit}',
      want: 'true 6',
    },
    {
      args: ['cronjob', 'made', '--image=busybox:1', '--schedule=0 3 * * *'],
      path: '{.spec.schedule} {.spec.concurrencyPolicy}',
      want: '0 3 * * * Allow',
    },
    {
      args: ['poddisruptionbudget', 'made', '--selector=app=web', '--min-available=50%'],
      path: '{.spec.minAvailable} {.status.disruptionsAllowed}',
      want: '50% 0',
    },
    { args: ['quota', 'made', '--hard=pods=3,cpu=2'], path: '{.spec.hard.pods}', want: '3' },
    {
      args: ['ingress', 'made', '--rule=a.example.com/x*=web:80'],
      path: '{.spec.rules[0].http.paths[0].pathType}',
      want: 'Prefix',
    },
    {
      args: ['role', 'made', '--verb=get,list', '--resource=pods'],
      path: '{.rules[0].verbs}',
      want: '["get","list"]',
    },
    {
      args: ['clusterrole', 'made', '--verb=get', '--non-resource-url=/metrics'],
      path: '{.rules[0].nonResourceURLs}',
      want: '["/metrics"]',
    },
    {
      args: ['rolebinding', 'made', '--role=made', '--serviceaccount=default:default'],
      path: '{.roleRef.kind} {.subjects[0].kind}',
      want: 'Role ServiceAccount',
    },
    {
      args: ['clusterrolebinding', 'made', '--clusterrole=made', '--user=jane'],
      path: '{.subjects[0].apiGroup}',
      want: 'rbac.authorization.k8s.io',
    },
    {
      args: ['priorityclass', 'made', '--value=5', '--preemption-policy=Never'],
      path: '{.value} {.preemptionPolicy}',
      want: '5 Never',
    },
  ];
  it.each(commands)('create $args.0', async ({ args, path, want }) => {
    expect(await cluster.kubectlOk('create', ...args)).toMatch(/\/made created\n$/);
    const [kind = ''] = args;
    expect(await cluster.kubectlOk('get', kind, 'made', '-o', `jsonpath=${path}`)).toBe(want);
  });

  it('makes a Job of a CronJob', async () => {
    await cluster.kubectlOk('create', 'cronjob', 'maker', '--image=busybox:1', '--schedule=@daily');
    const made = await cluster.kubectlOk('create', 'job', 'now', '--from=cronjob/maker');
    expect(made).toBe('job.batch/now created\n');
  });

  it('autoscales, and shows it in both versions', async () => {
    await cluster.kubectlOk('create', 'deployment', 'scaled', '--image=nginx:1.29');
    await cluster.kubectlOk('autoscale', 'deployment', 'scaled', '--min=2', '--max=4', '--cpu=70%');
    const [old, current] = await Promise.all(
      ['v1', 'v2'].map((version) =>
        cluster.kubectlOk(
          'get',
          `horizontalpodautoscalers.${version}.autoscaling`,
          'scaled',
          '-o',
          'json',
        ),
      ),
    );
    expect(JSON.parse(old ?? '')).toMatchObject({
      apiVersion: 'autoscaling/v1',
      spec: { minReplicas: 2, maxReplicas: 4, targetCPUUtilizationPercentage: 70 },
    });
    const target = { type: 'Utilization', averageUtilization: 70 };
    expect(JSON.parse(current ?? '')).toMatchObject({
      apiVersion: 'autoscaling/v2',
      spec: { metrics: [{ type: 'Resource', resource: { name: 'cpu', target } }] },
    });
  });

  it('approves a request for a certificate, and does not deny it then', async () => {
    const request = sampleOf('certificates.k8s.io/v1', 'CertificateSigningRequest');
    request.metadata.name = 'asked';
    await cluster.pipe(JSON.stringify(request), 'create', '-f', '-');
    const approved = await cluster.kubectlOk('certificate', 'approve', 'asked');
    expect(approved).toContain('asked approved');
    const shown = await cluster.kubectlOk('get', 'csr', 'asked', '--no-headers');
    expect(shown).toMatch(/Approved\s*$/);
    const denied = await cluster.kubectl('certificate', 'deny', 'asked');
    expect(denied.stderr).toContain('is already Approved');
  });

  it('explains fields in Kubernetes’ own words', async () => {
    const told = await cluster.kubectlOk('explain', 'deployment.spec.replicas');
    expect(told).toContain('FIELD: replicas <integer>');
    expect(told).toContain('Number of desired pods.');
    const pod = await cluster.kubectlOk('explain', 'pod');
    expect(pod).toContain('Pod is a collection of containers that can run on a host.');
  });

  it('lists every kind among the API resources', async () => {
    const listed = await cluster.kubectlOk('api-resources', '--no-headers', '-o', 'name');
    const names = listed.trim().split('\n');
    for (const { group, plural } of kinds)
      expect(names).toContain(group === '' ? plural : `${plural}.${group}`);
  });

  it('warns of deprecated kinds', async () => {
    const { stderr, stdout } = await cluster.kubectl('get', 'cs');
    expect(stderr).toContain('Warning: v1 ComponentStatus is deprecated in v1.19+');
    expect(stdout.split('\n').map((line) => line.split(/ +/).slice(0, 3))).toEqual([
      ['NAME', 'STATUS', 'MESSAGE'],
      ['scheduler', 'Healthy', 'ok'],
      ['controller-manager', 'Healthy', 'ok'],
      ['etcd-0', 'Healthy', 'ok'],
      [''],
    ]);
  });
});
