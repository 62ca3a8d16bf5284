// Which cluster this machine belongs to: the uid of its namespace kube-system. Kept in a file, so that an agent whose
// API server is away still knows which containers are its own.
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { delay, type Clock } from '#kube/base/clock.ts';
import type { Logger } from '#kube/base/logger.ts';
import { namespaces } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { StatusError } from '#kube/machinery/status.ts';
import { writeFileAtomic } from '#platform/atomic-file.ts';
import { messageOf } from './error-message.ts';

/** One that takes the request and says nothing is as good as away, for who knows it already. */
const answerMs = 2000;
const retryMs = { first: 100, max: 5000 };

export interface ClusterIdDeps {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly logger: Logger;
}

/** '' when `signal` aborts. Throws when this machine may not ask, and never could. */
export async function readClusterId(
  client: Pick<RestClient, 'get'>,
  data: string,
  deps: ClusterIdDeps,
): Promise<string> {
  const { clock, signal } = deps;
  const file = path.join(data, 'cluster-id');
  const known = (await readFile(file, 'utf8').catch(() => '')).trim();
  for (let waitMs = retryMs.first; !signal.aborted; waitMs = Math.min(waitMs * 2, retryMs.max)) {
    try {
      const uid = await ask(client, known === '' ? undefined : answerMs, deps);
      await keep(file, uid, deps.logger);
      return uid;
    } catch (error) {
      if (known !== '') return known;
      if (error instanceof StatusError && error.code === 403) throw error;
    }
    await delay(clock, waitMs, signal);
  }
  return '';
}

async function ask(
  client: Pick<RestClient, 'get'>,
  withinMs: number | undefined,
  { clock, signal }: ClusterIdDeps,
): Promise<string> {
  const late = new AbortController();
  const timer = withinMs === undefined ? undefined : clock.timer(withinMs, () => late.abort());
  const options = { signal: AbortSignal.any([signal, late.signal]) };
  try {
    const { metadata } = await client.get(namespaces, { name: 'kube-system' }, options);
    return metadata.uid ?? '';
  } finally {
    timer?.cancel();
  }
}

/** A full disk keeps nobody from running; what it costs is a start without an API server. */
async function keep(file: string, uid: string, logger: Logger): Promise<void> {
  const kept = await readFile(file, 'utf8').catch(() => '');
  if (kept.trim() === uid) return;
  await writeFileAtomic(file, `${uid}\n`).catch((error: unknown) => {
    logger.warn("The cluster's identity is not kept", { file, error: messageOf(error) });
  });
}
