import { expect, it } from 'vitest';
import type { RestClient } from '#kube/client/rest-client.ts';
import { notFound } from '#kube/machinery/status.ts';
import { runtimeHandler } from './runtime-class.ts';

function clientOf(answer: () => object): Pick<RestClient, 'get'> {
  return { get: async () => answer() } as unknown as Pick<RestClient, 'get'>;
}
const fails = (error: Error) => (): never => {
  throw error;
};

it('A RuntimeClass stands for the handler that it names', async () => {
  expect(
    await runtimeHandler(
      clientOf(() => ({ handler: 'runsc' })),
      'gvisor',
    ),
  ).toBe('runsc');
});

it('A RuntimeClass that is not there is told by its name; what else fails stays what it is', async () => {
  const missing = notFound({ group: 'node.k8s.io', resource: 'runtimeclasses' }, 'gvisor');
  await expect(runtimeHandler(clientOf(fails(missing)), 'gvisor')).rejects.toThrow(
    /^RuntimeClass "gvisor" not found$/,
  );
  const away = new Error('connection refused');
  await expect(runtimeHandler(clientOf(fails(away)), 'gvisor')).rejects.toBe(away);
});
