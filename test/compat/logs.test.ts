// Logs by an unmodified kubectl, through the API server: across rotations of the engine's files and across a
// restart of the container no line is missing, twice, or out of order.
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Pod } from '#kube/api/core.ts';
import { pods } from '#kube/client/resources.ts';
import { Cluster, eventually } from '../setup/cluster.ts';
import { ensureTestImages, webImage } from '../setup/images.ts';

const cluster = new Cluster(['--no-install']);
/** Of a kilobyte each in the engine's file: one is full after some 10,500. */
const half = 11_000;
const padding = ` ${'x'.repeat(900)}`;

/** Prints half of its lines, and each next step when it is told to; its lines begin with its run. */
const script = `
run=$(cat /state/run 2> /dev/null || echo 1)
echo $((run + 1)) > /state/run
busybox seq -w 1 ${half} | busybox sed "s/^/$run-/; s/$/${padding}/"
until [ -e /state/more-$run ]; do sleep 0.1; done
busybox seq -w ${half + 1} ${2 * half} | busybox sed "s/^/$run-/; s/$/${padding}/"
until [ -e /state/end-$run ]; do sleep 0.1; done
exit 3
`;

const pod: Pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'talks', namespace: 'default' },
  spec: {
    terminationGracePeriodSeconds: 1,
    containers: [
      {
        name: 'main',
        image: webImage,
        imagePullPolicy: 'Never',
        command: ['sh', '-c', script],
        volumeMounts: [{ name: 'state', mountPath: '/state' }],
      },
    ],
    volumes: [{ name: 'state', emptyDir: {} }],
  },
};

beforeAll(async () => {
  ensureTestImages();
  await cluster.start();
  await (await cluster.client()).create(pods, pod);
  await ends(`1-${half}`);
});
afterAll(() => cluster.destroy());

/** Without what makes them long. */
const linesOf = (text: string): string[] => text.trimEnd().replaceAll(padding, '').split('\n');

const logs = async (...flags: readonly string[]): Promise<string[]> =>
  linesOf(await cluster.kubectlOk('logs', 'talks', ...flags));

async function ends(line: string): Promise<void> {
  await eventually(
    async () => (await logs('--tail=1')).includes(line),
    `the log ends with ${line}`,
  );
}

async function tell(what: string): Promise<void> {
  await cluster.kubectlOk('exec', 'talks', '--', 'sh', '-c', `: > /state/${what}`);
}

function lines(run: number, first: number, last: number): string[] {
  const name = (n: number) => `${run}-${String(n).padStart(5, '0')}`;
  return Array.from({ length: last - first + 1 }, (_, index) => name(first + index));
}

/** How many files the engine keeps of the newest container's log. */
async function files(): Promise<number> {
  const { status } = await (
    await cluster.client()
  ).get(pods, { namespace: 'default', name: 'talks' });
  const id = (status?.containerStatuses?.[0]?.containerID ?? '').replace('docker://', '');
  const args = ['inspect', '--format', '{{.LogPath}}', id];
  const file = execFileSync('docker', args, { encoding: 'utf8' }).trim();
  return readdirSync(path.dirname(file)).filter((name) => name.includes('-json.log')).length;
}

/** Whole arrays of lines would be told by the megabyte. */
function expectLines(given: readonly string[], want: readonly string[]): void {
  const differs = want.findIndex((line, index) => given[index] !== line);
  const at = differs === -1 ? want.length : differs;
  expect({ count: given.length, next: given[at] }).toEqual({ count: want.length, next: want[at] });
}

it('are whole when the engine has begun another file; --tail reaches into the one before', async () => {
  expect(await files()).toBe(2);
  expectLines(await logs(), lines(1, 1, half));
  expectLines(await logs(`--tail=${half - 10}`), lines(1, 11, half));
  expect(await logs('--tail=0')).toEqual(['']);
  expectLines(await logs('--since=1h', '--tail=2'), lines(1, half - 1, half));
});

it('-f goes on over rotations, without a gap', async () => {
  const followed = cluster.follow('logs', '-f', '--tail=5', 'talks');
  await eventually(() => followed.stdout.includes(`1-${half} `), 'the end so far');
  await tell('more-1');
  await eventually(() => followed.stdout.includes(`1-${2 * half}${padding}\n`), 'the second half');
  expect(await files()).toBe(3);
  expectLines(linesOf(followed.stdout), lines(1, half - 4, 2 * half));
  await followed.stop();
});

it('--timestamps are in order; --since-time gives what is not older', async () => {
  const [older, all] = [1000, half + 1000];
  const stamped = (await logs('--timestamps', `--tail=${all}`)).map((line) => line.split(' ', 2));
  const times = stamped.map(([time = '']) => time);
  expectLines(times, times.toSorted());
  expect(times[0]).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/);
  // The second from which on the second half was printed.
  const since = `${(times[older] ?? '').slice(0, 19)}Z`;
  const want = stamped.filter(([time = '']) => time >= since.replace('Z', '.000000000Z'));
  expect(want.length).toBeLessThan(all);
  expectLines(
    await logs(`--since-time=${since}`),
    want.map(([, line = '']) => line),
  );
});

it('-f ends with its container; --previous has all of the one before, and -f the one after', async () => {
  const first = cluster.follow('logs', '-f', '--tail=1', 'talks');
  await eventually(() => first.stdout !== '', 'it follows');
  await tell('end-1');
  expect([await first.exited(), linesOf(first.stdout)]).toEqual([0, [`1-${2 * half}`]]);
  await ends(`2-${half}`);
  expectLines(await logs('--previous'), lines(1, 1, 2 * half));
  expect(await logs('--previous', '--tail=2', '--timestamps')).toEqual([
    expect.stringMatching(/Z 1-21999$/),
    expect.stringMatching(/Z 1-22000$/),
  ]);
  const second = cluster.follow('logs', '-f', '--tail=3', 'talks');
  await eventually(() => second.stdout.includes(`2-${half}${padding}\n`), 'it follows the new one');
  expectLines(linesOf(second.stdout), lines(2, half - 2, half));
  await second.stop();
});
