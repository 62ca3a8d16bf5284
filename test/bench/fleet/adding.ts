// A person's way from a machine that is seen to a node, as the page goes it, and how long something took to come about.
import type { Enrolment, EnrolmentSpec, EnrolmentStatus } from '#kube/api/fleet.ts';
import type { Node } from '#kube/api/core.ts';
import { machines, nodes } from '#kube/client/resources.ts';
import type { RestClient } from '#kube/client/rest-client.ts';
import { getCondition } from '#kube/machinery/conditions.ts';
import { piPassword } from '../../lab/stock-pi.ts';

const lookMs = 50;
const patienceMs = 600_000;

/** It will not come about. */
class Failure extends Error {}

/** Seconds from now until it is so. */
export async function secondsUntil(
  isSo: () => Promise<boolean>,
  what: string,
  patience = patienceMs,
): Promise<number> {
  const beginMs = performance.now();
  for (;;) {
    const isNow = await isSo().catch((error: unknown) => {
      if (error instanceof Failure) throw error;
      return false;
    });
    const tookMs = performance.now() - beginMs;
    if (isNow) return tookMs / 1000;
    if (tookMs > patience) throw new Error(`not within ${patience / 1000} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, lookMs));
  }
}

export function isReady({ status }: Node): boolean {
  return getCondition(status?.conditions, 'Ready')?.status === 'True';
}

async function ask(
  client: RestClient,
  name: string,
  spec: Partial<EnrolmentSpec>,
): Promise<EnrolmentStatus> {
  const body = { spec: { user: 'pi', ...spec } };
  const answer = (await client.createSubresource(
    machines,
    { name },
    'enrolment',
    body,
  )) as Enrolment;
  if (answer.status === undefined) throw new Error(`no answer for ${name}`);
  return answer.status;
}

/** All that a person sees before the last click; what that has to say. */
export async function inspect(client: RestClient, name: string): Promise<Partial<EnrolmentSpec>> {
  const { hostKey } = await ask(client, name, { phase: 'Inspect' });
  const known = { password: piPassword, hostKey: hostKey?.fingerprint ?? '' };
  const status = await ask(client, name, { ...known, phase: 'Inspect' });
  if (status.phase !== 'Planned') throw new Error(`${name}: ${JSON.stringify(status)}`);
  return { ...known, acceptWarnings: true };
}

/** Seconds from the click until its node is ready. */
export async function add(
  client: RestClient,
  name: string,
  known: Partial<EnrolmentSpec>,
): Promise<number> {
  const beginMs = performance.now();
  await ask(client, name, { ...known, phase: 'Apply' });
  await secondsUntil(async () => {
    const { enrolment } = (await client.get(machines, { name })).status ?? {};
    if (enrolment?.phase === 'Failed') throw new Failure(`${name}: ${enrolment.message}`);
    return (
      enrolment?.nodeName !== undefined &&
      isReady(await client.get(nodes, { name: enrolment.nodeName }))
    );
  }, `${name} is ready`);
  return (performance.now() - beginMs) / 1000;
}
