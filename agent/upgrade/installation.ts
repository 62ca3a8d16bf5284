// Where this agent was placed on its machine as a package, if it was: beside it lie those before and after it, and the
// programs that place another (electron/controlplane/fleet/package/placement.ts is their source). A new one is tried out: the
// supervisor goes back unless `confirm` is called in time.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, readlink, rm } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { readFileIfExists, writeFileAtomic } from '#platform/atomic-file.ts';

export interface Installation {
  /** `0.1.0+DIGEST`. */
  readonly version: string;
  readonly digest: string;
  /** It was started on trial. One that is begun later is the next one's. */
  readonly startedOnTrial: boolean;
  /** It is found healthy: there is no way back any more. */
  confirm(): Promise<void>;
  /** Which agent was rolled back, and why. */
  failure(): Promise<{ readonly digest: string; readonly why: string } | undefined>;
  /** So that it may be tried again. */
  forgetFailure(): Promise<void>;
  /** What one of the placing programs says. Throws with its words. */
  run(
    program: PlacingProgram,
    args: readonly string[],
    input?: AsyncIterable<Uint8Array>,
  ): Promise<string>;
}

export type PlacingProgram =
  | 'check-runtime'
  | 'place-runtime'
  | 'check-agent'
  | 'place-agent'
  | 'try-out'
  | 'place-unit'
  | 'check-control-plane'
  | 'place-control-plane'
  | 'join-control-plane'
  | 'use-control-plane'
  | 'try-out-control-plane'
  | 'confirm-control-plane'
  | 'drop-control-plane';

/** `folder`: where this program lies. Throws when it is not `root/agent-DIGEST`. */
export async function openInstallation(root: string, folder: string): Promise<Installation> {
  const [, digest] = /^agent-([0-9a-f]{12})$/.exec(path.basename(folder)) ?? [];
  if (digest === undefined || path.dirname(folder) !== root)
    throw new Error(`${folder} is not below ${root}: --installation is for agents placed there`);
  const manifest = JSON.parse(await readFile(path.join(folder, 'package.json'), 'utf8')) as {
    readonly version: string;
  };
  // Which one runs, for who looks without asking any API.
  await writeFileAtomic(path.join(root, 'state/version'), `agent-${digest}\n`);
  const trial = path.join(root, 'trial');
  const [before, now] = await Promise.all([target(trial), target(path.join(root, 'current'))]);
  return {
    version: `${manifest.version}+${digest}`,
    digest,
    startedOnTrial: before !== undefined && now === path.basename(folder),
    async confirm() {
      await rm(trial, { force: true });
      await rm(path.join(root, 'failed'), { force: true });
    },
    async failure() {
      const text = await readFileIfExists(path.join(root, 'failed'));
      const [, failed, why = ''] = /^agent-([0-9a-f]{12}) (.*)/.exec(text ?? '') ?? [];
      return failed === undefined ? undefined : { digest: failed, why };
    },
    forgetFailure: () => rm(path.join(root, 'failed'), { force: true }),
    run: (program, args, input) =>
      runProgram(path.join(folder, 'programs', program), args, root, input),
  };
}

/** Of a link; undefined: there is none. */
function target(link: string): Promise<string | undefined> {
  return readlink(link).catch(() => undefined);
}

async function runProgram(
  file: string,
  args: readonly string[],
  root: string,
  input: AsyncIterable<Uint8Array> | undefined,
): Promise<string> {
  const child = spawn('sh', [file, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, FLOTILLA_ROOT: root },
  });
  let said = '';
  let complaint = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint += text));
  const closed = once(child, 'close') as Promise<[number | null]>;
  // Without its end the program would wait: when the source breaks off, what came is cut short, and found to be.
  const [sent, [code]] = await Promise.all([
    pipeline(Readable.from(input ?? []), child.stdin).then(
      () => undefined,
      (error: Error) => error,
    ),
    closed,
  ]);
  if (code === 0) return said.trim();
  const words = complaint.trim() === '' ? `${path.basename(file)} ended with ${code}` : complaint;
  throw new Error(words.trim(), { cause: sent });
}
